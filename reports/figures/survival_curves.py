"""How long each kind of token is left: survival curves by category and by class."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
import pandas as pd

from reasoning_anatomy.categories import LINGUISTIC_SCAFFOLDING, SYMBOLIC_COMPUTATION
from reasoning_anatomy.types import AnalysisResult
from reports._data import detail, of
from reports._drawing import Sized, draw_band
from reports._style import INK, LOOKS, MUTED, SMALL_TEXT, category_name, figure_style, look_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = (
    "annotator", "strategy", "scheme", "group", "time", "estimate", "ci_low", "ci_high", "band_low", "band_high",
    "n_questions", "n_chains", "n_tokens",
)  # fmt: skip
_CLASSES: Final = {SYMBOLIC_COMPUTATION: LOOKS[0].line, LINGUISTIC_SCAFFOLDING: LOOKS[2].line}
_SCHEMES: Final = ("categories", "classes")


@dataclass(frozen=True, kw_only=True)
class SurvivalCurves(Sized):
    """Share of the tokens of each kind that is left while a chain is deleted: six categories, and the two classes.

    Attributes
    ----------
    annotator
        Whose categories; the first in the result if None.
    strategy
        Label of the strategy; the first in the result if None.
    """

    title: ClassVar[str] = "How long each kind of token is left"
    caption: ClassVar[str] = (
        "Share of the tokens of a kind that is left after a share of all tokens of the chain was deleted: mean over chains,"
        " then questions. A line above the dotted diagonal belongs to a kind that is kept longer than others. Bands: "
        "interval of each point by itself, over questions, where it says anything; in the CSV is also the band for a whole "
        "curve. Position is not held constant here; the table has the differences for which it is."
    )
    section: ClassVar[str] = "category_survival"
    analysis: ClassVar[str | None] = "category_survival"
    on_demand: ClassVar[bool] = True

    annotator: str | None = None
    strategy: str | None = None

    def data(self, source: AnalysisResult) -> pd.DataFrame:
        """Return what is drawn.

        Returns
        -------
        Columns ``annotator, strategy, scheme, group, time`` (share of the chain that is deleted, 0..1), ``estimate`` (share of
        the group that is left), ``ci_low, ci_high`` (of each point), ``band_low, band_high`` (of the whole curve),
        ``n_questions, n_chains, n_tokens``, of the detail table ``curves`` of ``category_survival``.
        """
        table = detail(source, "curves", COLUMNS)
        table = of(of(table, source, "annotator", self.annotator), source, "strategy", self.strategy)
        return table[table["estimate"].notna()][list(COLUMNS)].reset_index(drop=True)

    def draw(self, source: AnalysisResult) -> "Figure":
        """Draw one panel per category and class, with the other lines of the same kind thin behind."""
        data = self.data(source)
        groups = [
            (scheme, group) for scheme in _SCHEMES for group in dict.fromkeys(data.loc[data["scheme"] == scheme, "group"])
        ]
        with figure_style():
            figure, axes = self.panels(len(groups), height=1.55, across=4)
            for axis, (scheme, group) in zip(axes, groups, strict=True):
                _draw_panel(axis, data[data["scheme"] == scheme], group)
            figure.supxlabel("share of the chain that is deleted")
            figure.supylabel("share of the kind that is left (higher = kept longer)")
        return figure


def _draw_panel(axis: "Axes", data: pd.DataFrame, group: str) -> None:
    axis.plot([0, 1], [1, 0], color=INK, linewidth=0.8, linestyle="dotted", zorder=1)
    for other, rows in data.groupby("group", sort=False):
        is_this = other == group
        time, left = np.append(0, rows["time"]), np.append(1, rows["estimate"])
        colour = _CLASSES.get(group, look_of(group).line) if is_this else MUTED
        if is_this:
            draw_band(axis, rows["time"], rows["ci_low"], rows["ci_high"], colour)
        axis.plot(time, left, color=colour, linewidth=1.5 if is_this else 0.5, alpha=1 if is_this else 0.5, zorder=2 + is_this)
    axis.set_title(category_name(group).replace("_", " "), fontsize=SMALL_TEXT)
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1.02)
    axis.set_xticks([0, 0.5, 1])
    axis.set_yticks([0, 0.5, 1])
