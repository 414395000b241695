"""Kendall's tau-b of many rows at once: Knight's O(n log n) count of discordant pairs, vectorised over the rows.

`scipy.stats.kendalltau` takes one pair of rows a call and computes a p-value that is of no use here; a table of all
pairs costs O(n²) a row. Counting inversions while merging costs neither and is exact: the counts are integers.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from reasoning_anatomy.types import FloatArray, IntArray


def kendall(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> FloatArray:
    """Kendall's tau-b.

    (..., n) and (..., n), broadcast -> (...); NaN if either is constant.

    References
    ----------
    Knight (1966), A computer method for calculating Kendall's tau with ungrouped data, JASA 61:436.
    """
    shape = np.broadcast_shapes(x.shape, y.shape)
    n = shape[-1]
    x_ranks, y_ranks = (
        np.broadcast_to(rankdata(values, method="dense", axis=-1).astype(np.int64), shape).reshape(-1, n) for values in (x, y)
    )
    order = np.lexsort((x_ranks, y_ranks), axis=-1)
    x_sorted, y_sorted = (np.take_along_axis(ranks, order, axis=-1) for ranks in (x_ranks, y_ranks))
    x_ties = _tied_pairs(np.sort(x_ranks, axis=-1))
    y_ties = _tied_pairs(y_sorted)
    both_ties = _tied_pairs(x_sorted, y_sorted)
    pairs = n * (n - 1) // 2
    surplus = pairs - x_ties - y_ties + both_ties - 2 * inversions(x_sorted)
    scale = np.sqrt((pairs - x_ties).astype(np.float64) * (pairs - y_ties))
    tau = np.divide(surplus, scale, out=np.full(scale.shape, np.nan), where=scale > 0)
    return np.asarray(tau.reshape(shape[:-1]))


def inversions(ranks: IntArray) -> IntArray:
    """Count the pairs of each row that stand in the wrong order, equal entries not among them; (rows, n) -> (rows,).

    Bottom-up merge sort: a left entry's place in the merged block, less the left entries before it, is the number of
    right entries that were smaller.
    """
    rows, n = ranks.shape
    width = 1 << (n - 1).bit_length()
    merged = np.full((rows, width), n + 1, dtype=np.int32)  # the padding is the largest and last: it inverts nothing
    merged[:, :n] = ranks
    total = np.zeros(rows, dtype=np.int64)
    half = 1
    while half < width:
        blocks = merged.reshape(rows, -1, 2 * half)
        order = np.argsort(blocks, axis=-1, kind="stable")
        places = np.where(order < half, np.arange(2 * half), 0).sum(axis=(-2, -1))
        total += places - blocks.shape[1] * (half * (half - 1) // 2)
        merged = np.take_along_axis(blocks, order, axis=-1).reshape(rows, width)
        half *= 2
    return total


def _tied_pairs(*columns: IntArray) -> IntArray:
    """Count the pairs that agree in every column; (rows, n) each, equal entries side by side -> (rows,)."""
    rows, n = columns[0].shape
    starts = np.zeros((rows, n), dtype=np.int64)
    for column in columns:
        starts[:, 1:] |= column[:, 1:] != column[:, :-1]
    groups = np.cumsum(starts, axis=-1) + n * np.arange(rows)[:, None]
    sizes = np.bincount(groups.ravel(), minlength=rows * n).reshape(rows, n)
    return np.asarray((sizes * (sizes - 1) // 2).sum(axis=-1))
