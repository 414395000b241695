"""Intervals of shares and of other means that cannot leave a range."""

import numpy as np
from scipy.stats import beta, binom, norm

from analyses._statistics.bootstrap import Counts, Means, bootstrap_means
from reasoning_anatomy.types import FloatArray, IntArray


def wilson_interval(successes: IntArray, n: IntArray, *, confidence: float) -> tuple[FloatArray, FloatArray]:
    """Interval of a share, one answer for each question; (columns,) counts -> 2 x (columns,).

    References
    ----------
    Wilson (1927), Probable inference, the law of succession, and statistical inference, JASA 22:209.
    """
    z = float(norm.ppf((1 + confidence) / 2))
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return np.where(successes == 0, 0.0, centre - reach), np.where(successes == n, 1.0, centre + reach)


def bounded_means(values: FloatArray, counts: Counts, *, confidence: float, lowest: float, highest: float) -> Means:
    """Mean over questions of values that lie between ``lowest`` and ``highest``.

    As `bootstrap_means`, with intervals cut at the ends of the range. If almost all questions have the same value (at 95 %:
    all but two), many resamples have no spread and the bootstrap knows no interval. Then the mean is that value, and what the
    others add is bounded: the share of questions above, and that of questions below, are at most the Clopper-Pearson limits of
    their counts, and each of them is at most at the end of the range. The interval never has width zero, and the p-value is
    its own: the interval leaves out zero exactly if p <= 1 - confidence.

    Parameters
    ----------
    values
        (questions, columns); NaN = the question has no value.
    counts
        (draws, questions) from `resample_counts`.
    confidence
        Of the interval, in 0..1.
    lowest, highest
        Ends of the range of a value.
    """
    means = bootstrap_means(values, counts, confidence=confidence)
    low, high, p_value = np.maximum(means.ci_low, lowest), np.minimum(means.ci_high, highest), means.p_value.copy()
    unknown = (means.n_questions > 1) & ~(np.isfinite(means.ci_low) & np.isfinite(means.ci_high))
    for column in np.flatnonzero(unknown):
        found = values[np.isfinite(values[:, column]), column]
        distinct, frequency = np.unique(found, return_counts=True)
        if 2 * frequency.max() > len(found):
            common = float(distinct[frequency.argmax()])
            low[column], high[column], p_value[column] = _almost_all_alike(found, common, confidence, lowest, highest)
    return Means(means.estimate, means.sd, means.n_questions, low, high, p_value)


def _almost_all_alike(
    values: FloatArray, common: float, confidence: float, lowest: float, highest: float
) -> tuple[float, float, float]:
    """Interval and p-value of the mean of (questions,) values of which almost all are ``common``."""
    n, n_above, n_below = len(values), int((values > common).sum()), int((values < common).sum())
    low = common - (common - lowest) * _largest_share(n_below, n, confidence)
    high = common + (highest - common) * _largest_share(n_above, n, confidence)
    if common > 0:
        tail = binom.cdf(n_below, n, min(1.0, common / (common - lowest)))
    elif common < 0:
        tail = binom.cdf(n_above, n, min(1.0, common / (common - highest)))
    else:
        tail = 1.0
    return low, high, min(1.0, 2 * float(tail))


def _largest_share(count: int, n: int, confidence: float) -> float:
    """Upper limit of Clopper and Pearson, missed in half of the cases in which an interval may miss."""
    return float(beta.ppf((1 + confidence) / 2, count + 1, n - count)) if count < n else 1.0
