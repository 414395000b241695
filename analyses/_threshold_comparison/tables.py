"""The tables of threshold_comparison: what the answers say of every cell of the sweep."""

from typing import Final

import numpy as np
import pandas as pd

from analyses._statistics.position import BoolArray
from analyses._threshold_comparison import details
from analyses._threshold_comparison.answers import CELL, LIVE, Answers, Evidence, in_all_cells
from analyses._threshold_comparison.comparisons import (
    TRUNCATION,
    ZERO,
    labels,
    n_untouched,
    with_baselines,
    with_restatements,
    with_zero,
)
from analyses._threshold_comparison.frontier import frontier_table
from analyses._threshold_comparison.sample import COUNTS, GAINS, INTERVAL, AnswerSample
from reasoning_anatomy.types import RESULT_COLUMNS, FloatArray, IntArray

MAIN: Final = "table"
"""Name of the main table among those of `all_tables`."""

ACCURACY: Final = "accuracy"
DIFFERENCE: Final = "difference from "
"""Terms of the main table; that of a difference ends with what the accuracy is compared with."""

_DIFFERENCE_COLUMNS: Final = dict(zip(INTERVAL, ("difference", "difference_low", "difference_high"), strict=True))
_POINT: Final = ["accuracy", "accuracy_low", "accuracy_high", "tokens_kept", "tokens_generated"]
_PEAK: Final = "peak_cache_tokens"
_JUDGED: Final = ["p_value", "p_exact", "p_adjusted", "p_exact_adjusted", *GAINS]


def all_tables(
    evidence: Evidence, *, draws: int, seed: int, confidence: float, margin: float | None
) -> dict[str, pd.DataFrame]:
    """Compare the cells of a sweep.

    Parameters
    ----------
    evidence
        The answers.
    draws, seed, confidence
        Of the bootstrap over questions.
    margin
        Loss of accuracy that would not matter; None = not stated.

    Returns
    -------
    `MAIN` and the detail tables by name; the first columns say which cell or group a row is about. ``restatements`` is among
    them only if a strategy was swept with restatements and without, ``written_length`` only if texts were written anew.
    """
    answers = evidence.answers
    sample = AnswerSample(answers, draws, confidence, seed)
    everyone = sample if evidence.every is answers else AnswerSample(evidence.every, draws, confidence, seed)
    accuracy = sample.shares(answers.outcomes["correct"])
    zero = with_zero(sample, margin=margin)
    baselines, restatements = with_baselines(sample), with_restatements(sample)
    refused = np.isin(np.arange(len(accuracy)), zero.loc[zero["is_cut_off"], "first"])
    thresholds = _thresholds(answers, accuracy, zero)
    return {
        MAIN: _main(answers, accuracy, zero, baselines),
        "thresholds": thresholds,
        "baselines": _baselines(answers, baselines),
        **({"restatements": _restatements(answers, restatements)} if len(restatements) else {}),
        **({"written_length": details.written_length(sample)} if LIVE in set(answers.cells["reading"]) else {}),
        "trend": details.trend(sample, refused),
        "frontier": _frontier(sample, refused),
        "answers": details.answer_counts(evidence),
        "truncation": details.truncation(answers, zero),
        "undecided_left_out": details.undecided_left_out(sample, refused),
        "same_as_chain": details.same_as_chain(everyone, answers, refused),
        "nll_gold": details.nll_gold(sample),
        "between_questions": details.between_questions(sample, zero, term=DIFFERENCE + ZERO, margin=margin),
        "per_question": details.per_question(answers),
        "left_out": details.left_out(answers),
    }


def _main(answers: Answers, accuracy: pd.DataFrame, zero: pd.DataFrame, baselines: pd.DataFrame) -> pd.DataFrame:
    """One row per cell and term, those of a cell together."""
    correct, tokens = answers.outcomes["correct"], answers.outcomes["tokens_after"]
    n_tokens = _total(answers, np.where(np.isfinite(correct), tokens, np.nan))
    cells = np.arange(len(accuracy))
    parts = [accuracy.assign(term=ACCURACY, cell=cells, p_value=np.nan, p_adjusted=np.nan, n_tokens=n_tokens)]
    for found, names in ((zero, [ZERO] * len(zero)), (baselines, baselines["baseline"])):
        first, second = found["first"].to_numpy(), found["second"].to_numpy()
        kept = np.where(np.isfinite(correct[:, first] - correct[:, second]), tokens[:, first], np.nan)
        parts.append(found.assign(term=[f"{DIFFERENCE}{name}" for name in names], cell=first, n_tokens=_total(answers, kept)))
    rows = pd.concat([part[["cell", *RESULT_COLUMNS]] for part in parts if len(part)], ignore_index=True)
    rows = rows.sort_values("cell", kind="stable", ignore_index=True)
    return pd.concat([labels(answers.cells.loc[rows["cell"]]), rows[list(RESULT_COLUMNS)]], axis=1)


def _thresholds(answers: Answers, accuracy: pd.DataFrame, zero: pd.DataFrame) -> pd.DataFrame:
    """One row per cell: what a reader asks first. ``answers_gained``: not correct at threshold 0, correct here."""
    is_counted = np.isfinite(answers.outcomes["correct"])

    def mean(name: str) -> FloatArray:
        return answers.means(np.where(is_counted, answers.outcomes[name], np.nan))

    judged = zero.rename(columns=_DIFFERENCE_COLUMNS).astype(dict.fromkeys(GAINS, "Int64"))
    judged = judged.set_index("first").reindex(range(len(accuracy)))
    compared = [
        *_DIFFERENCE_COLUMNS.values(), *_JUDGED, "lower_bound", "p_not_worse", "p_not_worse_adjusted", "verdict", "because",
        "method",
    ]  # fmt: skip
    table = labels(answers.cells).assign(
        accuracy=accuracy["estimate"],
        accuracy_low=accuracy["ci_low"],
        accuracy_high=accuracy["ci_high"],
        steps_kept=mean("steps_after"),
        tokens_kept=mean("tokens_after"),
        share_of_tokens_kept=mean("achieved_ratio"),
        tokens_generated=mean("tokens_generated"),
        **_known_peak(mean(_PEAK)),
    )
    return pd.concat([table, judged[compared]], axis=1).assign(
        truncated=mean("truncated"),
        undecided=mean("undecided"),
        states_answer=mean("states_answer"),
        n_chains_untouched=n_untouched(answers),
        **accuracy[COUNTS],
    )


def _baselines(answers: Answers, found: pd.DataFrame) -> pd.DataFrame:
    """One row per cell of a strategy and baseline: which is more accurate with as many tokens."""
    table = pd.concat([_labels_of(answers, found), _side_by_side(answers, found, "of_baseline")], axis=1)
    table.insert(1, "baseline", found["baseline"].to_numpy())
    return table


def _restatements(answers: Answers, found: pd.DataFrame) -> pd.DataFrame:
    """One row per cell of a strategy: how much accuracy is lost with what states the answer."""
    beside = _side_by_side(answers, found, "with_restatements")
    return pd.concat([_labels_of(answers, found).drop(columns="restatements"), beside], axis=1)


def _labels_of(answers: Answers, found: pd.DataFrame) -> pd.DataFrame:
    return labels(answers.cells.loc[found["first"]]).drop(columns="reference")


def _side_by_side(answers: Answers, found: pd.DataFrame, other: str) -> pd.DataFrame:
    """Accuracy and tokens of both cells of a pair, over the answers that both have, and how they compare."""
    first, second = found["first"].to_numpy(), found["second"].to_numpy()
    correct = answers.outcomes["correct"]
    is_paired = np.isfinite(correct[:, first] - correct[:, second])
    table = pd.DataFrame(index=range(len(found)))
    for name, outcome in (("accuracy", "correct"), ("tokens_kept", "tokens_after")):
        for column, cells in ((name, first), (f"{name}_{other}", second)):
            table[column] = answers.means(np.where(is_paired, answers.outcomes[outcome][:, cells], np.nan))
    compared = [*_DIFFERENCE_COLUMNS.values(), *_JUDGED, "verdict", "because", "method", *TRUNCATION, *COUNTS]
    beside = found.rename(columns=_DIFFERENCE_COLUMNS)[compared].rename(columns={"truncated_there": f"truncated_{other}"})
    return pd.concat([table, beside.reset_index(drop=True)], axis=1)


def _frontier(sample: AnswerSample, refused: BoolArray) -> pd.DataFrame:
    """Accuracy and cost of every cell, and whether no other of its reading beats it in all of them; see `frontier_table`.

    Over the answers that all cells of a reading and form of restatements have, so that all are of the same questions.
    """
    answers, is_common = sample.answers, in_all_cells(sample.answers)

    def over_common(name: str) -> FloatArray:
        return np.where(is_common, answers.outcomes[name], np.nan)

    accuracy = sample.shares(over_common("correct"))
    points = labels(answers.cells).assign(
        accuracy=accuracy["estimate"],
        accuracy_low=accuracy["ci_low"],
        accuracy_high=accuracy["ci_high"],
        tokens_kept=answers.means(over_common("tokens_after")),
        tokens_generated=answers.means(over_common("tokens_generated")),
        peak_cache_tokens=answers.means(over_common(_PEAK)),
        is_compared=~refused,
        **accuracy[COUNTS],
    )
    peak = _known_peak(points[_PEAK].to_numpy())
    return frontier_table(points)[[*CELL, *_POINT, *peak, "tokens", "is_compared", "on_frontier", *COUNTS]]


def _known_peak(values: FloatArray) -> dict[str, FloatArray]:
    """Name the column with the mean peak of the cache, if it is known of any cell."""
    return {_PEAK: values} if np.isfinite(values).any() else {}


def _total(answers: Answers, values: FloatArray) -> IntArray:
    """Sum over chains of the mean over their answers; (units, columns) -> (columns,)."""
    return np.asarray(np.nansum(answers.by_chain(values), axis=0).round().astype(np.int64))
