"""To one number per question, the unit of inference: from its chains, or from a measure of all questions together."""

from collections.abc import Callable, Sequence

import numpy as np

from reasoning_anatomy.types import FloatArray, IntArray


def question_index(question_ids: Sequence[str]) -> IntArray:
    """Give every question a number from 0, in the order of their first chains; (chains,) ids -> (chains,)."""
    numbers = {question: number for number, question in enumerate(dict.fromkeys(question_ids))}
    return np.array([numbers[question] for question in question_ids], dtype=np.int64)


def question_means(values: FloatArray, questions: IntArray) -> FloatArray:
    """Average the chains of each question.

    Parameters
    ----------
    values
        (chains, columns); NaN = the chain has no value.
    questions
        (chains,) from `question_index`.

    Returns
    -------
    (questions, columns); NaN if no chain of the question has a value.
    """
    n_questions = int(questions.max()) + 1
    present = np.isfinite(values)
    sums = np.zeros((n_questions, values.shape[1]))
    counts = np.zeros_like(sums)
    np.add.at(sums, questions, np.where(present, values, 0.0))
    np.add.at(counts, questions, present)
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def pseudo_values(counts: FloatArray, measure: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """Turn a measure of the whole sample into one number per question: pseudo-values of the jackknife, without bias correction.

    Parameters
    ----------
    counts
        (questions, ...) what the measure is computed from; it adds up over questions.
    measure
        (many, ...) sums of counts to (many, columns) values.

    Returns
    -------
    (questions, columns) whose mean is the measure of the whole sample and whose spread is its sampling error. A column is NaN
    if the measure is undefined on the sample or on the sample without one of its questions, as with a single question.

    References
    ----------
    Miller (1974), The jackknife - a review, Biometrika 61:1.
    """
    total = counts.sum(axis=0)
    whole, without = measure(total[None])[0], measure(total[None] - counts)
    pull = (len(counts) - 1) * (whole - without)
    return np.asarray(whole + np.where(np.isfinite(pull).all(axis=0), pull - pull.mean(axis=0), np.nan))
