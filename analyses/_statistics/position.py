"""Groups of tokens compared at the same position of a chain."""

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from reasoning_anatomy.types import FloatArray

BoolArray = npt.NDArray[np.bool_]

MOST_DEGREE: Final = 5
_LEAST_DEGREE: Final = 2
_TOKENS_PER_DEGREE: Final = 8
_SINGULAR: Final = 1e-10

MOST_DEGREE_OF_RANK: Final = 3
_TOKENS_PER_DEGREE_OF_RANK: Final = 16

MOST_INFLATION: Final = 5.0
"""Largest variance of a value, as a multiple of what it would be without the regression on position.

Groups that stand wholly apart have about 4 to 10, groups whose places overlap by a fifth of the chain 2 to 3.
"""


def contrasts_of_means(outcome: FloatArray, member: BoolArray, contrasts: FloatArray) -> FloatArray:
    """Contrast the means of groups of tokens.

    Parameters
    ----------
    outcome
        (n, ...) of every token.
    member
        (n, groups) which group a token is in; a token may be in none.
    contrasts
        (terms, groups) weights of the groups: a row with a single 1 is the mean of a group, 1 and -1 a difference.

    Returns
    -------
    (terms, ...); NaN if a group with a weight has no tokens.
    """
    sizes = member.sum(axis=0)
    is_empty = ((contrasts != 0) @ (sizes == 0)).astype(bool)
    values = contrasts @ ((member.T / np.maximum(sizes, 1)[:, None]) @ outcome)
    return np.where(is_empty.reshape(-1, *[1] * (values.ndim - 1)), np.nan, values)


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
    return adjusted_contrasts(outcome[:, None], member, contrasts, position_terms(len(outcome)))[:, 0]


def adjusted_contrasts(
    outcomes: FloatArray, member: BoolArray, contrasts: FloatArray, covariates: FloatArray, *, along: FloatArray | None = None
) -> FloatArray:
    """Contrast groups of tokens as if they had the same covariates: the regression of `contrasts_given_position`.

    Parameters
    ----------
    outcomes
        (n, columns) of every token, in the order of position; each column is a regression of its own.
    member, contrasts
        As in `contrasts_of_means`.
    covariates
        (n, k) that are held constant, such as `position_terms` and `rank_terms`.
    along
        (n,) values of a covariate that orders tokens, as position does; an outcome that rises or falls along it has no value.

    Returns
    -------
    (terms, columns); NaN as in `contrasts_given_position`.
    """
    is_fixed = _is_monotone(outcomes)
    if along is not None:
        is_fixed |= _is_monotone(outcomes[np.argsort(along, kind="stable")])
    nothing = np.full((len(contrasts), outcomes.shape[1]), np.nan)
    is_used = member.any(axis=1)
    sizes = member.sum(axis=0)
    present = sizes > 0
    n_groups = int(present.sum())
    covariates = covariates[is_used]
    if is_fixed.all() or len(covariates) <= n_groups + covariates.shape[1]:
        return nothing
    design = np.column_stack([member[is_used][:, present], covariates - covariates.mean(axis=0)])
    q, r = np.linalg.qr(design)
    pivots = np.abs(np.diag(r))
    if pivots.min() <= _SINGULAR * pivots.max():
        return nothing
    weights = contrasts[:, present] @ np.linalg.inv(r)[:n_groups]  # (terms, parameters): a value is these of q' outcome
    without = contrasts[:, present] ** 2 @ (1 / sizes[present])
    is_sound = (contrasts[:, ~present] == 0).all(axis=1) & ((weights**2).sum(axis=1) <= MOST_INFLATION * without)
    return np.where(is_sound[:, None] & ~is_fixed, weights @ (q.T @ outcomes[is_used]), np.nan)


def _is_monotone(outcomes: FloatArray) -> BoolArray:
    steps = np.diff(outcomes, axis=0)
    return np.asarray((steps >= 0).all(axis=0) | (steps <= 0).all(axis=0))


def rank_terms(values: FloatArray) -> FloatArray:
    """Polynomial of the rank of every value among its chain's; what a monotone transform of the values leaves as it is.

    Parameters
    ----------
    values
        (n,) of every token, such as its surprisal; ties share their mean rank.

    Returns
    -------
    (n, degree) Legendre polynomials: one degree for sixteen tokens, at least 1 and at most `MOST_DEGREE_OF_RANK`.
    """
    n = len(values)
    degree = min(max(n // _TOKENS_PER_DEGREE_OF_RANK, 1), MOST_DEGREE_OF_RANK)
    places = (2 * rankdata(values) - (n + 1)) / n
    return np.asarray(np.polynomial.legendre.legvander(places, degree)[:, 1:], dtype=np.float64)


@cache
def position_terms(n: int) -> FloatArray:
    """Legendre polynomials of position, from -1 to 1 over the chain. -> (n, degree)."""
    degree = min(max(n // _TOKENS_PER_DEGREE, _LEAST_DEGREE), MOST_DEGREE)
    return np.asarray(np.polynomial.legendre.legvander((2 * np.arange(n) - (n - 1)) / n, degree)[:, 1:], dtype=np.float64)
