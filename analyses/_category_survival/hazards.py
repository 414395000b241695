"""Hazard ratios by Cox's model, with the jackknife over questions, and whether they stay the same."""

from typing import Final

import numpy as np
import pandas as pd

from analyses._category_survival.evidence import deletions_by_question
from analyses._category_survival.reading import Reading
from analyses._sample import QuestionSample
from analyses._schemes import SCHEMES, Scheme
from analyses._statistics.cox import Deletions, leave_one_out, log_hazard_ratios
from analyses._statistics.families import adjust
from analyses._statistics.position import BoolArray
from reasoning_anatomy.categories import FUNCTION, LINGUISTIC_SCAFFOLDING
from reasoning_anatomy.types import RESULT_COLUMNS, FloatArray, IntArray

FEWEST_QUESTIONS: Final = 8
"""With which Cox's model is fitted."""

CHANGE: Final = ": second half of the deletions less first"
"""What the name of a term ends with if it says whether hazards are proportional."""

_COLUMNS: Final = ["scheme", "group", "reference", *RESULT_COLUMNS, "hazard_ratio", "hazard_ratio_low", "hazard_ratio_high"]


def hazard_ratios(reading: Reading, sample: QuestionSample) -> pd.DataFrame:
    """Fit Cox's model to the groups of every scheme.

    Returns
    -------
    One row per group that is not the reference: its log hazard ratio, higher = deleted sooner; then its change between the
    halves of the deletions of a chain. Holm over the groups of a scheme, each for itself. No rows below `FEWEST_QUESTIONS`.
    """
    if len(set(reading.question_ids)) < FEWEST_QUESTIONS:
        return pd.DataFrame(columns=_COLUMNS)
    return pd.concat([_of_scheme(reading, sample, scheme) for scheme in SCHEMES], ignore_index=True)[_COLUMNS]


def reference_of(scheme: Scheme) -> str:
    """Group to which the others are compared: the scaffolding, or FUNCTION, the largest category in it."""
    return LINGUISTIC_SCAFFOLDING if LINGUISTIC_SCAFFOLDING in scheme.groups else FUNCTION


def ratios_and_changes(
    deletions: Deletions, question: IntArray, is_early: BoolArray, n_questions: int, *, reference: int
) -> FloatArray:
    """Pseudo-values of the log hazard ratios, and of their change from the first half of the deletions to the second.

    Parameters
    ----------
    deletions
        Of all chains.
    question, is_early
        (deletions,) number of the question, and whether a deletion is in the first half of those of its chain.
    n_questions
        Their number.
    reference
        Number of the group to which the others are compared.

    Returns
    -------
    (2, questions, groups).
    """
    every = np.ones(len(is_early), dtype=bool)
    whole, early, late = (
        _pseudo_values(deletions, question, n_questions, chosen, reference) for chosen in (every, is_early, ~is_early)
    )
    return np.stack([whole, late - early])


def _pseudo_values(deletions: Deletions, question: IntArray, n_questions: int, chosen: BoolArray, reference: int) -> FloatArray:
    part = deletions.where(chosen)
    estimate = log_hazard_ratios(part, reference=reference)
    return leave_one_out(part, question[chosen], n_questions, estimate, reference=reference)


def _of_scheme(reading: Reading, sample: QuestionSample, scheme: Scheme) -> pd.DataFrame:
    deletions, question, is_early = deletions_by_question(reading, scheme)
    reference = scheme.groups.index(reference_of(scheme))
    others = np.delete(np.arange(len(scheme.groups)), reference)
    n_questions = int(sample.questions.max()) + 1
    values = ratios_and_changes(deletions, question, is_early, n_questions, reference=reference)
    labels = pd.DataFrame({"scheme": scheme.name, "group": np.array(scheme.groups)[others]})
    labels = labels.assign(reference=scheme.groups[reference], **_sizes(reading, scheme, others, reference))
    return pd.concat(
        [
            _rows(values[number][:, others], labels.assign(term=labels["group"] + ending), sample)
            for number, ending in enumerate(("", CHANGE))
        ],
        ignore_index=True,
    )


def _rows(values: FloatArray, labels: pd.DataFrame, sample: QuestionSample) -> pd.DataFrame:
    means = sample.combined(values)
    return labels.assign(
        estimate=means.estimate,
        ci_low=means.ci_low,
        ci_high=means.ci_high,
        p_value=means.p_value,
        p_adjusted=adjust(means.p_value, "holm"),
        n_questions=means.n_questions.astype(np.int64),
        hazard_ratio=np.exp(means.estimate),
        hazard_ratio_low=np.exp(means.ci_low),
        hazard_ratio_high=np.exp(means.ci_high),
    )


def _sizes(reading: Reading, scheme: Scheme, others: IntArray, reference: int) -> dict[str, IntArray]:
    """Chains with tokens of a group and of the reference, and their tokens of the two."""
    groups = np.append(scheme.group_of_category, -1)
    sizes = np.stack([np.bincount(groups[chain.category] + 1, minlength=len(scheme.groups) + 1) for chain in reading.chains])[
        :, 1:
    ]
    has_both = (sizes[:, others] > 0) & (sizes[:, [reference]] > 0)
    n_tokens = ((sizes[:, others] + sizes[:, [reference]]) * has_both).sum(axis=0)
    return {"n_chains": has_both.sum(axis=0), "n_tokens": n_tokens}
