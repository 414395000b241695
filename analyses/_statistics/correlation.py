"""Rank correlations of many rows at once, raw and given position."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from analyses._statistics.kendall import kendall
from reasoning_anatomy.types import FloatArray

TERMS: Final = ("spearman", "spearman_given_position", "kendall", "kendall_given_position")
"""The statistics in the order of the last axis of `correlations`."""

_CELLS_AT_ONCE: Final = 1 << 19
_LONGEST_EXACT: Final = 50_000  # 2 n⁴ / 3 stays below 2⁶³


def correlations(received: npt.NDArray[Any], importance: FloatArray) -> FloatArray:
    """Correlate rows of attention with one order of importance.

    Parameters
    ----------
    received
        (rows, n) attention that each token receives, in the order of position.
    importance
        (n,) higher = more important; equal = no order known.

    Returns
    -------
    (rows, 4) the `TERMS`, each in -1..1; positive = the tokens that receive more attention are the more important ones.
    NaN if a row is constant, and given position also if position alone fixes one of the two orders.
    """
    rows_at_once = max(1, _CELLS_AT_ONCE // importance.size)
    blocks = [received[start : start + rows_at_once] for start in range(0, len(received), rows_at_once)]
    return np.concatenate([np.empty((0, len(TERMS))), *(_correlations(block, importance) for block in blocks)])


def spearman(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> FloatArray:
    """Spearman's rho: Pearson's r of average ranks; (..., n) and (..., n), broadcast -> (...). NaN if either is constant."""
    return pearson(centred_ranks(x), centred_ranks(y))


def given_position(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Regress ranks on position and return the residuals, up to a factor. (..., n) -> (..., n).

    The factor makes them whole numbers, so that equal residuals are equal to the last bit and position itself leaves
    zeros; beyond 50 000 tokens they are rounded.
    """
    return residual_ranks(centred_ranks(values))


def partial_tau(xy: FloatArray, xz: FloatArray, yz: FloatArray) -> FloatArray:
    """Kendall's own partial tau of x and y given z, from the taus of every two of them; NaN if z fixes x or y.

    For comparison with the literature only: it is not zero when x and y depend on position alone.

    References
    ----------
    Kendall (1942), Partial rank correlation, Biometrika 32:277; Korn (1984), The ranges of limiting values of some
    partial correlations under conditional independence, The American Statistician 38:61.
    """
    scale = np.sqrt((1 - xz**2) * (1 - yz**2))
    return np.asarray(np.divide(xy - xz * yz, scale, out=np.full(xy.shape, np.nan), where=scale > 0))


def _correlations(received: npt.NDArray[Any], importance: FloatArray) -> FloatArray:
    ranks, of_importance = centred_ranks(received), centred_ranks(importance)
    received_left, importance_left = residual_ranks(ranks), residual_ranks(of_importance)
    by_term = {
        "spearman": pearson(ranks, of_importance),
        "spearman_given_position": pearson(received_left, importance_left),
        "kendall": kendall(ranks, of_importance),
        "kendall_given_position": kendall(received_left, importance_left),
    }
    return np.stack([by_term[term] for term in TERMS], axis=-1)


def residual_ranks(ranks: FloatArray) -> npt.NDArray[Any]:
    """Regress `centred_ranks` on position, as `given_position` does. (..., n) -> (..., n)."""
    n = ranks.shape[-1]
    kind = np.int64 if n <= _LONGEST_EXACT else np.float64
    ranks = ranks.astype(kind)
    position = 2 * np.arange(n, dtype=kind) - (n - 1)
    return np.asarray(ranks * (position @ position) - (ranks @ position)[..., None] * position)


def centred_ranks(values: npt.NDArray[Any]) -> FloatArray:
    """Twice the average rank, less its mean: whole numbers. (..., n) -> (..., n)."""
    return np.asarray(2 * rankdata(values, axis=-1) - (values.shape[-1] + 1))


def pearson(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> FloatArray:
    """Pearson's r of centred values; (..., n) and (..., n) -> (...). NaN if either is constant."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    product = (x * y).sum(axis=-1)
    scale = np.sqrt((x**2).sum(axis=-1)) * np.sqrt((y**2).sum(axis=-1))
    ratio = np.divide(product, scale, out=np.full(product.shape, np.nan), where=scale > 0)
    return np.asarray(np.clip(ratio, -1, 1))
