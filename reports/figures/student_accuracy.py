"""What pruned reasoning teaches: accuracy of students against the tokens that they really generate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import pandas as pd

from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.students import ANSWER_ONLY, CONTROLS, FULL, UNTRAINED
from reasoning_anatomy.types import AnalysisResult
from reports._data import detail
from reports._drawing import Sized, draw_band, shown
from reports._style import DASHES, INK, MUTED, SERIES, SMALL_TEXT, figure_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS: Final = (
    "strategy", "matching", "equal", "keep_ratio", "tokens_generated", "accuracy", "accuracy_low", "accuracy_high",
    "n_questions", "n_seeds",
)  # fmt: skip
_ARMS: Final = {
    "arm": "arm", "equal": "equal", "accuracy": "accuracy", "accuracy_low": "accuracy_low", "accuracy_high": "accuracy_high",
    "tokens_taught": "tokens_taught", "tokens_generated": "tokens_generated", "cut_off": "share_cut_off",
    "undecided": "share_undecided", "nll_gold": "nll_of_the_gold_answer", "n_seeds": "n_trainings",
}  # fmt: skip
"""Columns of the detail table ``arms`` that the summary shows, and as what."""
_DIFFERENCES: Final = {
    "estimate": "difference", "ci_low": "difference_low", "ci_high": "difference_high", "p_adjusted": "p_adjusted",
    "verdict": "verdict",
}  # fmt: skip
"""The same, of ``comparisons`` and ``same_length``."""
_WORLD: Final = ["matching", "equal"]
_MARKERS: Final = {FULL: "s", ANSWER_ONLY: "^", UNTRAINED: "x"}
_NAMES: Final = {FULL: "whole chains", ANSWER_ONLY: "answers only", UNTRAINED: "untrained"}
_PLACES: Final = {FULL: 0, ANSWER_ONLY: 2, UNTRAINED: 3}
"""Controls among those that arms stand beside: whole chains first, strategies next."""
_TITLES: Final = {
    "chain": "each chain as long",
    "mean": "as long on average",
    "steps": "as many steps",
    "tokens": "as many tokens",
}


@dataclass(frozen=True, kw_only=True)
class StudentAccuracy(Sized):
    """Accuracy against tokens generated, one line and band per strategy through its keep ratios, controls as single marks.

    It draws the result of the analysis ``distillation``.
    """

    title: ClassVar[str] = "Accuracy against tokens that students generate"
    caption: ClassVar[str] = (
        "One point per keep ratio, which stands beside it: mean over test questions and trainings. Up and to the left is "
        "better. Lines go on to students taught whole chains, keep ratio 1 of every strategy. Bands and bars: interval of "
        "each accuracy by itself, for other questions and, if there are several, other trainings. Marks: students taught whole "
        "chains or answers only, and the model before it is taught. Whether two strategies differ is tested within the "
        "question, in the tables, not by the overlap of bands."
    )
    section: ClassVar[str] = "distillation"
    analysis: ClassVar[str | None] = "distillation"

    summary_note: ClassVar[str] = (
        "Intervals stand below their values; p adjusted by Holm over what stands beside one control. Share cut off: answers "
        "that end at the limit or repeat themselves; the others end by themselves. nll of the gold answer: nats per token, "
        "behind what a student reasons; lower = better supported."
    )

    def is_of(self, run: Run) -> bool:
        """Whether the page of a run shows it: never."""
        return False

    def data(self, source: AnalysisResult) -> pd.DataFrame:
        """Return what is drawn.

        Returns
        -------
        Columns ``strategy`` (or the name of a control), ``matching, equal, keep_ratio, tokens_generated, accuracy,
        accuracy_low, accuracy_high, n_questions, n_seeds``; from the detail table ``arms``.
        """
        return detail(source, "arms", COLUMNS)[list(COLUMNS)]

    def summary(self, source: AnalysisResult) -> Mapping[str, Sequence[pd.DataFrame]]:
        """Tables of the arms, of their differences from each control, and of strategies at the same generated length."""
        arms, versus, lengths = (detail(source, name, columns) for name, columns in _details())
        names = _without_constants(arms[list(_ARMS)].rename(columns=_ARMS))
        names.attrs["title"] = "Means over test questions and trainings"
        tables = {"What the arms answer": [names]}
        for control in sorted(dict.fromkeys(versus["control"]), key=lambda control: _PLACES.get(control, 1)):
            title = f"Accuracy less that of {control}, within the question and the seed"
            rows = versus[versus["control"] == control]
            tables[f"Beside {_NAMES.get(control, control)}"] = [_differences(rows, ["arm", "equal"], title)]
        means = lengths[lengths["verdict"].notna()]
        if len(means):
            title = "Accuracy of a strategy less that of another, mean over the lengths that the students of both have"
            tables["At the same generated length"] = [_differences(means, ["strategy", "control", *_WORLD], title)]
        return tables

    def draw(self, source: AnalysisResult) -> "Figure":
        """Draw one panel for each way in which students were taught alike."""
        data = self.data(source)
        taught, controls = (data[data["strategy"].isin(CONTROLS) == is_control] for is_control in (False, True))
        worlds = list(taught.groupby(_WORLD, sort=False)) or list(controls.groupby(_WORLD, sort=False))[:1]
        strategies = list(dict.fromkeys(taught["strategy"]))
        with figure_style():
            figure, axes = self.panels(len(worlds), height=3.0 if len(worlds) == 1 else 2.4)
            for axis, ((matching, equal), rows) in zip(axes, worlds, strict=True):
                beside = _of_panel(controls, str(equal))
                for place, strategy in enumerate(strategies):
                    own = rows[rows["strategy"] == strategy]
                    if len(own):
                        _draw_strategy(axis, pd.concat([own, beside[beside["strategy"] == FULL]]), strategy, place)
                _draw_controls(axis, beside)
                axis.margins(x=0.08, y=0.08)
                axis.grid(axis="y")
                if len(worlds) > 1:
                    axis.set_title(f"{_TITLES[str(matching)]}, {_TITLES[str(equal)]}")
            lines = {str(line.get_label()): line for axis in axes for line in axis.get_legend_handles_labels()[0]}
            columns = 1 if self.is_narrow else 3
            figure.legend(list(lines.values()), [shown(name) for name in lines], loc="outside upper left", ncols=columns)
            figure.supxlabel("tokens generated per answer (fewer = cheaper)")
            figure.supylabel("accuracy (higher = better)")
        return figure


def _details() -> list[tuple[str, list[str]]]:
    """Name the detail tables of the summary, with the columns that they must have."""
    return [
        ("arms", list(_ARMS)),
        ("comparisons", ["control", "arm", "equal", *_DIFFERENCES]),
        ("same_length", ["strategy", "control", *_WORLD, *_DIFFERENCES]),
    ]


def _differences(rows: pd.DataFrame, names: list[str], title: str) -> pd.DataFrame:
    table = _without_constants(rows[[*names, *_DIFFERENCES]].rename(columns=_DIFFERENCES))
    table.attrs["title"] = title
    return table


def _without_constants(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out ways of teaching that all rows have in common, and shares of which there is nothing."""
    same = [name for name in _WORLD if name in table and len(set(table[name])) == 1]
    none = [name for name in ("share_undecided",) if name in table and not table[name].any()]
    return table.drop(columns=[*same, *none]).reset_index(drop=True)


def _of_panel(controls: pd.DataFrame, equal: str) -> pd.DataFrame:
    """One row per control: that of the same reading, if it was trained to several."""
    own = controls.assign(is_own=controls["equal"] == equal).sort_values("is_own", ascending=False, kind="stable")
    return own.drop_duplicates("strategy")


def _draw_strategy(axis: "Axes", rows: pd.DataFrame, strategy: str, place: int) -> None:
    rows = rows.sort_values("tokens_generated")
    colour, dash = SERIES[place % len(SERIES)], DASHES[place // len(SERIES) % len(DASHES)]
    draw_band(axis, rows["tokens_generated"], rows["accuracy_low"], rows["accuracy_high"], colour)
    axis.plot(
        rows["tokens_generated"], rows["accuracy"], color=colour, linestyle=dash, linewidth=1.5, marker="o", markersize=4,
        label=strategy, zorder=2,
    )  # fmt: skip
    away: dict[str, Any] = {"xytext": (-4, 3), "ha": "right"} if place % 2 == 0 else {"xytext": (1, -11), "ha": "left"}
    for row in rows[rows["strategy"] != FULL].to_dict("records"):
        axis.annotate(
            f"{row['keep_ratio']:g}", (row["tokens_generated"], row["accuracy"]), textcoords="offset points", color=colour,
            fontsize=SMALL_TEXT, **away,
        )  # fmt: skip


def _draw_controls(axis: "Axes", controls: pd.DataFrame) -> None:
    for row in controls.to_dict("records"):
        colour = INK if row["strategy"] == FULL else MUTED
        place = row["tokens_generated"]
        axis.vlines(place, row["accuracy_low"], row["accuracy_high"], color=colour, linewidth=0.9, zorder=3)
        axis.plot(
            [place], [row["accuracy"]], color=colour, marker=_MARKERS[row["strategy"]], markersize=5, linestyle="none",
            label=_NAMES[row["strategy"]], zorder=4,
        )  # fmt: skip
