"""Comparisons of cells: with threshold 0, of a strategy with its baselines, and of restatements stripped with those kept."""

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
_TESTS: Final = ("p_value", "p_exact", "p_not_worse")


def with_zero(sample: AnswerSample, *, margin: float | None) -> pd.DataFrame:
    """Compare every cell with threshold 0 of its group; Holm over the thresholds of a group. `compared` says the columns."""
    cells = sample.answers.cells
    first = np.flatnonzero(cells["threshold"] > 0)
    second = sample.answers.at_zero[first]
    is_same = _is_same(sample.answers, first, second)
    return compared(sample, first, second, cells.loc[first, GROUP], [f"at {ZERO}"] * len(first), is_same=is_same, margin=margin)


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
    names = [f"with {baseline}" for baseline in pairs["baseline"]]
    is_same = _is_same(sample.answers, first, sample.answers.at_zero[first])
    found = compared(sample, first, second, family, names, is_same=is_same, margin=None)
    return found.assign(baseline=pairs["baseline"].tolist())


def with_restatements(sample: AnswerSample) -> pd.DataFrame:
    """Compare every cell of a strategy without restatements with the one that has them; Holm over thresholds, 0 included."""
    same = ["strategy", "reading", "threshold"]
    cells = sample.answers.cells.reset_index(names="cell")
    own = cells[cells["reference"] == ""]
    stripped, kept = (own.loc[own["restatements"] == form, [*same, "cell"]] for form in ("stripped", "kept"))
    pairs = stripped.merge(kept, on=same, suffixes=("", "_kept"))
    first, second = (pairs[name].to_numpy(dtype=np.int64) for name in ("cell", "cell_kept"))
    is_same = _is_same(sample.answers, first, second)
    return compared(sample, first, second, pairs[same[:-1]], ["with restatements"] * len(first), is_same=is_same, margin=None)


def compared(
    sample: AnswerSample,
    first: IntArray,
    second: IntArray,
    family: pd.DataFrame,
    names: Sequence[str],
    *,
    is_same: BoolArray,
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
        (pairs,) where the second answer is from, such as ``at threshold 0``.
    is_same
        (pairs,) whether nothing is deleted from any chain that is there in the other, so that there is nothing to test.
    margin
        Loss that would not matter.

    Returns
    -------
    One row per pair: ``first``, ``second``, what `AnswerSample.differences` gives, ``p_adjusted``, ``p_exact_adjusted`` and
    ``p_not_worse_adjusted`` (Holm); ``truncated``, ``truncated_there`` and ``p_truncated``; ``is_cut_off`` (the two differ, so
    there is no difference and no p-value) and ``is_untouched`` (so there is no p-value); ``verdict`` and ``because``.
    """
    correct, cut_off = sample.answers.outcomes["correct"], sample.answers.outcomes["truncated"]
    table = sample.differences(correct[:, first], correct[:, second], margin=margin)
    cut = sample.differences(cut_off[:, first], cut_off[:, second])
    paired = np.isfinite(cut_off[:, first] - cut_off[:, second])
    table = table.assign(
        first=first,
        second=second,
        truncated=sample.answers.means(np.where(paired, cut_off[:, first], np.nan)),
        truncated_there=sample.answers.means(np.where(paired, cut_off[:, second], np.nan)),
        p_truncated=cut["p_value"],
        is_cut_off=cut["p_value"] <= LEVEL_OF_TRUNCATION,
        is_untouched=is_same,
    )
    table.loc[table["is_cut_off"], [*_BLANK, *_TESTS]] = np.nan
    table.loc[table["is_untouched"], [*_TESTS]] = np.nan
    families = family.reset_index(drop=True).groupby(list(family.columns), sort=False).ngroup()
    for name in _TESTS:
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


def n_untouched(answers: Answers) -> IntArray:
    """(cells,) chains of which nothing was deleted."""
    answered = np.isfinite(answers.by_chain(answers.outcomes["tokens_after"]))
    changed = answers.by_chain(_is_changed(answers, np.arange(len(answers.cells)), answers.at_zero).astype(float)) > 0
    return np.asarray((answered & ~changed).sum(axis=0))


def _is_same(answers: Answers, first: IntArray, second: IntArray) -> BoolArray:
    """(pairs,) whether no chain has another length in the second cell of a pair."""
    return np.asarray(~_is_changed(answers, first, second).any(axis=0))


def _is_changed(answers: Answers, first: IntArray, second: IntArray) -> BoolArray:
    """(units, pairs) whether a chain has another number of steps or tokens in the second cell of a pair."""
    changes: list[FloatArray] = []
    for name in ("steps_after", "tokens_after"):
        length = answers.outcomes[name]
        changes.append(np.nan_to_num(length[:, first] - length[:, second]))
    return np.asarray((changes[0] != 0) | (changes[1] != 0))


def labels(cells: pd.DataFrame) -> pd.DataFrame:
    """`CELL` of every row, with a missing reference if there is none."""
    found = cells[CELL].reset_index(drop=True)
    return found.assign(reference=found["reference"].where(found["reference"] != "", None))
