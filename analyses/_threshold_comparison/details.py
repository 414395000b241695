"""Detail tables of threshold_comparison: what stands beside the verdicts, and what they rest on."""

from typing import Final

import numpy as np
import pandas as pd

from analyses._statistics.families import adjust
from analyses._statistics.position import BoolArray
from analyses._statistics.power import detectable_effect, questions_needed
from analyses._statistics.trend import page_test, slope_weights, slopes
from analyses._threshold_comparison.answers import CELL, GROUP, LIVE, Answers, Evidence
from analyses._threshold_comparison.comparisons import TRUNCATION, labels
from analyses._threshold_comparison.sample import COUNTS, INTERVAL, AnswerSample
from reasoning_anatomy.types import FloatArray, IntArray

_REASONS: Final = ("eos", "stop_string", "length", "loop")
_VERDICTS: Final = ("correct", "wrong", "undecided")
_TREND: Final = ["slope", "ci_low", "ci_high", "p_value", "page_l", "page_p_falling"]
_TREND_COUNTS: Final = ["n_thresholds", "n_questions", "n_incomplete"]


def trend(sample: AnswerSample, refused: BoolArray) -> pd.DataFrame:
    """One row per group with two or more comparable thresholds: slope of accuracy over the threshold, and Page's L.

    Over the questions that have answers at all of them. ``slope`` is the change of accuracy from threshold 0 to 1 on a straight
    line through the thresholds; ``page_p_falling`` is one-sided.
    """
    answers = sample.answers
    accuracy = answers.by_question(answers.outcomes["correct"])
    rows, scaled = [], []
    for group, cells in answers.cells[~refused].groupby(GROUP, sort=False):
        if len(cells) < 2:
            continue
        facts, slope = _trend_of(accuracy[:, cells.index], cells["threshold"].to_numpy(dtype=np.float64))
        rows.append({**dict(zip(GROUP, group, strict=True)), **facts})
        scaled.append(slope)
    if not rows:
        return pd.DataFrame(columns=[*GROUP, *_TREND, *_TREND_COUNTS])
    found, table = sample.bounded(np.stack(scaled, axis=1)), pd.DataFrame(rows)
    ends = {name: found[column] * table["reach"] for name, column in zip(_TREND[:3], INTERVAL, strict=True)}
    table = table.assign(**ends, p_value=found["p_value"], n_questions=found["n_questions"])
    return _without_empty(table)[[*GROUP, *_TREND, *_TREND_COUNTS]]


def _trend_of(accuracy: FloatArray, places: FloatArray) -> tuple[dict[str, float], FloatArray]:
    """Page's L of one group, and the slope of every question as a share of the steepest there can be; NaN = incomplete."""
    is_complete = np.isfinite(accuracy).all(axis=1)
    reach = float(np.abs(slope_weights(places)).sum() / 2)
    slope = np.full(len(accuracy), np.nan)
    slope[is_complete] = slopes(accuracy[is_complete], places) / reach
    statistic, p_value = page_test(accuracy[is_complete][:, ::-1])
    facts = {"reach": reach, "page_l": statistic, "page_p_falling": p_value}
    return {**facts, "n_thresholds": len(places), "n_incomplete": int((~is_complete).sum())}, slope


def answer_counts(evidence: Evidence) -> pd.DataFrame:
    """Questions, chains and answers of every cell, by verdict and by finish reason; those without a gold answer among them."""
    table = evidence.table
    is_verdict = {f"n_{verdict}": table["verdict"].isin([verdict]) for verdict in _VERDICTS}
    is_reason = {f"n_{reason}": table["finish_reason"].isin([reason]) for reason in _REASONS}
    marks = table[CELL].assign(n_answers=1, **is_verdict, n_without_gold=table["verdict"].isna(), **is_reason)
    units = table.groupby(CELL, sort=False)[["question_id", "chain_id"]].nunique()
    units = units.rename(columns={"question_id": "n_questions", "chain_id": "n_chains"})
    counts = units.join(marks.groupby(CELL, sort=False).sum().astype(np.int64))
    cells = evidence.every.cells
    found = counts.reindex(pd.MultiIndex.from_frame(cells[CELL])).reset_index(drop=True)
    return pd.concat([labels(cells), found], axis=1)


def truncation(answers: Answers, zero: pd.DataFrame) -> pd.DataFrame:
    """Share of answers that are cut off, there and at threshold 0, and whether the two differ beyond chance."""
    found = zero[[*TRUNCATION, "is_cut_off", *COUNTS]].rename(
        columns={"truncated_there": "truncated_at_zero", "is_cut_off": "differs"}
    )
    return pd.concat([labels(answers.cells.loc[zero["first"]]), found], axis=1)


def undecided_left_out(sample: AnswerSample, refused: BoolArray) -> pd.DataFrame:
    """Accuracy and difference over decided answers only: what it matters that undecided ones count as not correct."""
    outcomes = sample.answers.outcomes
    is_undecided = outcomes["undecided"] == 1
    table = _shares_with_differences(sample, np.where(is_undecided, np.nan, outcomes["correct"]), refused)
    return table.assign(n_undecided=is_undecided.sum(axis=0))


def same_as_chain(everyone: AnswerSample, answers: Answers, refused: BoolArray) -> pd.DataFrame:
    """How often the answer is that of the chain itself, right or wrong, in all chains; ``refused`` are cells of ``answers``."""
    keys = pd.MultiIndex.from_frame(answers.cells.loc[refused, CELL])
    is_refused = pd.MultiIndex.from_frame(everyone.answers.cells[CELL]).isin(keys)
    return _shares_with_differences(everyone, everyone.answers.outcomes["same_as_chain"], is_refused)


def nll_gold(sample: AnswerSample) -> pd.DataFrame:
    """Mean nll of the gold answer in nats per token, and its difference from threshold 0; positive = less likely."""
    answers = sample.answers
    nll = answers.outcomes["nll_gold"]
    tested = np.flatnonzero(answers.cells["threshold"] > 0)
    found = sample.changes(nll[:, tested] - nll[:, answers.at_zero[tested]])
    return _beside(answers, sample.changes(nll), found, tested)


def written_length(sample: AnswerSample) -> pd.DataFrame:
    """Mean number of tokens of the texts that were written anew, and its difference from threshold 0; positive = longer.

    Paired by question; Holm over thresholds. Texts that are cut off count with what they have.
    """
    answers = sample.answers
    is_live = (answers.cells["reading"] == LIVE).to_numpy()
    length = np.where(np.isfinite(answers.outcomes["correct"]) & is_live, answers.outcomes["tokens_generated"], np.nan)
    tested = np.flatnonzero((answers.cells["threshold"] > 0) & is_live)
    found = sample.changes(length[:, tested] - length[:, answers.at_zero[tested]])
    return _beside(answers, sample.changes(length), found, tested)[is_live].reset_index(drop=True)


def between_questions(sample: AnswerSample, zero: pd.DataFrame, *, term: str, margin: float | None) -> pd.DataFrame:
    """How far questions differ in their difference from threshold 0, and what so many of them could show.

    ``detectable_effect``: smallest mean found with 80 % power. ``questions_to_find_margin``: number of questions that find a
    difference as large as the margin with 80 % power; ``questions_to_rule_out_margin``: number that rule out a loss of the
    margin with 80 % power if there is none.
    """
    confidence = sample.confidence
    spread = pd.DataFrame({"term": term, "n_questions": zero["n_questions"], "mean": zero["estimate"]})
    spread["sd"] = zero["sd_questions"].where(~zero["is_cut_off"])
    pairs = list(zip(spread["sd"], spread["n_questions"], strict=True))
    spread["detectable_effect"] = [detectable_effect(sd, n, confidence=confidence) for sd, n in pairs]
    if margin is not None:
        spread["margin"] = margin
        spread["questions_to_find_margin"] = [questions_needed(sd, margin, confidence=confidence) for sd, _ in pairs]
        spread["questions_to_rule_out_margin"] = [
            questions_needed(sd, margin, confidence=confidence, sides=1) for sd, _ in pairs
        ]
    return pd.concat([labels(sample.answers.cells.loc[zero["first"]]), spread], axis=1)


def per_question(answers: Answers) -> pd.DataFrame:
    """Accuracy of every question in every cell of a strategy, and its number of answers; baselines are not in it."""
    cells = answers.cells[answers.cells["reference"] == ""]
    correct = answers.outcomes["correct"][:, cells.index]
    accuracy, counts = answers.by_question(correct), answers.answers_per_question(correct)
    n_questions = len(answers.question_ids)
    table = labels(cells.loc[cells.index.repeat(n_questions)]).assign(
        question_id=list(answers.question_ids) * len(cells), accuracy=accuracy.T.ravel(), n_answers=counts.T.ravel()
    )
    return table[table["n_answers"] > 0].reset_index(drop=True)


def left_out(answers: Answers) -> pd.DataFrame:
    """Answers that have no counterpart at threshold 0, or none at this threshold, in every cell that has such."""
    is_there = np.isfinite(answers.outcomes["correct"])
    at_zero = is_there[:, answers.at_zero]
    table = labels(answers.cells).assign(
        no_answer_at_threshold_0=(is_there & ~at_zero).sum(axis=0),
        no_answer_at_this_threshold=(at_zero & ~is_there).sum(axis=0),
    )
    long = table.melt(id_vars=CELL, var_name="reason", value_name="count")
    return long[long["count"] > 0].reset_index(drop=True)


def _shares_with_differences(sample: AnswerSample, values: FloatArray, refused: BoolArray) -> pd.DataFrame:
    """Share in every cell, and its difference from threshold 0 if truncation does not differ."""
    answers = sample.answers
    tested = np.flatnonzero((answers.cells["threshold"] > 0) & ~refused)
    found = sample.differences(values[:, tested], values[:, answers.at_zero[tested]])
    return _beside(answers, sample.shares(values), found, tested)


def _beside(answers: Answers, levels: pd.DataFrame, found: pd.DataFrame, tested: IntArray) -> pd.DataFrame:
    """Put the level of every cell beside the difference that some of them have, corrected by Holm over thresholds."""
    families = answers.cells.loc[tested].reset_index(drop=True).groupby(GROUP, sort=False).ngroup()
    adjusted = found["p_value"].groupby(families).transform(lambda p: adjust(p.to_numpy(), "holm"))
    renamed = dict(zip(INTERVAL, ("difference", "difference_low", "difference_high"), strict=True))
    differences = found.assign(p_adjusted=adjusted).rename(columns=renamed)[[*renamed.values(), "p_value", "p_adjusted"]]
    differences = differences.set_index(tested).reindex(range(len(levels)))
    counts = [name for name in COUNTS if name in levels]
    return pd.concat([labels(answers.cells), levels[INTERVAL], differences, levels[counts]], axis=1)


def _without_empty(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(reference=table["reference"].where(table["reference"] != "", None))
