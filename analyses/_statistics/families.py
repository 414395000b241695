"""Correction of a family of tests: from its p-values, or from the values of every question."""

from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import false_discovery_control

from reasoning_anatomy.types import FloatArray

Signs = npt.NDArray[np.float64]

_DRAWS_AT_ONCE: Final = 1000


def adjust(p_values: FloatArray, method: Literal["holm", "fdr_bh"]) -> FloatArray:
    """Adjust by Holm (any false rejection) or Benjamini-Hochberg (share of false ones); (family,) -> (family,).

    Members without a p-value (NaN) keep none and are not counted.

    Notes
    -----
    ``statsmodels.stats.multitest.multipletests`` gives the same numbers, and is what they are tested against. For Holm it
    collects garbage in every call (0.1 to 0.2 s), which takes longer than the bootstrap of the same family.
    """
    adjusted = np.full(p_values.shape, np.nan)
    tested = np.isfinite(p_values)
    if tested.any():
        known = p_values[tested]
        adjusted[tested] = _holm(known) if method == "holm" else false_discovery_control(known, method="bh")
    return adjusted


def random_signs(n_questions: int, *, draws: int, rng: np.random.Generator) -> Signs:
    """Draw a sign for each question. -> (draws, questions) of -1 and 1."""
    return rng.choice([-1.0, 1.0], size=(draws, n_questions))


def max_t(values: FloatArray, signs: Signs) -> FloatArray:
    """p-values adjusted for all columns by the largest t statistic under random signs, single step.

    Parameters
    ----------
    values
        (questions, columns) one number per question; NaN = the question has no value.
    signs
        (draws, questions) from `random_signs`. The signs of a question are the same in every column, so that the columns keep
        their dependence.

    Returns
    -------
    (columns,) two-sided p-value of a mean of zero in any column; NaN for a column that has no value in some question, or no
    spread, and is not in the family.

    Notes
    -----
    Exact if the values of the questions are symmetric about zero under the null hypothesis, as correlations of unrelated
    rankings are. The studentised bootstrap needs no symmetry; the maximum of its statistics has tails that are much too long
    below about 15 questions.

    References
    ----------
    Westfall & Young (1993), Resampling-based multiple testing; Nichols & Holmes (2002), Nonparametric permutation tests for
    functional neuroimaging, Human Brain Mapping 15:1.
    """
    member = np.isfinite(values).all(axis=0) & (np.ptp(values, axis=0) > 0)
    p_values = np.full(values.shape[1], np.nan)
    if member.any():
        family = values[:, member]
        length = np.sqrt((family**2).sum(axis=0))  # signs leave it as it is, so that |sum| / length orders as |t| does
        observed = np.abs(family.sum(axis=0)) / length
        blocks = [signs[start : start + _DRAWS_AT_ONCE] for start in range(0, len(signs), _DRAWS_AT_ONCE)]
        largest = np.concatenate([(np.abs(block @ family) / length).max(axis=1) for block in blocks])
        as_large = largest[:, None] >= observed * (1 - 1e-12)
        p_values[member] = (1 + as_large.sum(axis=0)) / (1 + len(signs))
    return p_values


def _holm(p_values: FloatArray) -> FloatArray:
    """Multiply the smallest by their number, the next by one less, ...; none falls below one before it."""
    order = np.argsort(p_values)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1)))
    return adjusted
