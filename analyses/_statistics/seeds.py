"""The mean over questions that several trained models answer: for new questions and for new trainings.

Values of a question and a training are ``mean + question + training + rest``. The variance of their mean is
``(MS_questions + MS_trainings - MS_rest) / (questions x trainings)``, of which only the second term has few degrees of freedom:
two trainings have one. So it is pooled over all arms, which are taken to vary alike from training to training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.stats import nct, t

from analyses._statistics.power import POWER
from reasoning_anatomy.types import FloatArray

_MOST_QUESTIONS: Final = 1 << 20
_NO_SPREAD: Final = 1e-12
_LEAST_FREEDOM: Final = 3


@dataclass(frozen=True)
class SeedVariation:
    """How far trainings differ, from an analysis of variance of questions x trainings.

    Attributes
    ----------
    between, within
        Mean square between trainings, and of what is left; their difference is the number of questions times the variance
        between trainings.
    freedom
        Degrees of freedom of ``between``.
    n_questions
        Behind it; ``within`` has ``freedom * (n_questions - 1)``.
    """

    between: float
    within: float
    freedom: int
    n_questions: int

    def times(self, factor: float) -> "SeedVariation":
        """Return the variation of a sum of ``factor`` independent arms that vary like this one."""
        return SeedVariation(factor * self.between, factor * self.within, self.freedom, self.n_questions)

    @property
    def excess(self) -> float:
        """What trainings add to the mean square; below zero by chance."""
        return self.between - self.within


@dataclass(frozen=True)
class SeedMean:
    """A mean over questions and trainings.

    Attributes
    ----------
    estimate, error, freedom
        Mean, its standard error and Satterthwaite's degrees of freedom; error and freedom NaN below two questions.
    of_questions
        Mean square between questions.
    of_seeds
        What trainings add to it, not below zero; NaN with one training, whose variation is not known and not in the error.
    """

    estimate: float
    error: float
    freedom: float
    of_questions: float
    of_seeds: float

    @property
    def has_spread(self) -> bool:
        """Whether there is an error to speak of."""
        return bool(self.error > _NO_SPREAD)

    def interval(self, confidence: float) -> tuple[float, float]:
        """Interval for new questions and trainings; NaN without spread."""
        if not self.has_spread:
            return float("nan"), float("nan")
        reach = float(t.ppf((1 + confidence) / 2, self.freedom)) * self.error
        return self.estimate - reach, self.estimate + reach

    @property
    def p_value(self) -> float:
        """Two-sided, of a mean of zero; at or below 1 - confidence exactly if `interval` leaves out zero."""
        return float(2 * t.sf(abs(self.estimate) / self.error, self.freedom)) if self.has_spread else float("nan")

    def p_above(self, limit: float) -> float:
        """One-sided p-value of a true mean of ``limit`` or less: a small one says that it is above."""
        return float(t.sf((self.estimate - limit) / self.error, self.freedom)) if self.has_spread else float("nan")


def seed_variation(values: FloatArray) -> SeedVariation | None:
    """Pool how far trainings differ over arms.

    Parameters
    ----------
    values
        (arms, questions, seeds).

    Returns
    -------
    Of one arm; None with one seed, which says nothing of others, or below two questions.

    Notes
    -----
    What a seed does to all arms alike is taken away, since it is in no difference of two arms: twice the result is the mean,
    over all pairs of arms, of the mean squares of their differences. Where less than three degrees of freedom were left (two
    arms with two seeds have one, with which p is 0.05 or less in up to 13 % of samples without a difference), it stays in, as
    if the trainings of two arms had nothing in common; if they have, the error is too large, never too small.
    """
    n_arms, n_questions, n_seeds = values.shape
    if n_seeds < 2 or n_questions < 2:
        return None
    own = values - values.mean(axis=2, keepdims=True)
    freedom = (n_arms - 1) * (n_seeds - 1)
    if freedom >= _LEAST_FREEDOM:
        own = own - own.mean(axis=0)
    else:
        freedom = n_arms * (n_seeds - 1)
    of_seeds = own.mean(axis=1)
    rest = own - of_seeds[:, None, :]
    between = n_questions * float((of_seeds**2).sum()) / freedom
    return SeedVariation(between, float((rest**2).sum()) / (freedom * (n_questions - 1)), freedom, n_questions)


def mean_over(values: FloatArray, seeds: Sequence[SeedVariation]) -> SeedMean:
    """Mean of (questions, seeds) values.

    Parameters
    ----------
    values
        Of single answers, or differences of them.
    seeds
        Variations that add up to that of the values; none = the trainings are these, and the error is that over questions.

    Notes
    -----
    ``(MS_questions + excess) / (questions x seeds)`` with Satterthwaite's degrees of freedom. If the trainings differ no more
    than chance between answers explains, the excess is zero and the degrees of freedom are those of the questions. It is the
    estimate of a crossed random-effects model by its moments; Owen's bootstrap of questions and trainings has in place of the
    last term three times what is left, and half of the variance between two trainings.

    References
    ----------
    Satterthwaite (1946), Biometrics Bulletin 2:110. Owen (2007), The pigeonhole bootstrap, Annals of Applied Statistics 1:386.
    """
    n_questions, n_seeds = values.shape
    estimate = float(values.mean()) if values.size else float("nan")
    excess = max(0.0, sum(part.excess for part in seeds)) if seeds else float("nan")
    if n_questions < 2:
        return SeedMean(estimate, float("nan"), float("nan"), float("nan"), excess)
    of_questions = n_seeds * float(values.mean(axis=1).var(ddof=1))
    whole, squares = of_questions, of_questions**2 / (n_questions - 1)
    if excess > 0:
        whole += excess
        squares += sum(
            part.between**2 / part.freedom + part.within**2 / (part.freedom * (part.n_questions - 1)) for part in seeds
        )
    freedom = whole**2 / squares if squares > 0 else float(n_questions - 1)
    return SeedMean(estimate, float(np.sqrt(whole / (n_questions * n_seeds))), freedom, of_questions, excess)


@dataclass(frozen=True)
class Components:
    """Variances of a difference between two arms.

    Attributes
    ----------
    questions
        Between questions.
    seeds
        Between trainings.
    rest
        Of an answer of one training to one question.
    freedom_per_seed
        Degrees of freedom that one more seed adds to the variance between trainings.
    """

    questions: float
    seeds: float
    rest: float
    freedom_per_seed: float


def components(mean: SeedMean, seeds: SeedVariation, n_seeds: int) -> Components:
    """Variance components by their moments, none below zero, of what `mean_over` was given."""
    return Components(
        max(0.0, (mean.of_questions - seeds.within) / n_seeds),
        max(0.0, seeds.excess / seeds.n_questions),
        seeds.within,
        seeds.freedom / (n_seeds - 1),
    )


def questions_needed_with(parts: Components, effect: float, *, n_seeds: int, confidence: float) -> float:
    """Smallest number of questions at which so many trainings find a true difference with 80 % power.

    Parameters
    ----------
    parts
        Variances.
    effect
        The true difference.
    n_seeds
        Trainings of each arm, two or more.
    confidence
        1 - significance level.

    Returns
    -------
    A whole number; infinite if no number of questions is enough, because trainings differ too much; NaN if nothing differs, so
    that nothing is known of how much it could.
    """
    if not parts.questions + parts.seeds + parts.rest:
        return float("nan")

    def has_power(n_questions: int) -> bool:
        of_questions = n_seeds * parts.questions + parts.rest
        of_seeds = n_questions * parts.seeds
        variance = (of_questions + of_seeds) / (n_questions * n_seeds)
        squares = of_questions**2 / (n_questions - 1)
        if of_seeds > 0:
            freedom = parts.freedom_per_seed * (n_seeds - 1)
            squares += (of_seeds + parts.rest) ** 2 / freedom + parts.rest**2 / (freedom * (n_questions - 1))
        freedom = (of_questions + of_seeds) ** 2 / squares
        critical, shift = float(t.ppf((1 + confidence) / 2, freedom)), abs(effect) / np.sqrt(variance)
        return bool(shift > 2 * critical + 5 or nct.sf(critical, freedom, shift) >= POWER)

    fewest, most = 2, 2
    while not has_power(most):
        fewest, most = most, 2 * most
        if most > _MOST_QUESTIONS:
            return float("inf")
    while most - fewest > 1:
        middle = (fewest + most) // 2
        fewest, most = (fewest, middle) if has_power(middle) else (middle, most)
    return float(most)
