"""Kendall's tau-b of many rows at once, exact: pairs are counted in whole numbers.

`scipy.stats.kendalltau` takes one pair of rows a call and computes a p-value that is of no use here. Many rows that are
compared with one order, such as the heads of a chain, are counted pair by pair, each comparison over all rows at once; long
rows, and rows that have an order each, by Knight's O(n log n) method.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from reasoning_anatomy.types import FloatArray, IntArray

_MOST_COUNTED: Final = 1500
_TOKENS_PER_ROW: Final = 5
"""Tokens of a row from which Knight's method is faster, in all and for every row that is counted at once."""


def kendall(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> FloatArray:
    """Kendall's tau-b.

    (..., n) and (..., n), broadcast -> (...); NaN if either is constant.

    References
    ----------
    Knight (1966), A computer method for calculating Kendall's tau with ungrouped data, JASA 61:436.
    """
    shape = np.broadcast_shapes(x.shape, y.shape)
    n = shape[-1]
    pairs = n * (n - 1) // 2
    x_ranks, y_ranks = (dense_ranks(values.reshape(-1, n)) for values in (x, y))
    if len(y_ranks) == 1 and x.shape == shape and n <= min(_MOST_COUNTED, _TOKENS_PER_ROW * len(x_ranks)):
        x_ties, y_ties, both_ties, concordant = _counted(x_ranks, y_ranks[0])
        surplus = 2 * concordant - (pairs - x_ties - y_ties + both_ties)
    else:
        x_ranks, y_ranks = (
            np.broadcast_to(ranks.reshape(values.shape), shape).reshape(-1, n) for ranks, values in ((x_ranks, x), (y_ranks, y))
        )
        x_ties, y_ties, both_ties, discordant = _merged(x_ranks, y_ranks)
        surplus = pairs - x_ties - y_ties + both_ties - 2 * discordant
    scale = np.sqrt((pairs - x_ties).astype(np.float64) * (pairs - y_ties))
    tau = np.divide(surplus, scale, out=np.full(scale.shape, np.nan), where=scale > 0)
    return np.asarray(tau.reshape(shape[:-1]))


def dense_ranks(values: npt.NDArray[Any]) -> IntArray:
    """Rank each row from 0, equal values alike and without gaps; (rows, n) -> (rows, n) whole numbers."""
    order = np.argsort(values, axis=-1)
    ordered = np.take_along_axis(values, order, axis=-1)
    kind = np.int16 if values.shape[-1] < np.iinfo(np.int16).max else np.int64
    places = np.zeros(values.shape, dtype=kind)
    np.cumsum(ordered[:, 1:] != ordered[:, :-1], axis=-1, dtype=kind, out=places[:, 1:])
    ranks = np.empty_like(places)
    np.put_along_axis(ranks, order, places, axis=-1)
    return ranks


def _counted(x_ranks: IntArray, y_ranks: IntArray) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Count the pairs tied in x, in y and in both, and those in the same order. (rows, n), (n,) -> 4 x (rows,)."""
    rows, n = x_ranks.shape
    order = np.argsort(y_ranks, kind="stable")
    later = np.searchsorted(y_ranks[order], y_ranks[order], side="right")  # where the next group of equal ranks begins
    by_token = np.ascontiguousarray(x_ranks[:, order].T)
    concordant = np.zeros(rows, dtype=np.int64)
    for token, first in enumerate(later):
        is_higher = by_token[first:] > by_token[token]
        concordant += np.add.reduce(is_higher.view(np.uint8), axis=0, dtype=np.uint16)
    x_ties, both_ties = np.zeros((2, rows), dtype=np.int64)
    has_ties = x_ranks.max(axis=-1) < n - 1
    x_ties[has_ties] = _tied_pairs(np.sort(x_ranks[has_ties], axis=-1))
    y_ties = np.broadcast_to(_tied_pairs(y_ranks[order][None]), rows)
    if y_ties[0]:
        both_ties[has_ties] = _tied_pairs(np.sort(x_ranks[has_ties] + np.int64(n) * y_ranks, axis=-1))
    return x_ties, y_ties, both_ties, concordant


def _merged(x_ranks: IntArray, y_ranks: IntArray) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Count the pairs tied in x, in y and in both, and those in opposite order. (rows, n), (rows, n) -> 4 x (rows,)."""
    order = np.lexsort((x_ranks, y_ranks), axis=-1)
    x_sorted, y_sorted = (np.take_along_axis(ranks, order, axis=-1) for ranks in (x_ranks, y_ranks))
    x_ties = _tied_pairs(np.sort(x_ranks, axis=-1))
    return x_ties, _tied_pairs(y_sorted), _tied_pairs(x_sorted, y_sorted), inversions(x_sorted)


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
