"""Deletion as survival: how many tokens are left at a time, and how long they are left on average."""

import numpy as np

from analyses._statistics.position import BoolArray
from reasoning_anatomy.types import FloatArray


def relative_times(deletion_step: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Divide every deletion step by the number of tokens of its chain.

    Parameters
    ----------
    deletion_step
        (..., n) of chains of n tokens, 1 = first deleted; NaN = never deleted.

    Returns
    -------
    (..., n) time in 0..1, and (..., n) whether the token was deleted then. A token that was never deleted is censored at the
    last deletion of its chain: it outlived that, and no more is known.
    """
    is_deleted = np.isfinite(deletion_step)
    last = np.where(is_deleted, deletion_step, 0).max(axis=-1, keepdims=True)
    return np.where(is_deleted, deletion_step, last) / deletion_step.shape[-1], is_deleted


def restricted_times(time: FloatArray, is_deleted: BoolArray, horizon: float) -> FloatArray:
    """Time that each token was left, up to ``horizon``; (..., n) each -> (..., n).

    If all tokens that were never deleted are censored at or after the horizon, as in a chain whose deletions reach it, these
    are known, and their mean is the area under the curve of Kaplan and Meier: the restricted mean survival time.
    """
    return np.asarray(np.minimum(np.where(is_deleted, time, np.inf), horizon))


def shares_left(time: FloatArray, is_deleted: BoolArray, member: BoolArray, at: FloatArray) -> FloatArray:
    """Share of each group that is left after each time: the curve of Kaplan and Meier up to the censoring of a chain.

    Parameters
    ----------
    time, is_deleted
        (..., n) each, from `relative_times`.
    member
        (..., n, groups) which group a token is in; a token may be in none.
    at
        (times,) none later than the last deletion.

    Returns
    -------
    (..., groups, times); NaN if the group has no token.
    """
    is_left = (np.where(is_deleted, time, np.inf)[..., None] > at).astype(np.float64)
    sizes = member.sum(axis=-2)[..., None]
    left = np.swapaxes(member, -1, -2).astype(np.float64) @ is_left
    return np.asarray(np.divide(left, sizes, out=np.full(left.shape, np.nan), where=sizes > 0))


def kaplan_meier(time: FloatArray, is_deleted: BoolArray, at: FloatArray) -> FloatArray:
    """Product-limit estimate of the share that is left after each time, of tokens that are censored at different times.

    Parameters
    ----------
    time, is_deleted
        (tokens,) each, of any chains.
    at
        (times,) ascending.

    Returns
    -------
    (times,); NaN after the last token has been censored, where nothing is known, and without tokens.

    References
    ----------
    Kaplan & Meier (1958), Nonparametric estimation from incomplete observations, JASA 53:457.
    """
    if not len(time):
        return np.full(len(at), np.nan)
    times, number = np.unique(time, return_inverse=True)
    deleted = np.bincount(number, weights=is_deleted, minlength=len(times))
    at_risk = np.bincount(number, minlength=len(times))[::-1].cumsum()[::-1]
    left = np.concatenate([[1.0], np.cumprod(1 - deleted / at_risk)])
    found = left[np.searchsorted(times, at, side="right")]
    return np.where((at > times[-1]) & (left[-1] > 0), np.nan, found)


def kept_at_ratios(deletion_step: FloatArray, ratios: FloatArray) -> tuple[BoolArray, FloatArray]:
    """Which tokens are left when at most a share of them is.

    Parameters
    ----------
    deletion_step
        (n,) 1 = first deleted; NaN = never deleted. Tokens that are deleted together share a step.
    ratios
        (ratios,) keep ratios in 0..1.

    Returns
    -------
    (n, ratios) whether a token is left after the first step that leaves at most that share, and (ratios,) the share that it
    leaves: the achieved keep ratio. NaN if the deletions end before that.
    """
    n = len(deletion_step)
    order = np.where(np.isfinite(deletion_step), deletion_step, np.inf)
    ends, counts = np.unique(order[np.isfinite(order)], return_counts=True)
    left = n - np.concatenate([[0], counts.cumsum()])
    steps = np.concatenate([[0.0], ends])
    first = np.array([np.argmax(left <= ratio * n + 1e-9) for ratio in ratios])
    is_reached = left[first] <= ratios * n + 1e-9
    return order[:, None] > steps[first], np.where(is_reached, left[first] / n, np.nan)
