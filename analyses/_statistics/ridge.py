"""Least squares with a penalty, from sums of products: they add up over rows, so that leaving rows out costs a subtraction."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from reasoning_anatomy.types import FloatArray

_NO_SPREAD: Final = 1e-10
"""Variance, as a share of the mean square, below which a column is constant."""


def products(x: npt.NDArray[Any], y: FloatArray) -> FloatArray:
    """Sum the products of all pairs of columns among a column of ones, x (rows, columns) and y (rows,).

    -> (1 + columns + 1, 1 + columns + 1). Centre columns that are far from zero: the sums lose digits otherwise.
    """
    together = np.column_stack([np.ones(len(y)), x, y])
    return np.asarray(together.T @ together)


def ridge(sums: FloatArray, penalties: FloatArray) -> FloatArray:
    """Fit y by columns that are standardised on the rows behind ``sums``, with every penalty.

    Parameters
    ----------
    sums
        From `products`, of at least one row.
    penalties
        (penalties,) of squared coefficients, relative to the mean squared error; 0 is least squares if no column follows from
        the others.

    Returns
    -------
    (penalties, 1 + columns): intercept and coefficients, in the units of the columns. A column without spread has 0. The same
    as ``sklearn.linear_model.Ridge(alpha=penalty * rows)`` after a ``StandardScaler``.

    References
    ----------
    Hoerl & Kennard (1970), Ridge regression: biased estimation for nonorthogonal problems, Technometrics 12:55.
    """
    n = sums[0, 0]
    mean = sums[0, 1:] / n
    covariance = sums[1:, 1:] / n - np.outer(mean, mean)
    variance = np.diag(covariance)[:-1]
    varies = variance > _NO_SPREAD * np.diag(sums)[1:-1] / n
    scale = np.divide(1, np.sqrt(variance, where=varies, out=np.ones_like(variance)), where=varies, out=np.zeros_like(variance))
    values, vectors = np.linalg.eigh(scale[:, None] * covariance[:-1, :-1] * scale)
    along = vectors.T @ (scale * covariance[:-1, -1])
    shrunk = along / np.maximum(np.maximum(values, 0) + np.asarray(penalties)[:, None], np.finfo(np.float64).tiny)
    coefficients = (shrunk @ vectors.T) * scale
    return np.column_stack([mean[-1] - coefficients @ mean[:-1], coefficients])


def squared_error(sums: FloatArray, coefficients: FloatArray) -> FloatArray:
    """Sum of squared errors on the rows behind ``sums`` of intercepts and coefficients (fits, 1 + columns); -> (fits,)."""
    weights = np.column_stack([-coefficients, np.ones(len(coefficients))])
    return np.asarray(np.einsum("ij,jk,ik->i", weights, sums, weights))
