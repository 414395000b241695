"""Can the likelihood be foretold: predicted against measured nll of the answer after a deletion."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
import pandas as pd

from reasoning_anatomy.types import AnalysisResult
from reports._data import detail, main_table
from reports._drawing import Sized, shown
from reports._style import MUTED, SMALL_TEXT, figure_style, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("chain_id", "question_id", "kept", "place", "target", "measured", "predictor", "predicted")
_TERMS: Final = {"pearson": "r", "spearman_within_stage": "\N{GREEK SMALL LETTER RHO} within a stage"}
_AXES: Final = {"nll": "nll of the answer (nats per token)", "within_stage": "nll less the mean of its stage (nats per token)"}
_MANY_DOTS: Final = 300
_DOTS: Final = "#4a86d8"  # a picture within the drawing cannot follow the theme of a page: seen on white and on black


@dataclass(frozen=True, kw_only=True)
class PredictedLikelihood(Sized):
    """Predicted against measured nll after a deletion, candidates of questions that the models have not seen.

    The result holds up to 5,000 candidates, drawn by chance.
    """

    title: ClassVar[str] = "Predicted against measured likelihood"
    caption: ClassVar[str] = (
        "One dot per candidate deletion, one panel per predictor; position knows stage and place alone. On the line, the "
        "prediction is right. Above the panel: r over all candidates, in which the levels of chains count, and the rank "
        "correlation within one stage of one chain, where only the choice of the token is left to predict (both of the "
        "table, over all candidates). Every candidate is predicted by models that have not seen its question."
    )
    section: ClassVar[str] = "predict_likelihood"
    analysis: ClassVar[str | None] = "predict_likelihood"
    on_demand: ClassVar[bool] = True

    def data(self, source: AnalysisResult) -> pd.DataFrame:
        """Return what is drawn.

        Returns
        -------
        Columns ``chain_id, question_id, kept`` (share of tokens left), ``place`` (0..1), ``target`` (``nll``, or
        ``within_stage``: less the mean of its stage), ``measured, predictor, predicted``, of the detail table ``predictions``
        of ``predict_likelihood``.
        """
        return detail(source, "predictions", COLUMNS)[list(COLUMNS)]

    def draw(self, source: AnalysisResult) -> "Figure":
        """Draw one panel per predictor."""
        data, table = self.data(source), main_table(source, ["predictor"])
        predictors = list(dict.fromkeys(data["predictor"]))
        target = str(data["target"].iloc[0])
        found = table.set_index(["predictor", "term"])["estimate"]
        with figure_style():
            figure, axes = self.panels(len(predictors), height=2.5, across=4)
            ends = _ends(data)
            for axis, predictor in zip(axes, predictors, strict=True):
                _draw_panel(axis, data[data["predictor"] == predictor], ends)
                said = "\n".join(f"{word} {number(found.get((predictor, term)))}" for term, word in _TERMS.items())
                axis.set_title(f"{shown(predictor)}\n{said}", fontsize=SMALL_TEXT)
            figure.supxlabel(f"measured {_AXES[target]}")
            figure.supylabel("predicted")
        return figure


def _ends(data: pd.DataFrame) -> tuple[float, float]:
    """Choose common limits of both axes: those of nearly all dots, so that a few far ones do not press the rest together."""
    values = data[["measured", "predicted"]].to_numpy(dtype=float)
    low, high = np.quantile(values[np.isfinite(values)], [0.002, 0.998])
    room = 0.05 * (high - low or 1)
    return float(low - room), float(high + room)


def _draw_panel(axis: "Axes", rows: pd.DataFrame, ends: tuple[float, float]) -> None:
    axis.plot(ends, ends, color=MUTED, linewidth=0.8, zorder=1)
    axis.scatter(
        rows["measured"], rows["predicted"], s=4, color=_DOTS, alpha=0.45, linewidths=0, rasterized=len(rows) > _MANY_DOTS
    )
    axis.set_xlim(ends)
    axis.set_ylim(ends)
    axis.set_box_aspect(1)
