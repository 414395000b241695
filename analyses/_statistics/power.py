"""What a sample of questions could have found."""

from typing import Final, Literal

import numpy as np
from scipy.optimize import brentq
from scipy.stats import nct, t

POWER: Final = 0.8


def detectable_effect(sd: float, n_questions: int, *, confidence: float) -> float:
    """Smallest true mean that a two-sided t test over questions finds, with its sign, with 80 % power.

    Parameters
    ----------
    sd
        Standard deviation between questions.
    n_questions
        Their number.
    confidence
        1 - significance level.

    Returns
    -------
    In the unit of ``sd``; NaN below two questions.

    Notes
    -----
    ``statsmodels.stats.power.TTestPower.solve_power`` answers the same question, but stops at 10 standard deviations: for three
    questions at 0.99 it is 1 % off, for two questions it returns 10 instead of 57.7. Its ``power`` at
    this effect, which is right, is 0.8 to 1e-12.
    """
    if n_questions < 2 or not np.isfinite(sd):
        return float("nan")
    freedom = n_questions - 1
    critical = float(t.ppf((1 + confidence) / 2, freedom))

    def excess_power(shift: float) -> float:
        return float(nct.sf(critical, freedom, shift)) - POWER

    return float(brentq(excess_power, 0, 2 * critical + 3)) * sd / float(np.sqrt(n_questions))


def questions_needed(sd: float, effect: float, *, confidence: float, sides: Literal[1, 2] = 2) -> float:
    """Smallest number of questions at which a t test finds a true mean of ``effect`` with 80 % power.

    Parameters
    ----------
    sd
        Standard deviation between questions.
    effect
        In the unit of ``sd``; its sign does not matter.
    confidence
        1 - significance level.
    sides
        Of the test.

    Returns
    -------
    A whole number, 2 or more; NaN if the standard deviation is not known or zero.
    """
    if not (np.isfinite(sd) and sd > 0):
        return float("nan")
    fewest, most = 2, 2
    while not _has_power(most, sd, effect, confidence, sides):
        fewest, most = most, 2 * most
    while most - fewest > 1:
        middle = (fewest + most) // 2
        fewest, most = (fewest, middle) if _has_power(middle, sd, effect, confidence, sides) else (middle, most)
    return float(most)


def _has_power(n_questions: int, sd: float, effect: float, confidence: float, sides: Literal[1, 2]) -> bool:
    freedom = n_questions - 1
    critical = float(t.ppf(1 - (1 - confidence) / sides, freedom))
    shift = abs(effect) / sd * float(np.sqrt(n_questions))
    return shift > 2 * critical + 3 or float(nct.sf(critical, freedom, shift)) >= POWER
