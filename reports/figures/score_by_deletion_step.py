"""What the tokens that go first look like to each scorer: rank of the score against the deletion step."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from reasoning_anatomy.errors import MissingError
from reasoning_anatomy.run.folder import Run
from reports._data import SCORE_PREFIX, STEP_PREFIX, names
from reports._drawing import Sized, draw_band, shown, wrapped
from reports._style import ACCENT, MUTED, SMALL_TEXT, figure_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("scorer", "strategy", "deletion_from", "deletion_to", "q25", "median", "q75", "n_tokens", "n_chains")


@dataclass(frozen=True, kw_only=True)
class ScoreByDeletionStep(Sized):
    """Rank of every token's score within its chain against when the strategy deletes it: median and middle half.

    It describes the tokens of the run; nothing is estimated. Tokens that were never deleted are left out.

    Attributes
    ----------
    scorer
        Label of the scorer; None draws every scorer of the run, one panel each.
    strategy
        Label of the strategy; the first of the run if None.
    bins
        Parts into which the order of deletion is cut.
    """

    title: ClassVar[str] = "Score against deletion step"
    caption: ClassVar[str] = (
        "From left to right: tokens by when they are deleted, as a share of the tokens of their chain. From bottom to top: "
        "rank of their score within the chain, 0 = lowest, 1 = highest. Line: median of the tokens of a part; shade: their "
        "middle half. It is the spread of tokens, no interval of an estimate. A line that rises says that what goes last has"
        " the higher score; a flat one at 0.5, that the score says nothing."
    )
    section: ClassVar[str] = "rank_correlation"
    analysis: ClassVar[str | None] = None
    on_demand: ClassVar[bool] = True

    scorer: str | None = None
    strategy: str | None = None
    bins: int = 10

    def __post_init__(self) -> None:
        if self.bins < 2:
            raise ValueError(f"bins={self.bins}: expected 2 or more")

    def data(self, source: Run) -> pd.DataFrame:
        """Return what is drawn.

        Returns
        -------
        Columns ``scorer, strategy, deletion_from, deletion_to`` (shares of the chain's tokens), ``q25, median, q75`` (of the
        rank of the score within the chain, 0..1), ``n_tokens, n_chains``.
        """
        strategy = source.strategy_named(self.strategy)
        tokens = source.tokens()
        scorers = [source.scorer_named(self.scorer)] if self.scorer else names(tokens, SCORE_PREFIX)
        length = tokens.groupby("chain_id")["position"].transform("size")
        share = tokens[STEP_PREFIX + strategy].astype("Float64").to_numpy(dtype=float, na_value=np.nan) / length
        part = np.ceil(share * self.bins - 1e-9) - 1  # step 1 of n is in the first part, step n in the last
        frames = []
        for scorer in scorers:
            within = tokens.groupby("chain_id")[SCORE_PREFIX + scorer]
            ranks = (within.rank() - 1) / (within.transform("count") - 1).where(lambda count: count > 0)
            rows = tokens.assign(rank=ranks, part=part).dropna(subset=["rank", "part"]).groupby("part")
            quantiles = {name: rows["rank"].quantile(at) for name, at in (("q25", 0.25), ("median", 0.5), ("q75", 0.75))}
            found = pd.DataFrame({**quantiles, "n_tokens": rows.size(), "n_chains": rows["chain_id"].nunique()})
            frames.append(found.reset_index().assign(scorer=scorer))
        data = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
        if data.empty:
            raise MissingError(
                f"{source.folder}: has no token with both a score and a deletion step; measure a scorer and a strategy on the "
                "same chains: reasoning-anatomy run CHAINS.jsonl --out ANOTHER_RUN"
            )
        ends = {"deletion_from": data["part"] / self.bins, "deletion_to": (data["part"] + 1) / self.bins}
        return data.assign(strategy=strategy, **ends)[list(COLUMNS)]

    def draw(self, source: Run) -> "Figure":
        """Draw one panel per scorer."""
        data = self.data(source)
        scorers = list(dict.fromkeys(data["scorer"]))
        with figure_style():
            figure, axes = self.panels(len(scorers), height=2.4 if len(scorers) == 1 else 1.45, across=4)
            for axis, scorer in zip(axes, scorers, strict=True):
                rows = data[data["scorer"] == scorer]
                middle = (rows["deletion_from"] + rows["deletion_to"]) / 2
                axis.axhline(0.5, color=MUTED, linewidth=0.8, linestyle="dotted")
                draw_band(axis, middle, rows["q25"], rows["q75"], ACCENT)
                axis.plot(middle, rows["median"], color=ACCENT, linewidth=1.4)
                axis.set_title(wrapped(scorer, 22), fontsize=SMALL_TEXT)
                axis.set_xlim(0, 1)
                axis.set_ylim(0, 1)
                axis.set_xticks([0, 0.5, 1])
                axis.set_yticks([0, 0.5, 1])
            figure.supxlabel(f"share of the chain deleted by {shown(data['strategy'].iloc[0])} (0 = first deleted)")
            figure.supylabel("rank of the score\n(1 = highest in the chain)")
        return figure
