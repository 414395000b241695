"""Which strategy keeps the answer longest: rise of its nll against the share of tokens that is kept."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
import pandas as pd

from reasoning_anatomy.types import AnalysisResult
from reports._data import detail
from reports._drawing import Sized, draw_band, label_lines, wrapped
from reports._style import DASHES, MUTED, SERIES, SMALL_TEXT, figure_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("strategy", "role", "keep_ratio", "rise", "ci_low", "ci_high", "gap", "n_questions", "n_chains")
_MOST_LINES: Final = 6
_HEIGHT: Final = 3.0


@dataclass(frozen=True, kw_only=True)
class StrategyCurves(Sized):
    """Rise of the nll of the answer while tokens are deleted, one line and band per strategy, baselines in grey.

    Up to six strategies are in one panel; more have a panel each, with the others as thin lines behind.
    """

    title: ClassVar[str] = "What every strategy costs"
    caption: ClassVar[str] = (
        "Nll of the answer less that of the unpruned chain, while the strategy deletes more (from left to right): mean over "
        "chains, then questions. Lower = the answer is still supported; below 0, it became likelier. Bands: interval of each "
        "point by itself, over questions; lines without a band have too few questions. Grey: baselines that know nothing of "
        "the chain. Whether two strategies differ is tested within the chain, in the tables, not by the overlap of bands."
    )
    section: ClassVar[str] = "strategy_comparison"
    analysis: ClassVar[str | None] = "strategy_comparison"
    on_demand: ClassVar[bool] = True

    def data(self, source: AnalysisResult) -> pd.DataFrame:
        """Return what is drawn.

        Returns
        -------
        Columns ``strategy, role`` (strategy, baseline, worst first, …), ``keep_ratio``, ``rise`` (nats per token, lower =
        less is lost) with ``ci_low, ci_high``, ``gap, n_questions, n_chains``; strategies with the lowest area first. From
        the detail tables ``curves`` and ``strategies`` of ``strategy_comparison``.
        """
        curves = detail(source, "curves", [name for name in COLUMNS if name != "role"])
        strategies = detail(source, "strategies", ["strategy", "role"])[["strategy", "role"]]
        return strategies.merge(curves, on="strategy", how="left")[list(COLUMNS)]

    def draw(self, source: AnalysisResult) -> "Figure":
        """Draw all strategies in one panel, or one panel for each."""
        data = self.data(source)
        lines = _lines(data)
        with figure_style():
            if len(lines) <= _MOST_LINES:
                figure, (axis,) = self.panels(1, height=_HEIGHT)
                for name in lines:
                    _draw_strategy(axis, data[data["strategy"] == name], *lines[name])
                _finish(axis, data)
                curves = {name: data[data["strategy"] == name].set_index("keep_ratio")["rise"] for name in lines}
                label_lines(axis, curves, {name: colour for name, (colour, _) in lines.items()}, height=_HEIGHT - 0.6)
            else:
                figure, axes = self.panels(len(lines), height=1.45, across=4)
                for axis, name in zip(axes, lines, strict=True):
                    for other, rows in data.groupby("strategy", sort=False):
                        if other != name:
                            axis.plot(rows["keep_ratio"], rows["rise"], color=MUTED, linewidth=0.5, alpha=0.5, zorder=1)
                    _draw_strategy(axis, data[data["strategy"] == name], *lines[name])
                    _finish(axis, data)
                    axis.set_title(wrapped(name, 22), fontsize=SMALL_TEXT)
            figure.supxlabel("share of reasoning tokens kept")
            figure.supylabel("rise of the nll of the answer\n(nats per token; lower = better)")
        return figure


def _lines(data: pd.DataFrame) -> dict[str, tuple[str, object]]:
    """Colour and dash of every strategy: baselines are grey."""
    found: dict[str, tuple[str, object]] = {}
    n_own = n_baselines = 0
    for name, role in data.drop_duplicates("strategy")[["strategy", "role"]].itertuples(index=False):
        if role == "baseline":
            n_baselines += 1
            found[name] = (MUTED, DASHES[n_baselines % len(DASHES)])
        else:
            found[name] = (SERIES[n_own % len(SERIES)], DASHES[n_own // len(SERIES) % len(DASHES)])
            n_own += 1
    return found


def _draw_strategy(axis: "Axes", rows: pd.DataFrame, colour: str, dash: object) -> None:
    draw_band(axis, rows["keep_ratio"], rows["ci_low"], rows["ci_high"], colour)
    axis.plot(rows["keep_ratio"], rows["rise"], color=colour, linestyle=dash, linewidth=1.5, zorder=2)


def _finish(axis: "Axes", data: pd.DataFrame) -> None:
    axis.axhline(0, color=MUTED, linewidth=0.8, zorder=1)
    axis.set_xlim(1, float(data["keep_ratio"].min()))
    drawn = data[["rise", "ci_low", "ci_high"]].to_numpy(dtype=float)
    drawn = drawn[np.isfinite(drawn)]
    room = 0.05 * (drawn.max() - drawn.min() or 1)
    axis.set_ylim(drawn.min() - room, drawn.max() + room)
    axis.grid(axis="y")
