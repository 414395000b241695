"""The terms of rank_correlation, and how they are computed from the scores of a chain."""

from typing import Final

import numpy as np
from scipy.stats import rankdata

from analyses._statistics.correlation import TERMS, given_position
from analyses._statistics.nearby import spearman_within_bins
from analyses._statistics.position import BoolArray, adjusted_contrasts, position_terms, raw_contrasts
from analyses._statistics.top import top_weights, weighted_tau
from reasoning_anatomy.types import FloatArray

WITHIN_BINS: Final = "spearman_within_bins"
ALL_TERMS: Final = (*TERMS, WITHIN_BINS, "kendall_top_weighted", "kendall_top_weighted_given_position")
"""Of scores; layers and heads have the `TERMS` alone."""

CENSORED_TERMS: Final = ("never deleted - deleted", "never deleted - deleted given position")
"""Terms of the table ``censored``."""

_NEVER_LESS_DELETED: Final = np.array([[1.0, -1.0]])


def more_terms(scores: FloatArray, importance: FloatArray) -> FloatArray:
    """Correlate scores with an order of importance by the terms that layers and heads do not have.

    Parameters
    ----------
    scores
        (..., n) in the order of position.
    importance
        (..., n), broadcast; higher = more important, equal = no order known.

    Returns
    -------
    (..., 3) the last of `ALL_TERMS`, each in -1..1; NaN as in `correlations`, and within bins if the chain is too short.
    """
    weights = top_weights(importance)
    left, importance_left = (given_position(values).astype(np.float64) for values in (scores, importance))
    found = (
        spearman_within_bins(scores, importance),
        weighted_tau(scores, importance, weights),
        weighted_tau(left, importance_left, weights),
    )
    return np.stack(found, axis=-1)


def censored_terms(scores: FloatArray, is_censored: BoolArray) -> FloatArray:
    """Say by how much the scores of tokens that were never deleted lie above those of the deleted ones.

    The chance that the one has a higher score than the other, less one half, ties counted as half: the difference of their mean
    ranks over the number of tokens. Given position, both are compared as if they stood at the same positions.

    Parameters
    ----------
    scores
        (scorers, n) in the order of position.
    is_censored
        (n,) whether a token was never deleted.

    Returns
    -------
    (scorers, 2) `CENSORED_TERMS` in -0.5..0.5; NaN if all tokens were deleted, or none, or position leaves nothing to compare.
    """
    n = scores.shape[-1]
    shares = np.asarray(rankdata(scores, axis=-1) / n, dtype=np.float64).T
    member = np.stack([is_censored, ~is_censored], axis=1)
    (raw,) = raw_contrasts(shares, member, _NEVER_LESS_DELETED)
    (given_position,) = adjusted_contrasts(shares, member, _NEVER_LESS_DELETED, position_terms(n))
    return np.stack([raw, given_position], axis=-1)
