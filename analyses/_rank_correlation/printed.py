"""What a terminal shows of rank correlation: one line for each scorer, the kinds in turn, the largest first."""

from typing import Final

import numpy as np
import pandas as pd

from analyses._printed import side_by_side
from reasoning_anatomy.plugin_files import KINDS_OF_SCORE

_SHOWN: Final = {
    "spearman": "rho",
    "spearman_given_position": "rho given position",
    "spearman_within_bins": "rho within bins",
    "kendall_top_weighted": "tau, top weighted",
}
_ADJUSTED: Final = {"spearman": "p adjusted", "spearman_given_position": "p adjusted, given position"}


def printed_table(table: pd.DataFrame) -> pd.DataFrame:
    """Put the main table into one row for each scorer: four terms with their intervals, and the p-values of two."""
    sizes = (
        table[table["term"].isin(_ADJUSTED)].assign(size=lambda rows: rows["estimate"].abs()).groupby("scorer")["size"].max()
    )
    kinds = table.groupby("scorer")["kind"].first().map(KINDS_OF_SCORE.index)
    order = sorted(dict.fromkeys(table["scorer"]), key=lambda scorer: (kinds[scorer], -np.nan_to_num(sizes[scorer])))
    shown = side_by_side(table, about=("scorer", "kind"), across="term", values=_SHOWN, adjusted=_ADJUSTED)
    return shown.set_index("scorer").loc[order].reset_index()
