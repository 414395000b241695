"""Who calls what how: tokens by the category that each of two annotators gave them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.types import AnalysisResult
from reports._data import detail, of
from reports._drawing import Sized, shown
from reports._style import SMALL_TEXT, category_name, contrast, figure_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("annotator_a", "annotator_b", "category_a", "category_b", "n_tokens", "share_of_row")


@dataclass(frozen=True, kw_only=True)
class AnnotatorConfusion(Sized):
    """Tokens by the category that two annotators gave them, as counts and as shares of each row.

    Attributes
    ----------
    annotator_a, annotator_b
        Which pair; the first in the result if None.
    """

    title: ClassVar[str] = "Where two annotators agree"
    caption: ClassVar[str] = (
        "Number of tokens that one annotator gave the category of the row and the other that of the column. Shade: share of "
        "the tokens of the row, 0 = white, 1 = dark. On the diagonal both agree; dark cells off it are categories that one "
        "takes for another. Neither annotator is the truth."
    )
    section: ClassVar[str] = "annotator_agreement"
    analysis: ClassVar[str | None] = "annotator_agreement"
    on_demand: ClassVar[bool] = True

    annotator_a: str | None = None
    annotator_b: str | None = None

    def data(self, source: AnalysisResult) -> pd.DataFrame:
        """Return what is drawn.

        Returns
        -------
        Columns ``annotator_a, annotator_b, category_a, category_b, n_tokens`` of the detail table ``confusion`` of
        ``annotator_agreement``, and ``share_of_row`` (0..1; missing if the row has no tokens).
        """
        table = of(detail(source, "confusion", COLUMNS[:-1]), source, "annotator_a", self.annotator_a)
        rows = of(table, source, "annotator_b", self.annotator_b)
        totals = rows.groupby("category_a")["n_tokens"].transform("sum")
        return rows.assign(share_of_row=rows["n_tokens"] / totals.where(totals > 0))[list(COLUMNS)].reset_index(drop=True)

    def draw(self, source: AnalysisResult) -> "Figure":
        """Draw one cell per pair of categories."""
        import matplotlib
        from matplotlib.colors import to_hex

        data = self.data(source)
        given = data[data["n_tokens"] > 0]
        used = [name for name in CATEGORIES if name in {*given["category_a"], *given["category_b"]}]
        cells = {(row.category_a, row.category_b): row for row in data.itertuples()}
        counts, shares = (
            np.array([[getattr(cells[a, b], name) for b in used] for a in used], dtype=float)
            for name in ("n_tokens", "share_of_row")
        )
        with figure_style():
            figure = self.canvas(3.0 if self.is_narrow else 3.4)
            axis = figure.subplots()
            colours = matplotlib.colormaps["Blues"]
            axis.imshow(np.nan_to_num(shares), cmap=colours, vmin=0, vmax=1, aspect="auto")
            for (row, column), count in np.ndenumerate(counts):
                behind = to_hex(colours(float(np.nan_to_num(shares[row, column]))))
                ink = max(("#000000", "#ffffff"), key=lambda ink: contrast(behind, ink))
                axis.text(column, row, f"{count:.0f}", ha="center", va="center", color=ink, fontsize=SMALL_TEXT)
            names = [category_name(name) for name in used]
            axis.set_yticks(range(len(used)), names)
            axis.set_xticks(range(len(used)), names, rotation=35, ha="right", rotation_mode="anchor")
            axis.tick_params(length=0)
            axis.spines[:].set_visible(False)
            axis.set_ylabel(shown(data["annotator_a"].iloc[0]))
            axis.set_xlabel(shown(data["annotator_b"].iloc[0]))
        return figure
