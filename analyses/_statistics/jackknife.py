"""From a measure of the whole sample to one number per question, for the bootstrap over questions."""

from collections.abc import Callable

import numpy as np

from reasoning_anatomy.types import FloatArray


def question_values(counts: FloatArray, measure: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """Let every question pull the measure to where it would have it.

    Parameters
    ----------
    counts
        (questions, ...) what the measure is computed from; it adds up over questions.
    measure
        (..., ) summed counts to values: for one sum (columns,), for many (many, columns).

    Returns
    -------
    (questions, columns) whose mean is the measure of the whole sample and whose spread is its sampling error: the pseudo-values
    of the jackknife, less its correction of bias. NaN throughout where the measure of the sample, or of the sample without
    one of its questions, cannot be said; without a single value where there is one question.

    References
    ----------
    Miller (1974), The jackknife - a review, Biometrika 61:1.
    """
    total = counts.sum(axis=0)
    whole, without = measure(total[None])[0], measure(total[None] - counts)
    pull = (len(counts) - 1) * (whole - without)
    return np.asarray(whole + np.where(np.isfinite(pull).all(axis=0), pull - pull.mean(axis=0), np.nan))
