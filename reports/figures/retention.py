"""What is kept: share of each kind of token that is left when a chain is pruned to a keep ratio."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import pandas as pd

from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.types import AnalysisResult
from reasoning_anatomy.verdicts import says_nothing
from reports._data import detail, of
from reports._drawing import Sized, name_rows, wrapped
from reports._style import INK, category_name, figure_style, look_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = (
    "annotator", "strategy", "keep_ratio", "achieved", "term", "kept", "estimate", "ci_low", "ci_high", "p_value", "p_adjusted",
    "n_questions", "n_chains", "n_tokens",
)  # fmt: skip
_ENDINGS = {"raw": "", "given_position": " given position"}


@dataclass(frozen=True, kw_only=True)
class Retention(Sized):
    """Share of each category that is kept at each keep ratio, beside the share of all tokens that is.

    Attributes
    ----------
    annotator
        Whose categories; the first in the result if None.
    strategy
        Label of the strategy; the first in the result if None.
    position
        ``raw``, or ``given_position``: with position in the chain held constant.
    """

    title: ClassVar[str] = "What is kept of each kind of token"
    caption: ClassVar[str] = (
        "Bars: share of the tokens of a category that is kept when a chain is pruned to at most the keep ratio above the "
        "panel; mean over chains, then questions. Vertical line: share of all tokens that is kept. A bar that ends beyond "
        "it belongs to a kind that is kept more than others. Whiskers: interval of the difference from that line, over "
        "questions; a whisker across the line is compatible with no difference. Without a whisker, too few questions have "
        "the category, or the interval says nothing."
    )
    section: ClassVar[str] = "category_survival"
    analysis: ClassVar[str | None] = "category_survival"
    on_demand: ClassVar[bool] = True

    annotator: str | None = None
    strategy: str | None = None
    position: Literal["raw", "given_position"] = "raw"

    def data(self, source: AnalysisResult) -> pd.DataFrame:
        """Return what is drawn.

        Returns
        -------
        Columns ``annotator, strategy, keep_ratio, achieved`` (share of all tokens that is kept), ``term`` (the category),
        ``kept`` (share of its tokens that is), ``estimate, ci_low, ci_high, p_value, p_adjusted`` of their difference,
        ``n_questions, n_chains, n_tokens``, of the detail table ``retention`` of ``category_survival``.
        """
        table = detail(source, "retention", COLUMNS)
        table = of(of(table, source, "annotator", self.annotator), source, "strategy", self.strategy)
        terms = [category + _ENDINGS[self.position] for category in CATEGORIES]
        rows = table[(table["scheme"] == "categories") & table["term"].isin(terms) & table["kept"].notna()]
        return rows[list(COLUMNS)].reset_index(drop=True)

    def draw(self, source: AnalysisResult) -> "Figure":
        """Draw one panel per keep ratio."""
        data = self.data(source)
        shown = set(data["term"])
        terms = {name: category for category in CATEGORIES if (name := category + _ENDINGS[self.position]) in shown}
        ratios = list(dict.fromkeys(data["keep_ratio"]))
        with figure_style():
            figure, axes = self.panels(len(ratios), height=0.65 + 0.26 * len(terms), across=4)
            for axis, ratio in zip(axes, ratios, strict=True):
                _draw_panel(axis, data[data["keep_ratio"] == ratio].set_index("term"), list(terms))
                axis.set_title(f"keep ratio {ratio:g}")
                name_rows(axis, [wrapped(category_name(category), 16) for category in terms.values()])
            given = "; position held constant" if self.position == "given_position" else ""
            figure.supxlabel(f"share kept (line: of all tokens{given})")
        return figure


def _draw_panel(axis: "Axes", data: pd.DataFrame, terms: list[str]) -> None:
    for place, term in enumerate(terms):
        if term not in data.index:
            continue
        row = data.loc[term]
        colour = look_of(term.partition(" ")[0]).line
        axis.barh(place, row["kept"], height=0.62, color=colour, alpha=0.55, linewidth=0)
        ends = (row["achieved"] + row[["ci_low", "ci_high"]].to_numpy(dtype=float)).clip(0, 1)
        if np.isfinite(ends).all() and not says_nothing(*ends):
            axis.hlines(place, *ends, color=INK, linewidth=1)
        axis.vlines(row["achieved"], place - 0.45, place + 0.45, color=INK, linewidth=1.2)
    axis.set_xlim(0, 1.1)
    axis.set_xticks([0, 0.5, 1])
