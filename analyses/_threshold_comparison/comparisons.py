"""Comparisons of cells: with threshold 0 of the same strategy, and of a strategy with its baselines."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from analyses._statistics.families import adjust
from analyses._statistics.position import BoolArray
from analyses._threshold_comparison.answers import CELL, GROUP, Answers
from analyses._threshold_comparison.sample import AnswerSample
from analyses._threshold_comparison.verdicts import LEVEL_OF_TRUNCATION, because, verdict
from reasoning_anatomy.types import FloatArray, IntArray

ZERO: Final = "threshold 0"

TRUNCATION: Final = ["truncated", "truncated_there", "p_truncated"]
"""Columns of `compared` on the answers that are cut off."""

_BLANK: Final = ("estimate", "ci_low", "ci_high", "lower_bound")
_TESTS: Final = ("p_value", "p_mid", "p_not_worse")


def with_zero(sample: AnswerSample, *, margin: float | None) -> pd.DataFrame:
    """Compare every cell with threshold 0 of its group; Holm over the thresholds of a group. `compared` says the columns."""
    cells = sample.answers.cells
    first = np.flatnonzero(cells["threshold"] > 0)
    return compared(sample, first, sample.answers.at_zero[first], cells.loc[first, GROUP], [ZERO] * len(first), margin=margin)


def with_baselines(sample: AnswerSample) -> pd.DataFrame:
    """Compare every strategy with its baselines at the same threshold, and so at the same achieved length.

    Holm over the thresholds of a strategy and a baseline; the label of the baseline is in the column ``baseline``.
    """
    cells = sample.answers.cells.reset_index(names="cell")
    baselines = cells[(cells["reference"] != "") & (cells["threshold"] > 0)]
    theirs = baselines.drop(columns="reference").rename(columns={"strategy": "baseline", "cell": "second"})
    theirs = theirs.assign(strategy=baselines["reference"])
    ours = cells[cells["reference"] == ""].rename(columns={"cell": "first"})
    pairs = ours.merge(theirs, on=["strategy", "reading", "restatements", "threshold"])
    first, second = (pairs[name].to_numpy(dtype=np.int64) for name in ("first", "second"))
    family = pairs[["strategy", "reading", "restatements", "baseline"]]
    found = compared(sample, first, second, family, pairs["baseline"].tolist(), margin=None)
    return found.assign(baseline=pairs["baseline"].tolist())


def compared(
    sample: AnswerSample,
    first: IntArray,
    second: IntArray,
    family: pd.DataFrame,
    names: Sequence[str],
    *,
    margin: float | None,
) -> pd.DataFrame:
    """Compare the accuracy of pairs of cells.

    Parameters
    ----------
    sample
        Of the answers with a gold answer.
    first, second
        (pairs,) numbers of cells.
    family
        (pairs,) rows that are alike belong to one family of tests.
    names
        (pairs,) what to call the second cell.
    margin
        Loss that would not matter.

    Returns
    -------
    One row per pair: ``first``, ``second``, what `AnswerSample.differences` gives, ``p_adjusted`` and ``p_not_worse_adjusted``
    (Holm); ``truncated``, ``truncated_there`` and ``p_truncated``; ``is_cut_off`` (the two differ, so there is no difference
    and no p-value) and ``is_untouched`` (the first cell deletes nothing, so there is no p-value); ``verdict`` and ``because``.
    """
    correct, cut_off = sample.answers.outcomes["correct"], sample.answers.outcomes["truncated"]
    table = sample.differences(correct[:, first], correct[:, second], margin=margin)
    cut = sample.differences(cut_off[:, first], cut_off[:, second])
    paired = np.isfinite(cut_off[:, first] - cut_off[:, second])
    p_truncated = cut["p_mid"].fillna(cut["p_value"])
    table = table.assign(
        first=first,
        second=second,
        truncated=sample.answers.means(np.where(paired, cut_off[:, first], np.nan)),
        truncated_there=sample.answers.means(np.where(paired, cut_off[:, second], np.nan)),
        p_truncated=p_truncated,
        is_cut_off=p_truncated <= LEVEL_OF_TRUNCATION,
        is_untouched=untouched(sample.answers)[first],
    )
    table.loc[table["is_cut_off"], [*_BLANK, *_TESTS]] = np.nan
    table.loc[table["is_untouched"], [*_TESTS]] = np.nan
    families = family.reset_index(drop=True).groupby(list(family.columns), sort=False).ngroup()
    for name in ("p_value", "p_not_worse"):
        adjusted = table[name].groupby(families).transform(lambda p: adjust(p.to_numpy(), "holm"))
        table[f"{name.removesuffix('_value')}_adjusted"] = adjusted
    rows = table.to_dict("records")
    confidence = sample.confidence
    table["verdict"] = [verdict(row, margin=margin, confidence=confidence) for row in rows]
    table["because"] = [
        because(row, what=name, margin=margin, confidence=confidence)
        for row, name in zip(table.to_dict("records"), names, strict=True)
    ]
    return table


def untouched(answers: Answers) -> BoolArray:
    """(cells,) whether every chain has as many steps and tokens as at threshold 0, so that nothing was deleted."""
    return np.asarray(~_is_changed(answers).any(axis=0))


def n_untouched(answers: Answers) -> IntArray:
    """(cells,) chains of which nothing was deleted."""
    answered = np.isfinite(answers.by_chain(answers.outcomes["tokens_after"]))
    changed = answers.by_chain(_is_changed(answers).astype(float)) > 0
    return np.asarray((answered & ~changed).sum(axis=0))


def _is_changed(answers: Answers) -> BoolArray:
    changes: list[FloatArray] = []
    for name in ("steps_after", "tokens_after"):
        length = answers.outcomes[name]
        changes.append(np.nan_to_num(length - length[:, answers.at_zero]))
    return np.asarray((changes[0] != 0) | (changes[1] != 0))


def labels(cells: pd.DataFrame) -> pd.DataFrame:
    """`CELL` of every row, with a missing reference if there is none."""
    found = cells[CELL].reset_index(drop=True)
    return found.assign(reference=found["reference"].where(found["reference"] != "", None))
