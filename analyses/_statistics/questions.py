"""From chains to questions: the unit of inference."""

from collections.abc import Sequence

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
    (questions, columns); NaN where no chain of the question has a value.
    """
    n_questions = int(questions.max()) + 1
    present = np.isfinite(values)
    sums = np.zeros((n_questions, values.shape[1]))
    counts = np.zeros_like(sums)
    np.add.at(sums, questions, np.where(present, values, 0.0))
    np.add.at(counts, questions, present)
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
