"""The terms of rank_correlation, and how they are computed from the scores of a chain."""

from typing import Final

import numpy as np
from scipy.stats import rankdata

from analyses._statistics.correlation import TERMS, correlations, given_position
from analyses._statistics.nearby import spearman_within_bins
from analyses._statistics.position import BoolArray, contrasts_given_position, contrasts_of_means
from analyses._statistics.top import top_weights, weighted_tau
from reasoning_anatomy.types import FloatArray

WITHIN_BINS: Final = "spearman_within_bins"
ALL_TERMS: Final = (*TERMS, WITHIN_BINS, "kendall_top_weighted", "kendall_top_weighted_given_position")
"""Of scores; layers and heads have the `TERMS` alone."""

CENSORED_TERMS: Final = ("never deleted - deleted", "never deleted - deleted given position")
"""Terms of the table ``censored``."""

_NEVER_LESS_DELETED: Final = np.array([[1.0, -1.0]])


def all_terms(scores: FloatArray, importance: FloatArray) -> FloatArray:
    """Correlate scores with one order of importance.

    Parameters
    ----------
    scores
        (scorers, n) in the order of position.
    importance
        (n,) higher = more important; equal = no order known.

    Returns
    -------
    (scorers, 7) `ALL_TERMS`, each in -1..1; NaN as in `correlations`, and within bins if the chain is too short for them.
    """
    return np.column_stack([correlations(scores, importance), more_terms(scores, importance)])


def more_terms(scores: FloatArray, importance: FloatArray) -> FloatArray:
    """Compute the terms that only scores have: (..., n) and (..., n), broadcast -> (..., 3)."""
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
    shares = np.asarray(rankdata(scores, axis=-1) / scores.shape[-1], dtype=np.float64)
    member = np.stack([is_censored, ~is_censored], axis=1)
    comparisons = (contrasts_of_means, contrasts_given_position)
    found = [[compare(share, member, _NEVER_LESS_DELETED)[0] for compare in comparisons] for share in shares]
    return np.array(found).reshape(len(scores), len(CENSORED_TERMS))
