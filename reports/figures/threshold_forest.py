"""What a threshold costs: difference in accuracy from threshold 0, with interval and verdict."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import pandas as pd

from reasoning_anatomy.types import AnalysisResult
from reports import _thresholds
from reports._data import detail
from reports._drawing import Sized, draw_intervals, name_rows, nothing_said, shown, wrapped, zero_line
from reports._style import ACCENT, MUTED, SMALL_TEXT, figure_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = (
    "strategy", *_thresholds.WORLD, "threshold", "tokens_kept", "share_of_tokens_kept", "accuracy", "difference",
    "difference_low", "difference_high", "p_adjusted", "verdict", "because", "n_questions",
)  # fmt: skip
_UNDECIDED: Final = "undecided"
_NAMES: Final = {"estimate": "difference", "ci_low": "difference_low", "ci_high": "difference_high"}


@dataclass(frozen=True, kw_only=True)
class ThresholdForest(Sized):
    """Difference in accuracy of every threshold from threshold 0, with its interval and the verdict."""

    title: ClassVar[str] = "What every threshold costs in accuracy"
    caption: ClassVar[str] = (
        "One row per threshold, what a strategy is told to delete, with the share of the chain that it kept. Dot and bar: "
        "accuracy less that at threshold 0, paired within the question, with its interval over questions; left of 0, "
        "accuracy is lost. At the right the verdict, by Holm over the thresholds of a strategy. Hollow and grey: undecided,"
        " which is not the same as no difference. A row without a dot is not compared, because more or fewer of its answers"
        " were cut off."
    )
    section: ClassVar[str] = _thresholds.ANALYSIS
    analysis: ClassVar[str | None] = _thresholds.ANALYSIS
    on_demand: ClassVar[bool] = True

    def data(self, source: AnalysisResult) -> pd.DataFrame:
        """Return what is drawn.

        Returns
        -------
        Columns ``strategy, reading, restatements, threshold, tokens_kept, share_of_tokens_kept, accuracy``; ``difference`` of
        the accuracy from that at threshold 0 with ``difference_low, difference_high``; ``p_adjusted, verdict, because,
        n_questions``. From the detail table ``thresholds`` of ``threshold_comparison``, without baselines and threshold 0.
        """
        table = detail(source, "thresholds", (*COLUMNS, "reference"))
        return table[table["reference"].isna() & (table["threshold"] > 0)][list(COLUMNS)].reset_index(drop=True)

    def notes(self, source: AnalysisResult) -> list[str]:
        """Say what a dotted interval means, if there is one."""
        return nothing_said(self.data(source), "difference_low", "difference_high")

    def draw(self, source: AnalysisResult) -> "Figure":
        """Draw one row per threshold, below a heading for each strategy, reading and form of restatements."""
        data = self.data(source)
        groups = [
            (wrapped(f"{strategy} ({reading}, restatements {restatements})", 44 if self.is_narrow else 100).split("\n"), rows)
            for (strategy, reading, restatements), rows in data.groupby(["strategy", *_thresholds.WORLD], sort=False)
        ]
        with figure_style():
            figure = self.canvas(0.6 + 0.22 * (len(data) + sum(len(heading) for heading, _ in groups)))
            axis = figure.subplots()
            zero_line(axis)
            names: list[str] = []
            for heading, rows in groups:
                for line in heading:
                    _write(axis, 0, len(names), line, MUTED, style="italic")
                    names.append("")
                _draw_rows(axis, rows, len(names))
                names += list(map(_thresholds.with_kept, rows["threshold"], rows["share_of_tokens_kept"]))
            name_rows(axis, names)
            axis.set_xlabel("accuracy less that at threshold 0" + ("\n" if self.is_narrow else " ") + "(left of 0 = worse)")
            axis.set_ylabel("threshold (kept)")
        return figure


def _draw_rows(axis: "Axes", rows: pd.DataFrame, first: int) -> None:
    is_decided = rows["verdict"].notna() & (rows["verdict"] != _UNDECIDED)
    for kind, colour in ((is_decided, ACCENT), (~is_decided, MUTED)):
        places = [first + place for place, chosen in enumerate(kind) if chosen]
        draw_intervals(axis, rows[kind], places, [colour] * len(places), hollow=colour == MUTED, **_NAMES)
        for place, verdict in zip(places, rows.loc[kind, "verdict"], strict=True):
            _write(axis, 1, place, shown(verdict) if isinstance(verdict, str) else "", colour)


def _write(axis: "Axes", x: float, place: int, text: str, colour: str, style: str = "normal") -> None:
    """Write into a row, at the left or right end of the panel."""
    axis.annotate(
        text, (x, place), (4 * x, 0), xycoords=axis.get_yaxis_transform(), textcoords="offset points", color=colour,
        fontsize=SMALL_TEXT, va="center", annotation_clip=False, style=style,
    )  # fmt: skip
