"""Kendall's tau in which the most important tokens count for most."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from reasoning_anatomy.types import FloatArray, IntArray

_CELLS_AT_ONCE: Final = 1 << 20


def top_weights(importance: FloatArray) -> FloatArray:
    """Weight every token by 1 / its rank, 1 = most important; equal ones share the mean of theirs. (..., n) -> (..., n).

    The tokens that were never deleted are equal: nothing is known of the order among them. In a chain of 200 tokens, half of
    all the weight lies on the last 10 to be deleted.
    """
    first, last = (rankdata(-importance, method=method, axis=-1).astype(np.int64) for method in ("min", "max"))
    sums = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, importance.shape[-1] + 1))])
    return np.asarray((sums[last] - sums[first - 1]) / (last - first + 1))


def weighted_tau(x: npt.NDArray[Any], y: npt.NDArray[Any], weights: FloatArray) -> FloatArray:
    """Kendall's tau-b in which a pair of tokens counts as much as the weights of both.

    Parameters
    ----------
    x, y
        (..., n) and (..., n), broadcast.
    weights
        (..., n) of the shape of ``y``, such as its `top_weights`.

    Returns
    -------
    (...) in -1..1; zero on average if x is unrelated to y and to the weights, whatever the ties; NaN if either is constant.

    References
    ----------
    Vigna (2015), A weighted correlation index for rankings with ties, WWW '15, 1166.
    """
    shape, n = np.broadcast_shapes(x.shape, y.shape), x.shape[-1]
    x, y, weights = (np.broadcast_to(values, shape).reshape(-1, n) for values in (x, y, weights))
    total = np.zeros(len(x))
    rows_at_once = max(1, _CELLS_AT_ONCE // n**2)
    tokens_at_once = max(1, _CELLS_AT_ONCE // n)
    for first in range(0, len(x), rows_at_once):
        rows = slice(first, first + rows_at_once)
        for start in range(0, n, tokens_at_once):
            some = slice(start, start + tokens_at_once)
            of_pairs = (weights[rows, some, None] + weights[rows, None]) * np.sign(y[rows, some, None] - y[rows, None])
            total[rows] += np.where(x[rows, some, None] > x[rows, None], of_pairs, 0).sum(axis=(1, 2))
    scale = np.sqrt((_untied(x) * weights).sum(axis=-1) * (_untied(y) * weights).sum(axis=-1))
    ratio = np.divide(total, scale, out=np.full(scale.shape, np.nan), where=scale > 0)
    return np.asarray(np.clip(ratio, -1, 1).reshape(shape[:-1]))


def _untied(values: npt.NDArray[Any]) -> IntArray:
    """Count the tokens that each one differs from. (..., n) -> (..., n)."""
    first, last = (rankdata(values, method=method, axis=-1) for method in ("min", "max"))
    return np.asarray(values.shape[-1] - (last - first + 1), dtype=np.int64)
