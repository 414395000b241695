"""How well predictions order, or follow, an outcome within groups of rows, and over all rows."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from scipy.stats import rankdata

from reasoning_anatomy.types import FloatArray, IntArray

_NO_SPREAD: Final = 1e-10
_ROUNDING: Final = 1e-12
_LEAST_DEGREE: Final = 2
_MOST_DEGREE: Final = 7
_ROWS_PER_DEGREE: Final = 4


def spearman_within(predicted: FloatArray, outcome: FloatArray, group: IntArray) -> FloatArray:
    """Spearman's rho of predictions and outcome within every group.

    Parameters
    ----------
    predicted
        (rows, columns).
    outcome
        (rows,)
    group
        (rows,) number of the group of a row, from 0, ascending.

    Returns
    -------
    (groups, columns). NaN if the outcome is the same in all rows of a group; 0 if only the prediction is: it orders nothing.
    """
    found = np.empty((int(group[-1]) + 1, predicted.shape[1]))
    for number, rows in _by_size(group):
        found[number] = _correlation(_centred_ranks(predicted[rows]), _centred_ranks(outcome[rows, None]))
    return found


def spearman_within_given(
    predicted: FloatArray, outcome: FloatArray, place: FloatArray, group: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Spearman's rho within every group, and with place held constant: ranks are regressed on a polynomial of it first.

    Parameters
    ----------
    predicted, outcome, group
        As for `spearman_within`.
    place
        (rows,) where a row stands, 0..1. The polynomial has one degree for four rows of the group, at least 2 and at most 7.

    Returns
    -------
    (groups, columns) what `spearman_within` returns, and (groups, columns) given place: NaN also if place alone fixes the order
    of the outcome, or there are too few rows for the polynomial; 0 if it fixes only that of the prediction.
    """
    raw, given = np.full((2, int(group[-1]) + 1, predicted.shape[1]), np.nan)
    for number, rows in _by_size(group):
        size = rows.shape[1]
        x, y = _centred_ranks(predicted[rows]), _centred_ranks(outcome[rows, None])
        raw[number] = _correlation(x, y)
        degree = min(max(size // _ROWS_PER_DEGREE, _LEAST_DEGREE), _MOST_DEGREE)
        if size > degree + 2:
            basis = np.linalg.qr(np.polynomial.legendre.legvander(2 * place[rows] - 1, degree))[0]
            x, y = (ranks - basis @ (np.swapaxes(basis, 1, 2) @ ranks) for ranks in (x, y))
            given[number] = _correlation(x, y, least=_NO_SPREAD * size**3)
    return raw, given


def pearson_sums(predicted: FloatArray, outcome: FloatArray, unit: IntArray) -> FloatArray:
    """Sum up what Pearson's r is computed from: (rows, columns), (rows,), and the (rows,) unit of every row, ascending from 0.

    -> (units, 6, columns), see `pearson`. Both are centred on their overall means, which changes no correlation.
    """
    x, y = predicted - predicted.mean(axis=0), np.broadcast_to((outcome - outcome.mean())[:, None], predicted.shape)
    parts = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
    return np.asarray(np.add.reduceat(parts, np.flatnonzero(np.diff(unit, prepend=-1)), axis=0))


def pearson(sums: FloatArray) -> FloatArray:
    """Pearson's r from the sums of 1, x, y, x², y² and xy; (many, 6, columns) -> (many, columns).

    NaN if the outcome y does not vary; 0 if only the prediction x does not.
    """
    n, x, y, xx, yy, xy = np.moveaxis(sums, 1, 0)
    n = np.maximum(n, 1)
    x_squares, y_squares, product = xx - x**2 / n, yy - y**2 / n, xy - x * y / n
    varies, is_known = x_squares > _NO_SPREAD * xx, y_squares > _NO_SPREAD * yy
    scale = np.sqrt(np.where(varies & is_known, x_squares * y_squares, 1))
    return np.where(is_known, np.where(varies, np.clip(product / scale, -1, 1), 0.0), np.nan)


def centred(values: FloatArray, group: IntArray) -> FloatArray:
    """Take the mean of its group, ascending numbers from 0 (rows,), from every row of (rows, columns).

    What rounding leaves where all rows of a group are equal becomes 0.
    """
    means = group_means(values, group)[group]
    left = values - means
    return np.where(np.abs(left) > _ROUNDING * np.abs(means), left, 0.0)


def group_means(values: FloatArray, group: IntArray) -> FloatArray:
    """Average the rows of every group, ascending numbers from 0 (rows,); (rows, columns) -> (groups, columns)."""
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    return np.asarray(np.add.reduceat(values, starts, axis=0) / np.bincount(group)[:, None])


def _by_size(group: IntArray) -> Iterator[tuple[IntArray, IntArray]]:
    """Go through the sizes: numbers (groups,) of the groups of one size, and their rows (groups, size)."""
    sizes = np.bincount(group)
    starts = np.cumsum(sizes) - sizes
    for size in np.unique(sizes[sizes > 0]):
        number = np.flatnonzero(sizes == size)
        yield number, starts[number, None] + np.arange(size)


def _centred_ranks(values: FloatArray) -> FloatArray:
    """Average ranks less their mean, along the second axis of (groups, size, columns)."""
    return np.asarray(rankdata(values, axis=1) - (values.shape[1] + 1) / 2)


def _correlation(x: FloatArray, y: FloatArray, *, least: float = 0.0) -> FloatArray:
    """Correlate centred x (groups, size, columns) and y (groups, size, 1) -> (groups, columns); ``least`` square is none."""
    x_squares, y_squares = (x**2).sum(axis=1), (y**2).sum(axis=1)
    varies, is_known = x_squares > least, y_squares > least
    scale = np.sqrt(np.where(varies & is_known, x_squares * y_squares, 1))
    ratio = np.clip((x * y).sum(axis=1) / scale, -1, 1)
    return np.where(is_known, np.where(varies, ratio, 0.0), np.nan)
