"""How two kinds of chains differ, within questions and over all questions, with the logarithm of their length held constant.

Both are least squares whose sums of products add up over questions, so that the sample without one of its questions costs a
subtraction (`pseudo_values`). Shapes: ``values`` (chains, columns); ``kind`` (chains, 1) or (chains, columns), 1 = of the kind
that is subtracted from, 0 = of the other; ``length`` likewise; ``questions`` (chains,) from `question_index`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from analyses._statistics.questions import pseudo_values
from reasoning_anatomy.types import FloatArray, IntArray

_SINGULAR: Final = 1e-9
_ONE_LENGTH: Final = 1e-12
"""Sum of squares of log lengths below which they do not vary: one token in 100,000 is 1e-10, rounding 1e-16."""


@dataclass(frozen=True, eq=False)
class Measured:
    """A measure of the whole sample, (columns,), and its pseudo-values, (questions, columns); NaN = cannot be said.

    The mean of the pseudo-values is the measure and their spread its sampling error. They may be missing where the measure is
    not: if the sample without one of its questions has no value.
    """

    estimate: FloatArray
    of_questions: FloatArray


def within_questions(values: FloatArray, kind: FloatArray, length: FloatArray, questions: IntArray) -> dict[str, Measured]:
    """Compare the kinds on the same question.

    Weighted least squares with a level for each question, in which each kind of a question counts the same, however many chains
    it has. Every question must have both kinds.

    Returns
    -------
    ``raw``: the mean over questions of the difference between the means of the two kinds; ``given_length``: the same with the
    length held constant, ``raw`` less ``slope`` times the ``raw`` of the length; ``slope`` of the values by length at the same
    question and kind; ``effect_raw`` and ``effect_given_length``: both in standard deviations between chains of one kind on one
    question, pooled, whose logarithm is ``log_sd``.
    """
    of = _membership(questions)
    first, second = of @ kind, of @ (1 - kind)
    weight = (kind / first[questions]) + (1 - kind) / second[questions]
    center = _centering(of, weight, questions)
    k, x, y = center(kind), center(length), center(values)
    products = [of @ (weight * a * b) for a, b in ((k, k), (k, x), (x, x), (k, y), (x, y))]
    deviation = values - np.where(
        kind > 0.5, (of @ (kind * values) / first)[questions], (of @ ((1 - kind) * values) / second)[questions]
    )
    spread = [of @ deviation**2, first + second - 2]

    def measure(sums: FloatArray) -> FloatArray:
        squares, freedom = np.moveaxis(sums[:, 5:], 1, 0)
        variance = np.divide(squares, freedom, out=np.full(squares.shape, np.nan), where=freedom > 0.5)
        log_sd = np.log(np.where(variance > 0, variance, np.nan)) / 2
        return np.stack([*_solved(*np.moveaxis(sums[:, :5], 1, 0)), log_sd], axis=1)

    found = _measured([*products, *spread], measure, ("raw", "given_length", "slope", "log_sd"))
    effects = {f"effect_{name}": _standardised(found[name], found["log_sd"]) for name in ("raw", "given_length")}
    return found | effects


def all_questions(values: FloatArray, kind: FloatArray, length: FloatArray, questions: IntArray) -> dict[str, Measured]:
    """Compare the kinds over all questions, whichever kinds a question has; each question counts the same.

    Returns
    -------
    ``raw`` and ``given_length``, as for `within_questions`, but without a level for each question: what makes a question
    difficult enters.
    """
    of = _membership(questions)
    weight = 1 / (of @ np.ones((len(questions), 1)))[questions]
    ones, length = np.ones_like(kind), length - length.mean(axis=0)
    pairs = ((ones, ones), (ones, kind), (ones, length), (kind, kind), (kind, length), (length, length))
    products = [of @ (weight * a * b) for a, b in (*pairs, (ones, values), (kind, values), (length, values))]

    def measure(sums: FloatArray) -> FloatArray:
        n, k, x, kk, kx, xx, y, ky, xy = np.moveaxis(sums, 1, 0)
        n = np.where(n > 0.5, n, np.nan)
        return np.stack(_solved(kk - k * k / n, kx - k * x / n, xx - x * x / n, ky - k * y / n, xy - x * y / n)[:2], axis=1)

    return _measured(products, measure, ("raw", "given_length"))


def _solved(
    kk: FloatArray, kx: FloatArray, xx: FloatArray, ky: FloatArray, xy: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Coefficient of the kind alone, of the kind beside the length, and of the length; from sums of centred products."""
    kk = np.where(kk > _SINGULAR, kk, np.nan)
    raw = ky / kk
    left = xx - kx**2 / kk
    varies = xx > _ONE_LENGTH
    slope = np.divide(xy - kx * raw, left, out=np.full(raw.shape, np.nan), where=varies & (left > _SINGULAR * xx))
    return raw, np.where(varies, raw - slope * kx / kk, raw), slope


def _standardised(difference: Measured, log_sd: Measured) -> Measured:
    """Divide by a standard deviation whose own error enters to first order: few chains make a ratio's jackknife run wild."""
    sd = np.exp(log_sd.estimate)
    effect = difference.estimate / sd
    errors = (difference.of_questions - difference.estimate) / sd - effect * (log_sd.of_questions - log_sd.estimate)
    return Measured(effect, effect + errors)


def _measured(
    sums: list[FloatArray], measure: Callable[[FloatArray], FloatArray], names: tuple[str, ...]
) -> dict[str, Measured]:
    """Apply ``measure``, (many, sums, columns) to (many, names, columns), to the whole sample and by question."""
    counts = np.stack(np.broadcast_arrays(*sums), axis=1)
    whole, by_question = measure(counts.sum(axis=0, keepdims=True))[0], pseudo_values(counts, measure)
    return {name: Measured(whole[number], by_question[:, number]) for number, name in enumerate(names)}


def _membership(questions: IntArray) -> FloatArray:
    """(questions, chains) 1 where the chain is on the question: a product with it adds up over the question's chains."""
    return np.asarray(np.arange(int(questions.max()) + 1)[:, None] == questions, dtype=np.float64)


def _centering(of: FloatArray, weight: FloatArray, questions: IntArray) -> Callable[[FloatArray], FloatArray]:
    """Subtract the weighted mean of the question."""
    total = of @ weight
    return lambda values: np.asarray(values - (of @ (weight * values) / total)[questions])
