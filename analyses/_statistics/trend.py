"""Whether a value rises or falls over ordered conditions that every question has been in."""

import numpy as np
from scipy.stats import norm, rankdata

from reasoning_anatomy.types import FloatArray


def slopes(values: FloatArray, places: FloatArray) -> FloatArray:
    """Least-squares slope of every question.

    Parameters
    ----------
    values
        (questions, conditions), none missing.
    places
        (conditions,) where each stands, such as its threshold; not all the same.

    Returns
    -------
    (questions,) change of the value for one unit of place.
    """
    return np.asarray(values @ slope_weights(places))


def slope_weights(places: FloatArray) -> FloatArray:
    """Weights of the conditions in a least-squares slope; (conditions,) -> (conditions,), with sum zero."""
    deviations = places - places.mean()
    return np.asarray(deviations / (deviations**2).sum())


def page_test(values: FloatArray) -> tuple[float, float]:
    """Page's L for values that rise in the order of the columns, and its p-value, one-sided.

    Parameters
    ----------
    values
        (questions, conditions), none missing.

    Returns
    -------
    L, and the p-value of its normal approximation with the variance for ties; NaN if every question is tied throughout.

    Notes
    -----
    `scipy.stats.page_trend_test` has the variance without ties, too large if most values are 0 or 1. The null hypothesis is
    that no question depends on the condition at all; if questions do, in both directions, p-values are too small.

    References
    ----------
    Page (1963), Ordered hypotheses for multiple treatments: a significance test for linear ranks, JASA 58:216.
    """
    n_questions, n_conditions = values.shape
    ranks = rankdata(values, axis=1)
    order = np.arange(1, n_conditions + 1)
    statistic = float((ranks.sum(axis=0) * order).sum())
    expected = n_questions * n_conditions * (n_conditions + 1) ** 2 / 4
    within = ((ranks - (n_conditions + 1) / 2) ** 2).sum()
    variance = within * ((order - order.mean()) ** 2).sum() / (n_conditions - 1)
    return statistic, float(norm.sf((statistic - expected) / np.sqrt(variance))) if variance > 0 else float("nan")
