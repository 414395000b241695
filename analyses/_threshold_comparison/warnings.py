"""What a reader of threshold_comparison must know before believing the tables."""

from typing import Final

import numpy as np
import pandas as pd

from analyses._sentences import small_sample
from analyses._statistics.position import BoolArray
from analyses._threshold_comparison.answers import LIVE, WORLD, Answers, Evidence, in_all_cells
from analyses._threshold_comparison.verdicts import NOT_COMPARED, NOTHING_DELETED
from analyses._threshold_comparison.words import MOST_NAMED, listing, percent, places

_SAME_LENGTH: Final = 0.01
"""Largest relative difference of two lengths that are called the same."""

_MUCH: Final = 0.2
_LITTLE: Final = 0.1
"""Threshold from which on a policy is told to evict much, and the share of a text that is little."""

_SAME_BUDGET: Final = 0.05
"""Largest difference of two shares of the tokens in a cache that are called the same budget."""


def warnings(evidence: Evidence, tables: dict[str, pd.DataFrame], *, margin: float | None, confidence: float) -> list[str]:
    """Sentences for ``AnalysisResult.warnings``."""
    thresholds = tables["thresholds"]
    judged = thresholds[thresholds["verdict"].notna()]
    said = _few(tables["between_questions"], len(evidence.answers.question_ids)) + _unlike(evidence.answers)
    if margin is None and len(judged):
        said.append(
            "no margin was stated, so no threshold can be called not worse; state the loss of accuracy that would not matter, "
            "such as --margin 0.02"
        )
    said += _refused(judged, tables["baselines"])
    said += _with_verdict(judged, NOTHING_DELETED, "nothing was deleted, so there is nothing to compare")
    said += _hardly_acting(thresholds[thresholds["reference"].isna()]) + _undecided(tables, confidence)
    said += _lengths(tables["baselines"]) + _budgets(thresholds)
    said += _missing(tables["left_out"])
    return said + _chains(evidence)


def _few(between_questions: pd.DataFrame, n_questions: int) -> list[str]:
    if n_questions == 1:
        return ["one question has no variation between questions; no interval and no p-value"]
    known = between_questions[between_questions["n_questions"] > 1]
    return small_sample(known) if len(known) else []


def _refused(judged: pd.DataFrame, baselines: pd.DataFrame) -> list[str]:
    said = _with_verdict(
        judged,
        NOT_COMPARED,
        "answers are cut off (length or loop) more or less often than at threshold 0, beyond chance (p 0.05 or less, by "
        "question), so that accuracy is not compared; let the answers be longer",
    )
    cut = baselines[baselines["verdict"] == NOT_COMPARED]
    if len(cut):
        said.append(
            f"{len(cut)} of {len(baselines)} comparisons with baselines are not made, since truncation differs there too"
        )
    return said


def _hardly_acting(own: pd.DataFrame) -> list[str]:
    """Name the policies that evicted next to nothing, since what they protect is most of a text."""
    rows = own[(own["reading"] == LIVE) & (own["threshold"] >= _MUCH) & (own["share_of_tokens_kept"] > 1 - _LITTLE)]
    return [
        f"{row['strategy']} at {row['threshold']:g} kept {percent(row['share_of_tokens_kept'])} of a text: with what it "
        "protects, short texts hardly go beyond its budget, so that this says little about eviction; let them be longer"
        for row in rows.to_dict("records")
    ]


def _with_verdict(judged: pd.DataFrame, verdict: str, sentence: str) -> list[str]:
    """Name the thresholds of every strategy that have a verdict, those of many strategies and of baselines by their number."""
    rows = judged[judged["verdict"] == verdict]
    own = rows[rows["reference"].isna()]
    groups = list(own.groupby(["strategy", *WORLD], sort=False))
    names = [f"{' '.join(map(str, group))} at {places(found)}" for group, found in groups]
    if len(groups) > MOST_NAMED:
        names = [f"{_cells(len(own))} of {own['strategy'].nunique()} strategies"]
    if n_others := len(rows) - len(own):
        names.append(f"{_cells(n_others)} of baselines")
    return [f"{'; '.join(names)}: {sentence}"] if names else []


def _unlike(answers: Answers) -> list[str]:
    """Say which cells lack questions, chains or answers that others of the same reading have, and what is compared then."""
    is_there, is_common = np.isfinite(answers.outcomes["correct"]), in_all_cells(answers)
    worlds: dict[str, list[str]] = {}
    for world, cells in answers.cells.groupby(WORLD, sort=False):
        there = is_there[:, cells.index]
        lacking = cells[there.sum(axis=0) < there.any(axis=1).sum()]
        if lacking.empty:
            continue
        names = []
        for group in lacking.groupby(["strategy", "reference"], sort=False).groups.values():
            rows = lacking.loc[group]
            strategy, reference = rows[["strategy", "reference"]].iloc[0]
            name = f"{strategy} of the length of {reference}" if reference else strategy
            names.append(f"{name} at {places(rows)} has {_units(answers, is_there[:, rows.index])}")
        if len(names) > MOST_NAMED:
            names = [f"{_cells(len(lacking))} of {len(names)} strategies and baselines have fewer"]
        everything = np.array(there.any(axis=1))[:, None]
        sentence = (
            f"not every cell has answers to the same questions. Of {_units(answers, everything)}, {'; '.join(names)}. "
            "Differences are over what both cells have, the frontier is over what all have: "
            f"{_units(answers, is_common[:, cells.index])}"
        )
        worlds.setdefault(sentence, []).append(f"{world[0]} (restatements {world[1]})")
    return [f"{listing(names)}: {sentence}" for sentence, names in worlds.items()]


def _units(answers: Answers, is_there: BoolArray) -> str:
    """Count questions, chains and answers that are there in every column; (units, columns)."""
    units = np.flatnonzero(is_there.all(axis=1))
    chains = np.unique(answers.chain[units])
    n_questions = len(np.unique(answers.question[chains]))
    return f"{_count(n_questions, 'question')} ({_count(len(chains), 'chain')}, {_count(len(units), 'answer')})"


def _undecided(tables: dict[str, pd.DataFrame], confidence: float) -> list[str]:
    found = tables["undecided_left_out"]
    n_undecided, n_answers = int(found["n_undecided"].sum()), int(tables["answers"]["n_answers"].sum())
    if not n_undecided:
        return []
    counted = tables["thresholds"]
    level = 1 - confidence + 1e-12
    n_changed = int(((counted["p_adjusted"] <= level) != (found["p_adjusted"] <= level)).sum())
    changes = f"changes {n_changed} of the verdicts better and worse" if n_changed else "changes no verdict better or worse"
    return [f"{n_undecided} of {n_answers} answers could not be judged and count as not correct; leaving them out {changes}"]


def _lengths(baselines: pd.DataFrame) -> list[str]:
    baselines = baselines[baselines["reading"] != LIVE]
    ours, theirs = baselines["tokens_kept"], baselines["tokens_kept_of_baseline"]
    differing = baselines[(ours - theirs).abs() > _SAME_LENGTH * ours]
    return [
        f"{baseline} keeps {percent(rows['tokens_kept_of_baseline'].sum() / rows['tokens_kept'].sum())} as many tokens as "
        f"{strategy} in {_cells(len(rows))} in which they differ by more than {percent(_SAME_LENGTH)}: there they are not "
        "compared at the same length"
        for (strategy, baseline), rows in differing.groupby(["strategy", "baseline"], sort=False)
    ]


def _budgets(thresholds: pd.DataFrame) -> list[str]:
    """Say where a policy and its baseline leave different shares of the thinking in the cache."""
    live = thresholds[(thresholds["reading"] == LIVE) & (thresholds["threshold"] > 0)]
    of_baselines = live[live["reference"].notna()].rename(columns={"strategy": "baseline", "reference": "strategy"})
    shares = ["strategy", "threshold", "share_of_tokens_kept"]
    pairs = of_baselines.merge(live.loc[live["reference"].isna(), shares], on=shares[:2], suffixes=("_of_baseline", ""))
    gap = (pairs["share_of_tokens_kept_of_baseline"] - pairs["share_of_tokens_kept"]).abs()
    found = []
    for (strategy, baseline), rows in pairs[gap > _SAME_BUDGET].groupby(["strategy", "baseline"], sort=False):
        theirs, ours = (rows[name].mean() for name in ("share_of_tokens_kept_of_baseline", "share_of_tokens_kept"))
        found.append(
            f"{baseline} has {percent(theirs)} of the tokens of its thinking in the cache when that ends, {strategy} "
            f"{percent(ours)}, in {_cells(len(rows))} in which they differ by more than {percent(_SAME_BUDGET)}: there they "
            "are not compared at the same budget"
        )
    return found


def _missing(left_out: pd.DataFrame) -> list[str]:
    if left_out.empty:
        return []
    return [
        f"{left_out['count'].sum()} answers have no counterpart at the threshold that they are compared with (table left_out); "
        "differences are over the answers that have"
    ]


def _chains(evidence: Evidence) -> list[str]:
    said = []
    if missing := evidence.exclusions.get("not_evaluated"):
        said.append(f"{missing} chains of the run have no answers; the tables do not speak for them")
    if missing := evidence.exclusions.get("no_gold_answer"):
        n_questions = len(evidence.every.question_ids) - len(evidence.answers.question_ids)
        has = "have" if n_questions != 1 else "has"
        said.append(
            f"{missing} chains have no gold answer ({n_questions} of the questions {has} none); they count in same_as_chain "
            "and nowhere else"
        )
    return said


def _cells(count: int) -> str:
    return _count(count, "cell")


def _count(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count} {what}s"
