"""When each kind of token goes: mean relative deletion step by category, as it is and with position held constant."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.types import AnalysisResult
from reports._data import detail, main_table, of
from reports._drawing import Sized, draw_intervals, name_rows, nothing_said, wrapped
from reports._style import category_name, figure_style, look_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = (
    "annotator", "strategy", "row", "category", "question_id", "estimate", "ci_low", "ci_high", "n_questions", "n_chains",
    "n_tokens",
)  # fmt: skip
_KEYS = ["annotator", "strategy", "category"]
_LABELS = ["annotator", "strategy", "scheme"]


@dataclass(frozen=True, kw_only=True)
class DeletionByCategory(Sized):
    """Mean relative deletion step of every token category, raw and with position held constant, with one dot per question.

    It draws the result of the analysis ``deletion_by_category``.

    Attributes
    ----------
    annotator
        Whose categories; the first in the result if None.
    """

    title: ClassVar[str] = "Mean relative deletion step by category"
    caption: ClassVar[str] = (
        "Relative deletion step: place of a token in the order of deletion, divided by the number of reasoning tokens of "
        "its chain; averaged within the chain, then the question, then over questions. Filled dot: mean; small dots: one "
        "question each. Hollow dot: mean with position in the chain held constant. Bars: intervals over questions. Tokens "
        "that were never deleted share the average of the ranks that are left. Whether two categories differ is tested in "
        "the table between_categories of the analysis; the overlap of two bars is no test."
    )
    section: ClassVar[str] = "deletion_by_category"
    analysis: ClassVar[str | None] = "deletion_by_category"

    annotator: str | None = None

    def data(self, source: AnalysisResult) -> pd.DataFrame:
        """Return what is drawn.

        Returns
        -------
        Columns ``annotator, strategy, row, category, question_id, estimate, ci_low, ci_high, n_questions, n_chains, n_tokens``.
        ``row`` is ``mean``, ``given_position`` (both of the main table) or ``question`` (one per small dot). ``estimate`` is a
        share in 0..1, 0 = first deleted.
        """
        tables = main_table(source, _LABELS), detail(source, "per_question", [*_LABELS, "question_id"])
        main, per_question = (
            rows[rows["scheme"] == "categories"]
            for rows in (of(table, source, "annotator", self.annotator) for table in tables)
        )
        raw: dict[str, str] = {category: category for category in CATEGORIES}
        held: dict[str, str] = {f"{category} given position": category for category in CATEGORIES}
        parts: list[tuple[str, dict[str, str], pd.DataFrame]] = [
            ("mean", raw, main),
            ("given_position", held, main),
            ("question", raw, per_question),
        ]
        rows = [table.assign(row=row, category=table["term"].map(named)) for row, named, table in parts]
        return pd.concat(rows, ignore_index=True).dropna(subset="category").reindex(columns=list(COLUMNS))

    def table(self, source: AnalysisResult) -> pd.DataFrame:
        """One row per strategy and category, with the number of tokens that were never deleted."""
        data = self.data(source)
        means, given = (data[data["row"] == row].set_index(_KEYS) for row in ("mean", "given_position"))
        shown = ["estimate", "ci_low", "ci_high"]
        held = given[shown].set_axis(["given_position", "given_position_low", "given_position_high"], axis=1)
        censored = detail(source, "censored", [*_KEYS, "n_censored"]).set_index(_KEYS)
        counts = means[["n_questions", "n_chains", "n_tokens"]].join(censored["n_censored"])
        rows = means[shown].join(held).join(counts).reset_index()
        return rows[rows["n_chains"] > 0]

    def notes(self, source: AnalysisResult) -> list[str]:
        """Say what a dotted interval means, if there is one."""
        return nothing_said(self.data(source))

    def draw(self, source: AnalysisResult) -> "Figure":
        """Draw one panel per strategy."""
        data = self.data(source)
        shown_strategies = list(dict.fromkeys(data["strategy"]))
        categories = [category for category in CATEGORIES if (data["category"] == category).any()]
        with figure_style():
            figure, axes = self.panels(len(shown_strategies), height=0.6 + 0.34 * len(categories))
            for axis, strategy in zip(axes, shown_strategies, strict=True):
                _draw_panel(axis, data[data["strategy"] == strategy], categories)
                if len(shown_strategies) > 1:
                    axis.set_title(wrapped(strategy, 44))
            figure.supxlabel("relative deletion step (0 = first deleted, 1 = last)")
        return figure


def _draw_panel(axis: "Axes", data: pd.DataFrame, categories: Sequence[str]) -> None:
    for place, category in enumerate(categories):
        rows = data[data["category"] == category]
        colour = look_of(category).line
        dots = rows.loc[rows["row"] == "question", "estimate"].to_numpy(dtype=float)
        spread = (np.arange(len(dots)) % 5 - 2) * 0.04
        axis.scatter(dots, place + 0.24 + spread, s=6, color=colour, alpha=0.45, linewidths=0)
        for row, height in (("mean", place - 0.24), ("given_position", place - 0.02)):
            mean = rows[rows["row"] == row]
            draw_intervals(axis, mean, [height] * len(mean), [colour] * len(mean), hollow=row == "given_position")
    name_rows(axis, [wrapped(category_name(category), 16) for category in categories])
    axis.set_xlim(-0.02, 1.02)
