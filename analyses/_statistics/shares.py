"""Intervals of shares and of other means that cannot leave a range."""

import numpy as np
from scipy.stats import beta, binom, norm

from analyses._statistics.bootstrap import Counts, Means, bootstrap_means
from reasoning_anatomy.types import FloatArray, IntArray


def wilson_interval(share: FloatArray, n: FloatArray | IntArray, *, confidence: float) -> tuple[FloatArray, FloatArray]:
    """Interval of a share of ``n`` independent answers, or of as many as they are worth; (columns,) each -> 2 x (columns,).

    References
    ----------
    Wilson (1927), Probable inference, the law of succession, and statistical inference, JASA 22:209.
    """
    z = float(norm.ppf((1 + confidence) / 2))
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return np.where(share == 0, 0.0, centre - reach), np.where(share == 1, 1.0, centre + reach)


def effective_answers(per_question: FloatArray, n_answers: IntArray) -> FloatArray:
    """How many independent answers have shares that vary as much as the mean over questions of several answers each.

    The number of questions over the share of the variance of single answers, p(1 - p), that lies between questions; never
    fewer than the questions nor more than the answers. If almost all questions are alike, the few that are not may all be
    missing from the sample, and the variance between questions is underestimated: so it is estimated with half a question more
    that is always right, and half a one that is always wrong. With one answer for each question the number is that of the
    questions, and so it is if all are alike.

    Parameters
    ----------
    per_question
        (questions, columns) shares in 0..1; NaN = the question has no answer.
    n_answers
        (columns,) number of answers.

    Returns
    -------
    (columns,), 1 or more.

    References
    ----------
    Kish (1965), Survey sampling; Korn & Graubard (1998), Confidence intervals for proportions with small expected number of
    positive counts estimated from survey data, Survey Methodology 24:193; Dean & Pagano (2015), Evaluating confidence interval
    methods for binomial proportions in clustered surveys, Journal of Survey Statistics and Methodology 3:484, who find Wilson's
    interval with the effective sample size among the best. The half questions are those of Jeffreys' prior.
    """
    present = np.isfinite(per_question)
    n = np.maximum(present.sum(axis=0), 1)
    share = (np.nansum(per_question, axis=0) + 0.5) / (n + 1)
    squares = np.where(present, (per_question - share) ** 2, 0).sum(axis=0) + (share**2 + (1 - share) ** 2) / 2
    between = squares / ((n + 1) * share * (1 - share)) * n / np.maximum(n - 1, 1)
    return np.asarray(np.clip(n / between, n, np.maximum(n_answers, n)))


def bounded_means(values: FloatArray, counts: Counts, *, confidence: float, lowest: float, highest: float) -> Means:
    """Mean over questions of values that lie between ``lowest`` and ``highest``.

    As `bootstrap_means`, with intervals cut at the ends of the range, and where most questions have one and the same value at
    what the others can add to it: the share of questions above, and that of questions below, are at most the Clopper-Pearson
    limits of their counts, and each of them is at most at the end of the range. If almost all are alike (at 95 %: all but two),
    the bootstrap knows no interval and this is all there is. So no interval has width zero, and none is wider than if each
    question that differs counted in full. It leaves out zero exactly if p <= 1 - confidence.

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
    low, high, p_value = np.fmax(means.ci_low, lowest), np.fmin(means.ci_high, highest), means.p_value.copy()
    several = np.flatnonzero(means.n_questions > 1)
    common = np.nanmedian(values[:, several], axis=0)
    is_common = (values[:, several] == common).sum(axis=0) * 2 > means.n_questions[several]
    columns, common = several[is_common], common[is_common]
    alike = _most_alike(values[:, columns], common, confidence, lowest, highest)
    low[columns], high[columns] = np.maximum(low[columns], alike[0]), np.minimum(high[columns], alike[1])
    p_value[columns] = np.fmin(p_value[columns], alike[2])
    low[means.n_questions < 2], high[means.n_questions < 2] = np.nan, np.nan
    return Means(means.estimate, means.sd, means.n_questions, low, high, p_value)


def _most_alike(
    values: FloatArray, common: FloatArray, confidence: float, lowest: float, highest: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Interval and p-value of means of (questions, columns) of which most are ``common``; (columns,) -> 3 x (columns,)."""
    n, n_above, n_below = np.isfinite(values).sum(axis=0), (values > common).sum(axis=0), (values < common).sum(axis=0)
    low = common - (common - lowest) * _largest_share(n_below, n, confidence)
    high = common + (highest - common) * _largest_share(n_above, n, confidence)
    end, count = np.where(common > 0, lowest, highest), np.where(common > 0, n_below, n_above)
    at_end = np.minimum(common / (common - end), 1) + 0.0  # share of questions at the end that puts the mean at zero
    return low, high, np.minimum(2 * binom.cdf(count, n, at_end), 1)


def _largest_share(count: IntArray, n: IntArray, confidence: float) -> FloatArray:
    """Upper limit of Clopper and Pearson, missed in half of the cases in which an interval may miss."""
    return np.where(count < n, beta.ppf((1 + confidence) / 2, count + 1, np.maximum(n - count, 1)), 1.0)
