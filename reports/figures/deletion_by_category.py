"""When each kind of token goes: mean relative deletion step by category, as it is and with position held constant."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.errors import RunError
from reasoning_anatomy.run.folder import Run
from reports._data import detail, result_of
from reports._style import INK, category_name, figure_style, look_of, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = (
    "annotator", "strategy", "row", "category", "question_id", "estimate", "ci_low", "ci_high", "n_questions", "n_chains",
    "n_tokens",
)  # fmt: skip
_KEYS = ["annotator", "strategy", "category"]


@dataclass(frozen=True, kw_only=True)
class DeletionByCategory:
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

    def data(self, run: Run) -> pd.DataFrame:
        """Return what is drawn.

        Returns
        -------
        Columns ``annotator, strategy, row, category, question_id, estimate, ci_low, ci_high, n_questions, n_chains, n_tokens``.
        ``row`` is ``mean``, ``given_position`` (both of the main table) or ``question`` (one per small dot). ``estimate`` is a
        share in 0..1, 0 = first deleted.
        """
        result = result_of(run, "deletion_by_category", about="scheme")
        annotator = self._annotator(run, result.table)
        main, per_question = (
            table[(table["scheme"] == "categories") & (table["annotator"] == annotator)]
            for table in (result.table, detail(run, result, "per_question"))
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

    def table(self, run: Run) -> pd.DataFrame:
        """One row per strategy and category, with the number of tokens that were never deleted."""
        data = self.data(run)
        means, given = (data[data["row"] == row].set_index(_KEYS) for row in ("mean", "given_position"))
        shown = ["estimate", "ci_low", "ci_high"]
        held = given[shown].set_axis(["given_position", "given_position_low", "given_position_high"], axis=1)
        censored = detail(run, result_of(run, "deletion_by_category", about="scheme"), "censored").set_index(_KEYS)
        counts = means[["n_questions", "n_chains", "n_tokens"]].join(censored["n_censored"])
        rows = means[shown].join(held).join(counts).reset_index()
        return rows[rows["n_chains"] > 0]

    def draw(self, run: Run) -> "Figure":
        """Draw one panel per strategy."""
        data = self.data(run)
        shown = list(dict.fromkeys(data["strategy"]))
        categories = [category for category in CATEGORIES if (data["category"] == category).any()]
        with figure_style():
            figure, axes = panels(len(shown), height=0.9 + 0.36 * len(categories))
            for axis, strategy in zip(axes, shown, strict=True):
                _draw_panel(axis, data[data["strategy"] == strategy], categories)
                if len(shown) > 1:
                    axis.set_title(strategy)
            figure.supxlabel("relative deletion step (0 = first deleted, 1 = last)", fontsize=9)
        return figure

    def _annotator(self, run: Run, table: pd.DataFrame) -> str:
        known = list(dict.fromkeys(table["annotator"]))
        if self.annotator is not None and self.annotator not in known:
            raise RunError(
                f"{run.folder}: deletion_by_category has no annotator {self.annotator!r}; it has {', '.join(known)}; make it "
                f"again with: python -m analyses.deletion_by_category {run.folder}"
            )
        return self.annotator or known[0]


def _draw_panel(axis: "Axes", data: pd.DataFrame, categories: Sequence[str]) -> None:
    for place, category in enumerate(categories):
        rows = data[data["category"] == category]
        colour = look_of(category).line
        dots = rows.loc[rows["row"] == "question", "estimate"].to_numpy(dtype=float)
        spread = (np.arange(len(dots)) % 5 - 2) * 0.04
        axis.scatter(dots, place + 0.2 + spread, s=9, color=colour, alpha=0.45, linewidths=0)
        for row, height, fill in (("mean", place - 0.24, colour), ("given_position", place - 0.06, "none")):
            mean = rows[rows["row"] == row]
            axis.hlines(
                [height] * len(mean), mean["ci_low"], mean["ci_high"], color=INK, linewidth=1.4 if fill == colour else 0.8
            )
            axis.scatter(mean["estimate"], [height] * len(mean), s=24, color=fill, edgecolor=INK, linewidths=0.8, zorder=3)
    axis.set_yticks(range(len(categories)), [category_name(category) for category in categories])
    axis.set_ylim(len(categories) - 0.45, -0.6)
    axis.set_xlim(-0.02, 1.02)
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.grid(axis="x")
