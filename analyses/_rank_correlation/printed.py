"""What a terminal shows of rank correlation: one line for each scorer, the kinds in turn, the largest first."""

from typing import Final

import numpy as np
import pandas as pd

from analyses._sentences import briefly
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
    rows: dict[str, dict[str, str]] = {}
    sizes: dict[str, float] = {}
    for row in table.to_dict("records"):
        scorer, term = str(row["scorer"]), str(row["term"])
        of_scorer = rows.setdefault(scorer, {"scorer": scorer, "kind": str(row["kind"])})
        if term in _SHOWN:
            of_scorer[_SHOWN[term]] = "" if np.isnan(row["estimate"]) else briefly(row)
        if term in _ADJUSTED:
            of_scorer[_ADJUSTED[term]] = _p_value(row["p_adjusted"])
            sizes[scorer] = max(sizes.get(scorer, 0), np.nan_to_num(abs(row["estimate"])))
    order = sorted(rows, key=lambda scorer: (KINDS_OF_SCORE.index(rows[scorer]["kind"]), -sizes[scorer]))
    return pd.DataFrame([rows[scorer] for scorer in order])


def _p_value(value: float) -> str:
    return "" if np.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"
