"""How well rankings foretell an order: all of it, and what comes next."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analyses._statistics.correlation import given_position, spearman
from analyses._statistics.kendall import kendall
from reasoning_anatomy.types import FloatArray

TERMS: Final = ("kendall", "kendall_given_position", "spearman", "overlap")
"""The statistics in the order of the last axis of `foretold`."""


def foretold(rankings: npt.NDArray[Any], after: npt.NDArray[Any], window: int) -> FloatArray:
    """Compare rankings with what came after.

    Parameters
    ----------
    rankings
        (..., n) in the order of position; higher = said to come later.
    after
        (..., n) when each came, broadcast to the rankings; equal = no order known.
    window
        How many of the next the ``overlap`` is about.

    Returns
    -------
    (..., 4) the `TERMS`, each in -1..1, and 0 on average for a random ranking. Kendall's tau-b, raw and of ranks regressed on
    position, and Spearman's rho, of the whole order; and `overlap`. NaN if a ranking is constant.
    """
    rankings, after = np.broadcast_arrays(rankings, after)
    by_term = {
        "kendall": kendall(rankings, after),
        "kendall_given_position": kendall(given_position(rankings), given_position(after)),
        "spearman": spearman(rankings, after),
        "overlap": overlap(rankings, after, window),
    }
    return np.stack([by_term[term] for term in TERMS], axis=-1)


def lowest_of_any(rankings: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Whether an entry is the lowest of one of the rankings, of equal ones the first; (..., rankings, n) -> (..., n).

    Two rankings are compared fairly without the lowest of either, if what comes next was chosen by one of them.
    """
    lowest = rankings.argmin(axis=-1)
    return np.asarray((np.arange(rankings.shape[-1]) == lowest[..., None]).any(axis=-2))


def overlap(rankings: npt.NDArray[Any], after: npt.NDArray[Any], window: int) -> FloatArray:
    """Share of the next ``window`` that are among the lowest ``window`` of a ranking, beyond chance.

    Returns
    -------
    (...) (share - chance) / (1 - chance), where chance is window / n: 0 = as a random ranking, 1 = the very same. Entries that
    are tied at the end of the lowest count in part. NaN if a ranking is constant, if the next are not known, or if they are all
    that there is.
    """
    n = rankings.shape[-1]
    if not 0 < window < n:
        return np.full(rankings.shape[:-1], np.nan)
    is_next = after <= np.sort(after, axis=-1)[..., window - 1, None]
    last = np.sort(rankings, axis=-1)[..., window - 1, None]
    is_below, is_tied = rankings < last, rankings == last
    part = (window - is_below.sum(axis=-1)) / is_tied.sum(axis=-1)
    hits = (is_below & is_next).sum(axis=-1) + part * (is_tied & is_next).sum(axis=-1)
    is_known = (is_next.sum(axis=-1) == window) & (np.ptp(rankings, axis=-1) > 0)
    chance = window / n
    return np.where(is_known, (hits / window - chance) / (1 - chance), np.nan)
