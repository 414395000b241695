"""Kendall's tau in which the most important tokens count for most."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from reasoning_anatomy.types import FloatArray, IntArray

_CELLS_AT_ONCE: Final = 1 << 20


def top_weights(importance: FloatArray) -> FloatArray:
    """Weight every token by 1 / its rank, 1 = the most important; equal ones share the mean of their weights. (n,) -> (n,).

    The tokens that were never deleted are equal: nothing is known of the order among them. In a chain of 200 tokens, half of
    all the weight lies on the last 10 to be deleted.
    """
    n = importance.size
    first = rankdata(-importance, method="min").astype(np.int64)
    last = rankdata(-importance, method="max").astype(np.int64)
    sums = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, n + 1))])
    return np.asarray((sums[last] - sums[first - 1]) / (last - first + 1))


def weighted_tau(x: npt.NDArray[Any], y: npt.NDArray[Any], weights: FloatArray) -> FloatArray:
    """Kendall's tau-b in which a pair of tokens counts as much as the weights of both.

    Parameters
    ----------
    x
        (rows, n).
    y
        (n,).
    weights
        (n,), such as `top_weights`.

    Returns
    -------
    (rows,) in -1..1; zero on average if x is unrelated to y and to the weights, whatever the ties; NaN if either is constant.

    References
    ----------
    Vigna (2015), A weighted correlation index for rankings with ties, WWW '15, 1166.
    """
    n = y.size
    total = np.zeros(len(x))
    tokens_at_once = max(1, _CELLS_AT_ONCE // max(1, x.size))
    for start in range(0, n, tokens_at_once):
        block = slice(start, start + tokens_at_once)
        of_pairs = (weights[block, None] + weights) * np.sign(y[block, None] - y)
        is_higher = x[:, block, None] > x[:, None, :]
        total += is_higher.reshape(len(x), -1).astype(np.float64) @ of_pairs.ravel()
    scale = np.sqrt((_untied(x) @ weights) * (_untied(y) @ weights))
    ratio = np.divide(total, scale, out=np.full(scale.shape, np.nan), where=scale > 0)
    return np.asarray(np.clip(ratio, -1, 1))


def _untied(values: npt.NDArray[Any]) -> IntArray:
    """Count the tokens that each one differs from. (..., n) -> (..., n)."""
    first, last = (rankdata(values, method=method, axis=-1) for method in ("min", "max"))
    return np.asarray(values.shape[-1] - (last - first + 1), dtype=np.int64)
