"""Groups of tokens compared at the same position of a chain."""

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from reasoning_anatomy.types import FloatArray

BoolArray = npt.NDArray[np.bool_]

MOST_DEGREE: Final = 5
_LEAST_DEGREE: Final = 2
_TOKENS_PER_DEGREE: Final = 8
_SINGULAR: Final = 1e-10

MOST_INFLATION: Final = 5.0
"""Largest variance of a value, as a multiple of what it would be without the regression on position.

Groups that stand wholly apart have about 4 to 10, groups whose places overlap by a fifth of the chain 2 to 3.
"""


def contrasts_of_means(outcome: FloatArray, member: BoolArray, contrasts: FloatArray) -> FloatArray:
    """Contrast the means of groups of tokens.

    Parameters
    ----------
    outcome
        (n,) of every token.
    member
        (n, groups) which group a token is in; a token may be in none.
    contrasts
        (terms, groups) weights of the groups: a row with a single 1 is the mean of a group, 1 and -1 a difference.

    Returns
    -------
    (terms,); NaN if a group with a weight has no tokens.
    """
    sizes = member.sum(axis=0)
    means = np.divide(outcome @ member, sizes, out=np.zeros(len(sizes)), where=sizes > 0)
    return np.where((contrasts != 0) @ (sizes == 0), np.nan, contrasts @ means)


def contrasts_given_position(outcome: FloatArray, member: BoolArray, contrasts: FloatArray) -> FloatArray:
    """Contrast groups of tokens as if they stood at the same positions.

    The outcome is regressed on the groups and a polynomial of position at once (analysis of covariance), within the chain; the
    mean of a group is that at the average of the polynomial. A group that merely stands early differs from no other. The
    polynomial has one degree for eight tokens, at least 2 and at most `MOST_DEGREE`; ``docs/statistics.md`` says what a lower
    one leaves.

    Parameters
    ----------
    outcome
        (n,) of every token, in the order of position.
    member, contrasts
        As in `contrasts_of_means`.

    Returns
    -------
    (terms,); NaN also if position alone fixes the order of the outcome, if there are too few tokens for the regression, or if
    the groups of a term hardly share positions with others, so that the variance of its value is more than `MOST_INFLATION`
    times that of `contrasts_of_means`.
    """
    nothing = np.full(len(contrasts), np.nan)
    steps = np.diff(outcome)
    if (steps >= 0).all() or (steps <= 0).all():
        return nothing
    is_used = member.any(axis=1)
    sizes = member.sum(axis=0)
    present = sizes > 0
    n_groups = int(present.sum())
    position = _position(len(outcome))[is_used]
    design = np.column_stack([member[is_used][:, present], position - position.mean(axis=0)])
    if len(design) <= design.shape[1]:
        return nothing
    q, r = np.linalg.qr(design)
    pivots = np.abs(np.diag(r))
    if pivots.min() <= _SINGULAR * pivots.max():
        return nothing
    weights = contrasts[:, present] @ np.linalg.inv(r)[:n_groups]  # (terms, columns): a value is these of q' outcome
    without = contrasts[:, present] ** 2 @ (1 / sizes[present])
    is_sound = (contrasts[:, ~present] == 0).all(axis=1) & ((weights**2).sum(axis=1) <= MOST_INFLATION * without)
    return np.where(is_sound, weights @ (q.T @ outcome[is_used]), np.nan)


@cache
def _position(n: int) -> FloatArray:
    """Legendre polynomials of position, from -1 to 1 over the chain. -> (n, degree)."""
    degree = min(max(n // _TOKENS_PER_DEGREE, _LEAST_DEGREE), MOST_DEGREE)
    return np.asarray(np.polynomial.legendre.legvander((2 * np.arange(n) - (n - 1)) / n, degree)[:, 1:], dtype=np.float64)
