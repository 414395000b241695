"""The ratio of two means of the same questions."""

import numpy as np
from scipy.stats import t

from reasoning_anatomy.types import FloatArray


def ratio_of_means(above: FloatArray, below: FloatArray, *, confidence: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Ratio of the mean of one value over questions to the mean of another, with Fieller's interval.

    Parameters
    ----------
    above, below
        (questions, columns); a question counts if it has both.
    confidence
        Of the interval, in 0..1.

    Returns
    -------
    3 x (columns,) ratio and ends of its interval: all ratios at which ``above - ratio * below`` has a mean that a t test does
    not tell from zero. NaN if the mean below is not told from zero itself, so that the ratio could be anything, or if there are
    fewer than two questions.

    References
    ----------
    Fieller (1954), Some problems in interval estimation, J. R. Statist. Soc. B 16:175.
    """
    is_paired = np.isfinite(above) & np.isfinite(below)
    n = is_paired.sum(axis=0)
    first, second = (np.where(is_paired, values, 0) for values in (above, below))
    mean_first, mean_second = (values.sum(axis=0) / np.maximum(n, 1) for values in (first, second))
    rest_first, rest_second = np.where(is_paired, first - mean_first, 0), np.where(is_paired, second - mean_second, 0)
    factor = t.ppf((1 + confidence) / 2, np.maximum(n - 1, 1)) ** 2 / np.maximum(n * (n - 1), 1)
    spread_first, spread_second = (factor * (rest**2).sum(axis=0) for rest in (rest_first, rest_second))
    square = mean_second**2 - spread_second
    middle = mean_first * mean_second - factor * (rest_first * rest_second).sum(axis=0)
    root = np.sqrt(np.maximum(middle**2 - square * (mean_first**2 - spread_first), 0))
    is_known = (n > 1) & (square > 0)
    unknown = np.full(n.shape, np.nan)
    return (
        np.divide(mean_first, mean_second, out=unknown.copy(), where=is_known),
        np.divide(middle - root, square, out=unknown.copy(), where=is_known),
        np.divide(middle + root, square, out=unknown.copy(), where=is_known),
    )
