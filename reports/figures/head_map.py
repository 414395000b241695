"""Which heads know: rank correlation of every head's attention with the deletion order."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from reasoning_anatomy.types import AnalysisResult
from reports._data import detail, main_table, of
from reports._drawing import Sized, wrapped
from reports._style import INK, figure_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MANY_CELLS = 2500
_ENDS = 5
COLUMNS = ("scorer", "term", "layer", "head", "estimate", "ci_low", "ci_high", "p_value", "p_adjusted", "p_max_t")


@dataclass(frozen=True, kw_only=True)
class HeadMap(Sized):
    """Rank correlation of attention and deletion_step for every attention head.

    Attributes
    ----------
    scorer
        Whose heads; those of the first scorer that has any if None.
    term
        Which statistic of ``rank_correlation``.
    alpha
        Heads whose adjusted p-value is below it carry a dot.
    """

    title: ClassVar[str] = "Rank correlation of every attention head"
    caption: ClassVar[str] = (
        "Spearman's rho of every attention head, of the first scorer that has heads, without control for position. Orange: "
        "attended tokens are deleted late. Violet: they are deleted early. The map is exploratory: the best of many heads, "
        "judged on the questions it was picked on, looks better than it is."
    )
    also_called: ClassVar[tuple[str, ...]] = ("layer_head_map",)
    section: ClassVar[str] = "rank_correlation"
    analysis: ClassVar[str | None] = "rank_correlation"

    scorer: str | None = None
    term: str = "spearman"
    alpha: float = 0.05

    def data(self, source: AnalysisResult) -> pd.DataFrame:
        """Return what is drawn.

        Returns
        -------
        Columns ``scorer, term, layer, head, estimate, ci_low, ci_high, p_value, p_adjusted, p_max_t`` of ``rank_correlation``'s
        detail table ``per_head``; layers and heads count from 0.
        """
        main_table(source, ["scorer"])
        table = detail(source, "per_head", COLUMNS, why_missing="its scorers have no value per head")
        rows = of(of(table, source, "scorer", self.scorer), source, "term", self.term)
        return rows.sort_values(["layer", "head"], kind="stable")[list(COLUMNS)].reset_index(drop=True)

    def table(self, source: AnalysisResult) -> pd.DataFrame:
        """Return the five heads with the highest and the five with the lowest estimate, or all if they are no more."""
        rows = self.data(source).dropna(subset="estimate").sort_values("estimate", ascending=False, kind="stable")
        return rows if len(rows) <= 2 * _ENDS else pd.concat([rows.head(_ENDS), rows.tail(_ENDS)])

    def notes(self, source: AnalysisResult) -> list[str]:
        """Say what a dot means, or that no head has one."""
        n_marked = int((self.data(source)["p_adjusted"] < self.alpha).sum())
        if not n_marked:
            return [f"No head has an adjusted p-value below {self.alpha:g}."]
        return [f"A black dot marks an adjusted p-value below {self.alpha:g}."]

    def draw(self, source: AnalysisResult) -> "Figure":
        """Draw the map, layers from bottom to top."""
        data = self.data(source)
        grid = data.pivot_table(index="layer", columns="head", values="estimate", dropna=False)
        n_layers, n_heads = grid.shape
        with figure_style():
            figure = self.canvas(min(8.0, max(2.2, 1.1 + (0.13 if self.is_narrow else 0.16) * n_layers)))
            axis = figure.subplots()
            limit = float(np.nanmax(np.abs(grid.to_numpy()), initial=0.0)) or 1.0
            mesh = axis.pcolormesh(
                np.arange(n_heads + 1) - 0.5, np.arange(n_layers + 1) - 0.5, np.ma.masked_invalid(grid.to_numpy()),
                cmap="PuOr_r", vmin=-limit, vmax=limit, rasterized=grid.size > _MANY_CELLS, linewidth=0,
            )  # fmt: skip
            self._mark(axis, data, grid)
            _number(axis, grid)
            axis.set_title(wrapped(data["scorer"].iloc[0], 40))
            bar = figure.colorbar(mesh, ax=axis, pad=0.03, fraction=0.06)
            bar.set_label(f"{self.term.replace('_', ' ')}\n(+ = attended, deleted later)", color=INK)
            bar.outline.set_visible(False)
        return figure

    def _mark(self, axis: "Axes", data: pd.DataFrame, grid: pd.DataFrame) -> None:
        """Put a dot on every head with an adjusted p-value below alpha."""
        marked = data[data["p_adjusted"] < self.alpha]
        across = grid.columns.get_indexer(pd.Index(marked["head"]))
        down = grid.index.get_indexer(pd.Index(marked["layer"]))
        axis.scatter(across, down, s=7 if grid.size < 600 else 3, color="#000000", edgecolor="#ffffff", linewidths=0.5)


def _number(axis: "Axes", grid: pd.DataFrame) -> None:
    """Put numbers on layers and heads, about a dozen of each."""
    for names, set_ticks in ((grid.columns, axis.set_xticks), (grid.index, axis.set_yticks)):
        places = range(0, len(names), max(1, -(-len(names) // 12)))
        set_ticks(places, [str(names[place]) for place in places])
    axis.set_xlabel("head")
    axis.set_ylabel("layer (0 = first)")
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
