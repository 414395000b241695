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
_TOKENS_PER_DEGREE_OF_RANK: Final = 8

MOST_INFLATION: Final = 5.0
"""Largest variance of a value, as a multiple of what it would be without the regression on position.

Groups that stand wholly apart have about 4 to 10, groups whose places overlap by a fifth of the chain 2 to 3.
"""


def contrasts_of_means(outcome: FloatArray, member: BoolArray, contrasts: FloatArray) -> FloatArray:
    """Contrast the means of groups of tokens.

    Parameters
    ----------
    outcome
        (..., n) of every token of chains of n tokens.
    member
        (..., n, groups) which group a token is in; a token may be in none.
    contrasts
        (terms, groups) weights of the groups: a row with a single 1 is the mean of a group, 1 and -1 a difference.

    Returns
    -------
    (..., terms); NaN if a group with a weight has no tokens.
    """
    return raw_contrasts(outcome[..., None], member, contrasts)[..., 0]


def raw_contrasts(outcomes: FloatArray, member: BoolArray, contrasts: FloatArray) -> FloatArray:
    """Contrast the means of several outcomes: (..., n, columns) and (..., n, groups) of chains of n tokens.

    Returns
    -------
    (..., terms, columns); NaN as in `contrasts_of_means`.
    """
    sizes = member.sum(axis=-2)
    means = np.swapaxes(member, -1, -2).astype(np.float64) @ outcomes / np.maximum(sizes, 1)[..., None]
    is_empty = (sizes == 0) @ (contrasts != 0).T
    return np.where(is_empty[..., None], np.nan, contrasts @ means)


def contrasts_given_position(outcome: FloatArray, member: BoolArray, contrasts: FloatArray) -> FloatArray:
    """Contrast groups of tokens as if they stood at the same positions.

    The outcome is regressed on the groups and a polynomial of position at once (analysis of covariance), within the chain; the
    mean of a group is that at the average of the polynomial. A group that merely stands early differs from no other. The
    polynomial has one degree for eight tokens, at least 2 and at most `MOST_DEGREE`; ``docs/statistics.md`` says what a lower
    one leaves.

    Parameters
    ----------
    outcome
        (..., n) of every token, in the order of position.
    member, contrasts
        As in `contrasts_of_means`.

    Returns
    -------
    (..., terms); NaN also if position alone fixes the order of the outcome, if there are too few tokens for the regression, or
    if the groups of a term hardly share positions with others, so that the variance of its value is more than `MOST_INFLATION`
    times that of `contrasts_of_means`.
    """
    return adjusted_contrasts(outcome[..., None], member, contrasts, position_terms(outcome.shape[-1]))[..., 0]


def adjusted_contrasts(
    outcomes: FloatArray, member: BoolArray, contrasts: FloatArray, covariates: FloatArray, *, along: FloatArray | None = None
) -> FloatArray:
    """Contrast groups of tokens as if they had the same covariates: the regression of `contrasts_given_position`.

    Parameters
    ----------
    outcomes
        (..., n, columns) of every token of chains of n tokens, in the order of position; every column is regressed by itself.
    member
        (..., n, groups) which group a token is in; a token may be in none.
    contrasts
        As in `contrasts_of_means`.
    covariates
        (..., n, k) that are held constant, such as `position_terms` and `rank_terms`.
    along
        (..., n) values of a covariate that orders tokens, as position does; an outcome that rises or falls along it has no
        value.

    Returns
    -------
    (..., terms, columns); NaN as in `contrasts_given_position`.
    """
    is_fixed = _is_monotone(outcomes)
    if along is not None:
        is_fixed |= _is_monotone(np.take_along_axis(outcomes, np.argsort(along, axis=-1, kind="stable")[..., None], axis=-2))
    is_used = member.any(axis=-1, keepdims=True)
    sizes, n_used = member.sum(axis=-2), is_used.sum(axis=-2)
    is_absent, n_groups = sizes == 0, member.shape[-1]
    centred = covariates - (covariates * is_used).sum(axis=-2, keepdims=True) / np.maximum(n_used, 1)[..., None]
    q, r = np.linalg.qr(np.concatenate([_rows_for(is_absent, centred), _design(member, centred * is_used)], axis=-2))
    pivots = np.abs(np.diagonal(r, axis1=-2, axis2=-1))
    n_parameters = r.shape[-1] - is_absent.sum(axis=-1)
    is_regular = (pivots.min(axis=-1) > _SINGULAR * pivots.max(axis=-1)) & (n_used[..., 0] > n_parameters)
    inverse = np.linalg.inv(np.where(is_regular[..., None, None], r, np.eye(r.shape[-1])))
    weights = contrasts @ inverse[..., :n_groups, :]  # (terms, parameters): a value is these of q' outcome
    variance, without = (weights**2).sum(axis=-1), (1 / np.maximum(sizes, 1)) @ (contrasts**2).T
    is_sound = ~(is_absent @ (contrasts != 0).T) & (variance <= MOST_INFLATION * without) & is_regular[..., None]
    values = weights @ (np.swapaxes(q[..., n_groups:, :], -1, -2) @ (outcomes * is_used))
    return np.where(is_sound[..., None] & ~is_fixed[..., None, :], values, np.nan)


def _design(member: BoolArray, covariates: FloatArray) -> FloatArray:
    return np.concatenate([np.broadcast_to(member, (*covariates.shape[:-1], member.shape[-1])), covariates], axis=-1)


def _rows_for(is_absent: BoolArray, covariates: FloatArray) -> FloatArray:
    """Rows of a design that give an absent group a token of its own, which changes no other. -> (..., groups, parameters)."""
    own = is_absent[..., None] * np.eye(is_absent.shape[-1])
    return np.concatenate([own, np.zeros((*own.shape[:-1], covariates.shape[-1]))], axis=-1)


def _is_monotone(outcomes: FloatArray) -> BoolArray:
    steps = np.diff(outcomes, axis=-2)
    return np.asarray((steps >= 0).all(axis=-2) | (steps <= 0).all(axis=-2))


def rank_terms(values: FloatArray) -> FloatArray:
    """Polynomial of the rank of every value among its chain's; what a monotone transform of the values leaves as it is.

    Parameters
    ----------
    values
        (..., n) of every token, such as its surprisal; ties share their mean rank.

    Returns
    -------
    (..., n, degree) Legendre polynomials: one degree for eight tokens, at least 1 and at most `MOST_DEGREE_OF_RANK`.
    """
    n = values.shape[-1]
    degree = min(max(n // _TOKENS_PER_DEGREE_OF_RANK, 1), MOST_DEGREE_OF_RANK)
    places = (2 * rankdata(values, axis=-1) - (n + 1)) / n
    return np.asarray(np.polynomial.legendre.legvander(places, degree)[..., 1:], dtype=np.float64)


@cache
def position_terms(n: int) -> FloatArray:
    """Legendre polynomials of position, from -1 to 1 over the chain. -> (n, degree)."""
    degree = min(max(n // _TOKENS_PER_DEGREE, _LEAST_DEGREE), MOST_DEGREE)
    return np.asarray(np.polynomial.legendre.legvander((2 * np.arange(n) - (n - 1)) / n, degree)[:, 1:], dtype=np.float64)
