"""What is left of a difference between two groups of tokens if some of the labels are wrong."""

import numpy as np

from analyses._statistics.position import MOST_INFLATION, BoolArray
from reasoning_anatomy.types import FloatArray, IntArray


def kinds_of_error(confusion: FloatArray) -> FloatArray:
    """How often a wrong label is each of the others.

    Parameters
    ----------
    confusion
        (labels, labels) how often tokens of each label have each other one; the diagonal does not matter. All zero = nothing is
        known, and every other label is as likely.

    Returns
    -------
    (labels, labels) whose rows sum to 1, with zeros on the diagonal. A label that was never mistaken is mistaken for all others
    alike.
    """
    errors = confusion * (1 - np.eye(len(confusion)))
    errors = np.where(errors.sum(axis=1, keepdims=True) > 0, errors, 1 - np.eye(len(confusion)))
    return np.asarray(errors / errors.sum(axis=1, keepdims=True))


def mislabelled(
    labels: IntArray, errors: FloatArray, shares: FloatArray, *, repetitions: int, rng: np.random.Generator
) -> IntArray:
    """Replace a share of the labels by others.

    Parameters
    ----------
    labels
        (n,) numbers of labels.
    errors
        From `kinds_of_error`.
    shares
        (shares,) of the labels that are replaced, each with that chance.
    repetitions
        How often this is done. What is wrong at one share is wrong at every larger one, in the same way.
    rng
        Of the draws.

    Returns
    -------
    (shares, repetitions, n).
    """
    chance, which = rng.random((2, repetitions, len(labels)))
    other = (which[:, :, None] > errors.cumsum(axis=1)[labels][:, :-1]).sum(axis=2)
    return np.where(chance < shares[:, None, None], other, labels)


def differences(outcome: FloatArray, is_first: BoolArray, covariates: FloatArray | None = None) -> FloatArray:
    """Difference of the mean outcome of two groups, for many divisions of the same tokens into them.

    Parameters
    ----------
    outcome
        (n,) of every token.
    is_first
        (..., n) whether a token is in the first group; the others are in the second.
    covariates
        (n, k) that are held constant, as in `adjusted_contrasts`; None = nothing is.

    Returns
    -------
    (...,) NaN if a group is empty, or given covariates if the variance is inflated more than `MOST_INFLATION` times.
    """
    first = is_first.astype(np.float64)
    sizes = first.sum(axis=-1)
    n = len(outcome)
    constant = np.ones((n, 1))
    basis = np.linalg.qr(constant if covariates is None else np.column_stack([constant, covariates - covariates.mean(axis=0)]))[
        0
    ]
    rest = first - (first @ basis) @ basis.T
    spread = (rest**2).sum(axis=-1)
    without = np.divide(n, sizes * (n - sizes), out=np.full(sizes.shape, np.nan), where=(sizes > 0) & (sizes < n))
    is_sound = spread * MOST_INFLATION * without >= 1 - 1e-9
    return np.asarray(np.divide(rest @ outcome, spread, out=np.full(sizes.shape, np.nan), where=is_sound))
