"""An effect with restatements of the answer kept and stripped, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pandas as pd

from analyses._exclusions import most_left_out
from analyses._sample import QuestionSample
from analyses._statistics.families import adjust
from analyses._statistics.fieller import ratio_of_means
from analyses._statistics.questions import question_means
from reasoning_anatomy.types import RESULT_COLUMNS, FloatArray, IntArray

KEPT: Final = "kept"
STRIPPED: Final = "stripped"
DIFFERENCE: Final = "stripped - kept"
SHARE_LEFT: Final = "share left"
"""What is in the column ``restatements``."""

LABELS: Final = ["part", "annotator", "strategy", "restatements"]
"""Columns before those of every result."""


@dataclass(frozen=True, eq=False)
class Effects:
    """Effects of one part of the audit, on the same chains.

    Attributes
    ----------
    labels
        One row per effect: ``part, annotator, strategy, term``.
    question_ids
        Of every chain.
    kept, stripped
        (chains, effects) values with and without what restates the answer; NaN = the chain has none.
    n_tokens
        (chains, effects) tokens behind the values with it.
    exclusions
        Units left out, by reason.
    details
        Further tables about the part, by name.
    """

    labels: pd.DataFrame
    question_ids: tuple[str, ...]
    kept: FloatArray
    stripped: FloatArray
    n_tokens: IntArray
    exclusions: Mapping[str, int]
    details: Mapping[str, pd.DataFrame] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Part:
    """What one part of the audit found.

    Attributes
    ----------
    rows
        Of the main table.
    exclusions
        Units left out, by reason.
    details
        Further tables, by name.
    warnings
        What a reader must know.
    """

    rows: pd.DataFrame
    exclusions: Mapping[str, int]
    details: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    warnings: Sequence[str] = ()


def part_of(effects: Sequence[Effects], *, draws: int, confidence: float, seed: int) -> Part:
    """Compare effects on several sets of chains, one family of tests, with and without what restates the answer."""
    rows = pd.concat(
        [with_and_without(each, draws=draws, confidence=confidence, seed=seed) for each in effects], ignore_index=True
    )
    is_difference = rows["restatements"] == DIFFERENCE
    rows.loc[is_difference, "p_adjusted"] = adjust(rows.loc[is_difference, "p_value"].to_numpy(), "holm")
    names = dict.fromkeys(name for each in effects for name in each.details)
    details = {name: pd.concat([each.details[name] for each in effects], ignore_index=True) for name in names}
    return Part(rows, most_left_out([each.exclusions for each in effects]), details)


def with_and_without(effects: Effects, *, draws: int, confidence: float, seed: int) -> pd.DataFrame:
    """Compare effects with and without what restates the answer, over the chains that have a value for both.

    Returns
    -------
    Four rows per effect: kept, stripped, their difference and the share that is left (Fieller); none is adjusted yet.
    """
    sample = QuestionSample(effects.question_ids, draws, confidence, seed)
    is_paired = np.isfinite(effects.kept) & np.isfinite(effects.stripped)
    kept, stripped = (np.where(is_paired, values, np.nan) for values in (effects.kept, effects.stripped))
    parts = []
    for form, values in ((KEPT, kept), (STRIPPED, stripped), (DIFFERENCE, stripped - kept)):
        found = sample.summary(
            values, effects.labels.assign(restatements=form), n_tokens=effects.n_tokens, lowest=-np.inf, highest=np.inf
        )
        parts.append(found.assign(p_adjusted=np.nan))
    left, low, high = ratio_of_means(
        question_means(stripped, sample.questions), question_means(kept, sample.questions), confidence=confidence
    )
    share = parts[0].assign(estimate=left, ci_low=low, ci_high=high, p_value=np.nan, restatements=SHARE_LEFT)
    return in_order([*parts, share])


def in_order(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put the rows of every effect together; each part has one row for each of them, in the same order."""
    rows = pd.concat([part.assign(number=range(len(part))) for part in parts], ignore_index=True)
    return rows.sort_values("number", kind="stable", ignore_index=True)[[*LABELS, *RESULT_COLUMNS]]
