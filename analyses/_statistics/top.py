"""Kendall's tau in which the most important tokens count for most."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from analyses._statistics.kendall import dense_ranks
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
    is_one = y.size == n and x.shape == shape
    if not is_one:
        x, y, weights = (np.broadcast_to(values, shape) for values in (x, y, weights))
    x_rows, y_rows, weights = (values.reshape(-1, n) for values in (x, y, weights))
    total = _sums_against_one(x_rows, y_rows[0], weights[0]) if is_one else _sums(x_rows, y_rows, weights)
    scale = np.sqrt((_untied(x_rows) * weights).sum(axis=-1) * (_untied(y_rows) * weights).sum(axis=-1))
    ratio = np.divide(total, scale, out=np.full(total.shape, np.nan), where=scale > 0)
    return np.asarray(np.clip(ratio, -1, 1).reshape(shape[:-1]))


def _sums_against_one(x: npt.NDArray[Any], y: npt.NDArray[Any], weights: FloatArray) -> FloatArray:
    """Sum the weights of pairs in the same order, less those of pairs in opposite order. (rows, n), (n,), (n,) -> (rows,)."""
    total = np.zeros(len(x))
    tokens_at_once = max(1, _CELLS_AT_ONCE // x.size)
    for start in range(0, y.size, tokens_at_once):
        some = slice(start, start + tokens_at_once)
        of_pairs = (weights[some, None] + weights) * np.sign(y[some, None] - y)
        is_higher = x[:, some, None] > x[:, None, :]
        total += is_higher.reshape(len(x), -1).astype(np.float64) @ of_pairs.ravel()
    return total


def _sums(x: npt.NDArray[Any], y: npt.NDArray[Any], weights: FloatArray) -> FloatArray:
    """Sum as `_sums_against_one`, every row against its own. 3 x (rows, n) -> (rows,)."""
    rows_at_once = max(1, _CELLS_AT_ONCE // x.shape[-1] ** 2)
    blocks = [slice(first, first + rows_at_once) for first in range(0, len(x), rows_at_once)]
    return np.concatenate(
        [
            np.where(
                x[rows, :, None] > x[rows, None],
                (weights[rows, :, None] + weights[rows, None]) * np.sign(y[rows, :, None] - y[rows, None]),
                0,
            ).sum(axis=(1, 2))
            for rows in blocks
        ]
    )


def _untied(values: npt.NDArray[Any]) -> IntArray:
    """Count the tokens that each one differs from. (rows, n) -> (rows, n)."""
    rows, n = values.shape
    ranks = dense_ranks(values) + n * np.arange(rows)[:, None]
    return np.asarray(n - np.bincount(ranks.ravel(), minlength=rows * n)[ranks])
