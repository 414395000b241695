"""What an eviction policy saves: tokens in the cache while a text is written."""

from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING, ClassVar

import pandas as pd

from reasoning_anatomy.errors import MissingError
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.layout import EVICTIONS_NAME
from reasoning_anatomy.transcripts import EvictionTranscript
from reports._drawing import Sized, shown
from reports._style import ACCENT, MUTED, SMALL_TEXT, figure_style
from reports._writing import writings_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("policy", "chain_id", "text", "written", "in_cache", "without_evictions")


@dataclass(frozen=True, kw_only=True)
class CacheSize(Sized):
    """Tokens in the cache of one head while texts are written under an eviction policy, one panel per policy."""

    title: ClassVar[str] = "Size of the cache while a text is written"
    caption: ClassVar[str] = (
        "One line per text: tokens in the cache of one head, those of the prompt included, while tokens are written; a fall "
        "is an eviction. Dotted: what the longest text would hold without evictions. Lower = less memory. Of a sweep the "
        "first two texts of every policy and question are drawn."
    )
    section: ClassVar[str] = "chains"
    analysis: ClassVar[str | None] = None

    def is_of(self, run: Run) -> bool:
        """Whether texts of the run were written under an eviction policy."""
        is_sampled = any(run.layout.transcript(chain_id).exists() for chain_id in run.chains)
        return is_sampled or (run.folder / EVICTIONS_NAME).exists()

    def data(self, source: Run) -> pd.DataFrame:
        """Return what is drawn.

        Returns
        -------
        Columns ``policy, chain_id, text`` (which text of the chain), ``written`` (tokens), ``in_cache`` (tokens of one head),
        ``without_evictions``; one row where a line begins, two at every eviction, before and after, and one where it ends.
        """
        rows = [
            (each.transcript.policy, chain_id, each.label, written, in_cache, each.transcript.n_prompt + written - 1)
            for chain_id, writings in writings_of(source).items()
            for each in writings
            for written, in_cache in _corners(each.transcript)
        ]
        if not rows:
            raise MissingError(
                f"{source.folder}: has no text that was written under an eviction policy; make some with: "
                f"reasoning-anatomy sweep {source.folder} --evict think_clearly, or sample chains with: "
                "reasoning-anatomy generate --evict think_clearly"
            )
        return pd.DataFrame(rows, columns=list(COLUMNS)).sort_values("policy", kind="stable", ignore_index=True)

    def draw(self, source: Run) -> "Figure":
        """Draw one panel per policy."""
        data = self.data(source)
        policies = list(dict.fromkeys(data["policy"]))
        with figure_style():
            figure, axes = self.panels(len(policies), height=2.3 if len(policies) == 1 else 1.6)
            for axis, policy in zip(axes, policies, strict=True):
                _draw_panel(axis, data[data["policy"] == policy])
                axis.set_title(fill(shown(policy, 120), 46 if self.is_narrow else 56), fontsize=SMALL_TEXT)
            figure.supxlabel("tokens written")
            figure.supylabel("tokens in the cache\n(lower = less memory)")
        return figure


def _corners(transcript: EvictionTranscript) -> list[tuple[int, int]]:
    """Tokens written and tokens in the cache, where the line that joins them bends; the newest token is not in it yet."""
    corners = [(1, transcript.n_prompt)]
    for event in transcript.events:
        corners += [(event.n_written, event.n_before), (event.n_written, event.n_after)]
    written, in_cache = corners[-1]
    return [*corners, (transcript.n_written, in_cache + transcript.n_written - written)]


def _draw_panel(axis: "Axes", rows: pd.DataFrame) -> None:
    texts = rows.groupby(["chain_id", "text"], sort=False)
    for _, line in texts:
        axis.plot(line["written"], line["in_cache"], color=ACCENT, linewidth=0.9, alpha=1 if len(texts) < 3 else 0.5)
    _, longest = max(texts, key=lambda item: (item[1]["without_evictions"].max(), item[0]))
    axis.plot(longest["written"], longest["without_evictions"], color=MUTED, linewidth=1, linestyle="dotted", zorder=1)
    axis.set_xlim(left=0)
    axis.set_ylim(bottom=0)
    axis.grid(axis="y")
