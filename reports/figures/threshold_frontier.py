"""What accuracy costs: accuracy of the answers at every threshold of a sweep, against the tokens that they take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import pandas as pd

from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import AnalysisResult
from reports import _thresholds
from reports._data import has_answers
from reports._drawing import Sized, wrapped
from reports._style import DASHES, GRID, MUTED, SERIES, SMALL_TEXT, figure_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = _thresholds.POINTS
_MARKERS: Final = "os^Dv"


@dataclass(frozen=True, kw_only=True)
class ThresholdFrontier(Sized):
    """Accuracy against tokens kept and generated, one line per strategy through its thresholds, baselines in grey.

    It draws the result of the analysis ``threshold_comparison``.
    """

    title: ClassVar[str] = "Accuracy against tokens"
    caption: ClassVar[str] = (
        "One point per threshold, which stands beside it with the share of the chain that was kept; up and to the left is "
        "better. Tokens: mean number of reasoning tokens kept and of tokens generated; of texts written anew (live), tokens"
        " generated. Filled: on the frontier, no other point of the panel is as accurate with as few tokens and, if live, "
        "as small a peak of the cache. Hollow: another is. Cross: not compared, because truncation differs from that at "
        "threshold 0. Bars: intervals of the accuracy over questions. They describe one point each; whether two differ is "
        "tested in the tables, not by the overlap of bars. Grey: baselines that keep as many tokens; their intervals are in"
        " the CSV of the figure."
    )
    section: ClassVar[str] = _thresholds.ANALYSIS
    analysis: ClassVar[str | None] = _thresholds.ANALYSIS
    summary_note: ClassVar[str] = (
        "A threshold is the share that the strategy is told to delete; steps and tokens that are kept are what it did, as "
        "a mean over questions. Below an accuracy or a difference stands its interval over questions. p adjusted: Holm "
        "over the thresholds of a table. Undecided does not mean that there is no difference."
    )

    def is_of(self, run: Run) -> bool:
        """Whether the run has answers at thresholds."""
        return has_answers(run)

    def data(self, source: AnalysisResult) -> pd.DataFrame:
        """Return what is drawn.

        Returns
        -------
        Columns ``strategy, reference, reading, restatements, threshold, tokens, tokens_kept, tokens_generated, accuracy,
        accuracy_low, accuracy_high, is_compared, on_frontier, share_of_tokens_kept``; ``reference`` is missing for strategies
        with thresholds of their own.
        """
        return _thresholds.points(source)

    def summary(self, source: AnalysisResult) -> Mapping[str, Sequence[pd.DataFrame]]:
        """Tables of verdicts by strategy, reading and form of restatements."""
        return _thresholds.summary(source)

    def draw(self, source: AnalysisResult) -> "Figure":
        """Draw one panel per reading and form of restatements."""
        data = self.data(source)
        worlds = list(data.groupby(_thresholds.WORLD, sort=False))
        strategies = list(dict.fromkeys(data.loc[data["reference"].isna(), "strategy"]))
        baselines = list(dict.fromkeys(data.loc[data["reference"].notna(), "strategy"]))
        with figure_style():
            figure, axes = self.panels(len(worlds), height=3.0 if len(worlds) == 1 else 2.4)
            for axis, (world, rows) in zip(axes, worlds, strict=True):
                _draw_panel(axis, rows, strategies, baselines)
                if len(worlds) > 1:
                    axis.set_title("{}, restatements {}".format(*world))
            lines = {str(line.get_label()): line for axis in axes for line in axis.get_legend_handles_labels()[0]}
            names = [wrapped(name, 40) for name in lines]
            columns = 1 if self.is_narrow else 3
            figure.legend(list(lines.values()), names, loc="outside upper left", ncols=columns, handlelength=3)
            figure.supxlabel("tokens kept and generated per answer (fewer = cheaper)")
            figure.supylabel("accuracy (higher = better)")
        return figure


def _draw_panel(axis: "Axes", data: pd.DataFrame, strategies: Sequence[str], baselines: Sequence[str]) -> None:
    for place, strategy in enumerate(strategies):
        rows = data[data["reference"].isna() & (data["strategy"] == strategy)]
        _draw_strategy(axis, rows, strategy, place)
    for place, baseline in enumerate(baselines):
        lines = data[data["strategy"] == baseline].dropna(subset="reference").groupby("reference", sort=False)
        for number, (_, rows) in enumerate(lines):
            rows = rows[rows["is_compared"]]
            axis.plot(
                rows["tokens"], rows["accuracy"], color=MUTED, alpha=0.8, linewidth=1, linestyle=DASHES[1:][place % 4],
                marker=".", markersize=3, label=baseline if number == 0 else None, zorder=1,
            )  # fmt: skip
    axis.margins(x=0.08)
    axis.grid(axis="y")


def _draw_strategy(axis: "Axes", rows: pd.DataFrame, strategy: str, place: int) -> None:
    colour, marker = SERIES[place % len(SERIES)], _MARKERS[place % len(_MARKERS)]
    shown = rows[rows["is_compared"]]
    axis.plot(shown["tokens"], shown["accuracy"], color=colour, linewidth=1.6, marker=marker, markersize=5, label=strategy)
    axis.vlines(rows["tokens"], rows["accuracy_low"], rows["accuracy_high"], color=colour, linewidth=0.9, alpha=0.7)
    for kind, symbol, face in (
        (rows["is_compared"] & ~rows["on_frontier"], marker, GRID),
        (~rows["is_compared"], "x", colour),
    ):
        axis.scatter(
            rows.loc[kind, "tokens"], rows.loc[kind, "accuracy"], s=26, marker=symbol, color=face,
            edgecolor=colour if symbol == marker else None, zorder=3,
        )  # fmt: skip
    _name_thresholds(axis, rows, colour)


def _name_thresholds(axis: "Axes", rows: pd.DataFrame, colour: str) -> None:
    """Write each threshold beside its point: below it if the line is higher at both sides, else above."""
    named = rows.assign(name=list(map(_thresholds.with_kept, rows["threshold"], rows["share_of_tokens_kept"])))
    points = named.groupby(["tokens", "accuracy"])["name"].apply(", ".join).reset_index()
    beside = pd.concat([points["accuracy"].shift(1), points["accuracy"].shift(-1)], axis=1).mean(axis=1)
    for (tokens, accuracy, name), around in zip(points.itertuples(index=False), beside, strict=True):
        away = (4, -10 if around > accuracy else 4)
        axis.annotate(name, (tokens, accuracy), xytext=away, textcoords="offset points", color=colour, fontsize=SMALL_TEXT)
