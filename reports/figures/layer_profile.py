"""Which layers know: rank correlation of every layer's attention with the deletion order, with its interval."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import pandas as pd

from reasoning_anatomy.types import AnalysisResult
from reports._data import detail, main_table, of
from reports._drawing import Sized, draw_band, wrapped
from reports._style import DASHES, INK, SERIES, SMALL_TEXT, figure_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("scorer", "term", "layer", "estimate", "ci_low", "ci_high", "p_value", "p_adjusted", "p_max_t", "n_questions")
_GIVEN: Final = "_given_position"


@dataclass(frozen=True, kw_only=True)
class LayerProfile(Sized):
    """Rank correlation of attention and deletion_step layer by layer, raw and with position held constant.

    Attributes
    ----------
    scorer
        Whose layers; None draws those of every scorer that has any, one panel each.
    term
        Which statistic of ``rank_correlation``: ``spearman`` or ``kendall``.
    """

    title: ClassVar[str] = "Rank correlation layer by layer"
    caption: ClassVar[str] = (
        "Mean over the heads of a layer. Solid: as it is; dashed: position in the chain held constant. Bands: the interval of "
        "each layer by itself, over questions; it is no band for the whole curve. Above 0, attended tokens are deleted later."
    )
    section: ClassVar[str] = "rank_correlation"
    analysis: ClassVar[str | None] = "rank_correlation"
    on_demand: ClassVar[bool] = True

    scorer: str | None = None
    term: str = "spearman"

    def data(self, source: AnalysisResult) -> pd.DataFrame:
        """Return what is drawn.

        Returns
        -------
        Columns ``scorer, term, layer, estimate, ci_low, ci_high, p_value, p_adjusted, p_max_t, n_questions`` of
        ``rank_correlation``'s detail table ``per_layer``; layers count from 0.
        """
        main_table(source, ["scorer"])
        table = detail(source, "per_layer", COLUMNS, why_missing="its scorers have no value per layer")
        rows = table if self.scorer is None else of(table, source, "scorer", self.scorer)
        raw, given = (of(rows, source, "term", term) for term in (self.term, self.term + _GIVEN))
        return pd.concat([raw, given]).sort_index()[list(COLUMNS)].reset_index(drop=True)

    def draw(self, source: AnalysisResult) -> "Figure":
        """Draw one panel per scorer."""
        data = self.data(source)
        scorers = list(dict.fromkeys(data["scorer"]))
        with figure_style():
            figure, axes = self.panels(len(scorers), height=2.4 if len(scorers) == 1 else 1.5, across=4)
            for axis, scorer in zip(axes, scorers, strict=True):
                self._draw_panel(axis, data[data["scorer"] == scorer])
                axis.set_title(wrapped(scorer, 22), fontsize=SMALL_TEXT)
            handles, labels = axes[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside upper left", ncols=2)
            figure.supxlabel("layer (0 = first)")
            figure.supylabel(f"{self.term}\n(+ = attended, deleted later)")
        return figure

    def _draw_panel(self, axis: "Axes", data: pd.DataFrame) -> None:
        axis.axhline(0, color=INK, linewidth=0.8, zorder=1)
        for term, name, colour, dash in (
            (self.term, "raw", SERIES[0], DASHES[0]),
            (self.term + _GIVEN, "given position", SERIES[1], DASHES[1]),
        ):
            rows = data[data["term"] == term].sort_values("layer", kind="stable")
            draw_band(axis, rows["layer"], rows["ci_low"], rows["ci_high"], colour)
            axis.plot(rows["layer"], rows["estimate"], color=colour, linestyle=dash, linewidth=1.4, label=name)
        axis.set_ylim(-1, 1)
        axis.grid(axis="y")
