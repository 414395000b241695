"""Adjustment of a family of p-values; members that could not be tested stay out of it."""

from typing import Literal

import numpy as np
from scipy.stats import false_discovery_control

from reasoning_anatomy.types import FloatArray


def adjust(p_values: FloatArray, method: Literal["holm", "fdr_bh"]) -> FloatArray:
    """Adjust by Holm (any false rejection) or Benjamini-Hochberg (share of false ones); (family,) -> (family,), NaN kept."""
    adjusted = np.full(p_values.shape, np.nan)
    tested = np.isfinite(p_values)
    if tested.any():
        found = p_values[tested]
        adjusted[tested] = _holm(found) if method == "holm" else false_discovery_control(found, method="bh")
    return adjusted


def _holm(p_values: FloatArray) -> FloatArray:
    """Multiply the smallest by their number, the next by one less, ...; none falls below one before it."""
    order = np.argsort(p_values)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1)))
    return adjusted
