"""Adjustment of a family of p-values; members that could not be tested stay out of it."""

from typing import Literal

import numpy as np
from statsmodels.stats.multitest import multipletests  # type: ignore[import-untyped]

from reasoning_anatomy.types import FloatArray


def adjust(p_values: FloatArray, method: Literal["holm", "fdr_bh"]) -> FloatArray:
    """Adjust by Holm (any false rejection) or Benjamini-Hochberg (share of false ones); (family,) -> (family,), NaN kept."""
    adjusted = np.full(p_values.shape, np.nan)
    tested = np.isfinite(p_values)
    if tested.any():
        adjusted[tested] = multipletests(p_values[tested], method=method)[1]
    return adjusted
