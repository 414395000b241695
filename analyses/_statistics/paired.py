"""Two yes-or-no outcomes of the same questions, one pair for each question: score test and interval, exact McNemar test.

Everything follows from three counts: the pairs that gained (no, then yes), those that lost (yes, then no), and all pairs.
"""

from typing import Final

import numpy as np
from scipy.stats import binom, norm

from reasoning_anatomy.types import FloatArray, IntArray

Number = FloatArray | float

_HALVINGS: Final = 60


def mcnemar_exact(gained: IntArray, lost: IntArray) -> FloatArray:
    """p-value, two-sided, of the binomial distribution of the gains among the pairs that differ; 1 if none does.

    Its false positives stay below the nominal rate, far below it if few pairs differ. (columns,) and (columns,) -> (columns,).

    References
    ----------
    McNemar (1947), Psychometrika 12:153.
    """
    return np.asarray(np.minimum(1, 2 * binom.cdf(np.minimum(gained, lost), gained + lost, 0.5)))


def score_statistic(gained: IntArray, lost: IntArray, n_pairs: IntArray, difference: Number) -> FloatArray:
    """Tango's score statistic of a true difference, standard normal if it is the true one; falls as the difference rises.

    Parameters
    ----------
    gained, lost, n_pairs
        (columns,) counts.
    difference
        Share of gains less share of losses, between -1 and 1.

    References
    ----------
    Tango (1998), Equivalence test and confidence interval for the difference in proportions for the paired-sample design,
    Statistics in Medicine 17:891.
    """
    linear = (2 * n_pairs - gained + lost) * difference - gained - lost
    constant = -lost * difference * (1 - difference)
    share_lost = (np.sqrt(np.maximum(linear**2 - 8 * n_pairs * constant, 0)) - linear) / (4 * n_pairs)
    variance = n_pairs * np.maximum(2 * share_lost + difference * (1 - difference), 0)
    excess = gained - lost - n_pairs * difference
    certain = np.where(excess == 0, 0.0, np.copysign(np.inf, excess))
    return np.asarray(np.divide(excess, np.sqrt(variance), out=certain, where=variance > 0))


def score_interval(gained: IntArray, lost: IntArray, n_pairs: IntArray, *, confidence: float) -> tuple[FloatArray, FloatArray]:
    """Interval of the share of gains less the share of losses: all that `score_statistic` does not reject. -> 2 x (columns,).

    It has a width if no pair differs: ``z² / (n + z²)`` to both sides.
    """
    estimate, reach = (gained - lost) / n_pairs, float(norm.ppf((1 + confidence) / 2))

    def limit(end: float) -> FloatArray:
        inside, outside = estimate, np.full(estimate.shape, end)
        for _ in range(_HALVINGS):
            middle = (inside + outside) / 2
            is_inside = np.abs(score_statistic(gained, lost, n_pairs, middle)) <= reach
            inside, outside = np.where(is_inside, middle, inside), np.where(is_inside, outside, middle)
        return inside

    return limit(-1.0), limit(1.0)


def p_above(gained: IntArray, lost: IntArray, n_pairs: IntArray, limit: float) -> FloatArray:
    """One-sided p-value of a true difference of ``limit`` or less, so a small one says that it is above; (columns,) each."""
    return np.asarray(norm.sf(score_statistic(gained, lost, n_pairs, limit)))


def p_different(gained: IntArray, lost: IntArray, n_pairs: IntArray) -> FloatArray:
    """Two-sided p-value of no true difference; (columns,) each.

    At or below 1 - confidence exactly if `score_interval` leaves out zero. It is that of the asymptotic McNemar test without
    continuity correction, whose statistic is the difference of gains and losses over the root of their sum.

    References
    ----------
    Fagerland, Lydersen & Laake (2013), The McNemar test for binary matched-pairs data: mid-p and asymptotic are better than
    exact conditional, BMC Medical Research Methodology 13:91.
    """
    return np.asarray(2 * norm.sf(np.abs(score_statistic(gained, lost, n_pairs, 0.0))))
