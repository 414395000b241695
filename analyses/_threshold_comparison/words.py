"""The finding of threshold_comparison in words, and what a reader must know before believing the tables."""

from collections.abc import Iterable, Sequence
from typing import Final

import pandas as pd

from analyses._sentences import Row, briefly, number, small_sample, with_interval
from analyses._threshold_comparison.answers import Evidence
from analyses._threshold_comparison.verdicts import NOT_COMPARED, NOT_WORSE, NOTHING_DELETED, VERDICTS

_SAME_LENGTH: Final = 0.01
"""Largest relative difference of two lengths that are called the same."""

_SPOKEN_OF: Final = ["reading", "restatements"]


def finding(thresholds: pd.DataFrame, baselines: pd.DataFrame, *, margin: float | None, confidence: float, command: str) -> str:
    """Say what was found, on a line for each strategy, in the first reading and form of restatements that it was swept in.

    Parameters
    ----------
    thresholds, baselines
        Detail tables of the result.
    margin
        Loss that would not matter, if it is stated.
    confidence
        Of the intervals.
    command
        What adds thresholds.
    """
    strategies = thresholds[thresholds["reference"].isna()]
    lines = []
    for strategy, rows in strategies.groupby("strategy", sort=False):
        first = rows.iloc[0]
        rows = _of(rows, first, _SPOKEN_OF)
        versus = _of(baselines[baselines["strategy"] == strategy], first, _SPOKEN_OF)
        lines.append(_of_one(rows, versus, margin=margin, confidence=confidence, command=command))
    return "\n".join(lines)


def warnings(evidence: Evidence, tables: dict[str, pd.DataFrame], *, margin: float | None, confidence: float) -> list[str]:
    """Sentences for ``AnalysisResult.warnings``."""
    thresholds = tables["thresholds"]
    judged = thresholds[thresholds["verdict"].notna()]
    said = _few(tables["between_questions"], len(evidence.answers.question_ids))
    if margin is None and len(judged):
        said.append(
            "no margin was stated, so no threshold can be called not worse; state the loss of accuracy that would not matter, "
            "such as --margin 0.02"
        )
    said += _refused(judged, tables["baselines"])
    said += _by_verdict(judged, NOTHING_DELETED, "nothing was deleted, so there is nothing to compare")
    said += _undecided(tables, confidence)
    said += _lengths(tables["baselines"])
    said += _missing(tables["left_out"])
    return said + _chains(evidence)


def _of_one(rows: pd.DataFrame, versus: pd.DataFrame, *, margin: float | None, confidence: float, command: str) -> str:
    zero = rows.iloc[0]
    who = f"{zero['strategy']} ({zero['reading']}, restatements {zero['restatements']})"
    interval = {"estimate": "accuracy", "ci_low": "accuracy_low", "ci_high": "accuracy_high", "n_questions": "n_questions"}
    level = with_interval({name: zero[column] for name, column in interval.items()}, confidence=confidence)
    judged = rows[rows["verdict"].notna()]
    if judged.empty:
        return f"{who}: accuracy {level} at threshold 0; there is no other threshold to compare, add some with: {command}"
    last = judged.iloc[-1]
    verdicts = _verdicts(judged, f" of {margin:g}" if margin is not None else "")
    said = f"{who}: accuracy {level} at threshold 0; compared with it, {verdicts}"
    if last["verdict"] != NOT_COMPARED:
        gap: Row = {"estimate": last["difference"], "ci_low": last["difference_low"], "ci_high": last["difference_high"]}
        kept = _percent(last["share_of_tokens_kept"])
        said += f"; at {last['threshold']:g} the difference is {briefly(gap)} with {kept} of the tokens kept"
    for baseline, found in versus.groupby("baseline", sort=False):
        said += f". Against {baseline} of the same length: {_verdicts(found, '')}"
    return f"{said}."


def _verdicts(rows: pd.DataFrame, of_margin: str) -> str:
    """List the thresholds of every verdict: ``undecided at 0.1 and 0.2, worse at 0.3``."""
    parts = []
    for verdict in VERDICTS:
        places = rows.loc[rows["verdict"] == verdict, "threshold"]
        if len(places):
            parts.append(
                f"{verdict}{of_margin if verdict == NOT_WORSE else ''} at {_listing(f'{place:g}' for place in places)}"
            )
    return ", ".join(parts)


def _few(between_questions: pd.DataFrame, n_questions: int) -> list[str]:
    if n_questions == 1:
        return ["one question has no variation between questions; no interval and no p-value"]
    known = between_questions[between_questions["n_questions"] > 1]
    return small_sample(known) if len(known) else []


def _refused(judged: pd.DataFrame, baselines: pd.DataFrame) -> list[str]:
    said = _by_verdict(
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


def _by_verdict(judged: pd.DataFrame, verdict: str, sentence: str) -> list[str]:
    """Name the thresholds of every strategy that have a verdict, those of baselines by their number."""
    rows = judged[judged["verdict"] == verdict]
    own = rows[rows["reference"].isna()]
    names = [
        f"{' '.join(str(name) for name in group)} at {_listing(f'{place:g}' for place in found['threshold'])}"
        for group, found in own.groupby(["strategy", *_SPOKEN_OF], sort=False)
    ]
    if n_others := len(rows) - len(own):
        names.append(f"{_cells(n_others)} of baselines")
    return [f"{'; '.join(names)}: {sentence}"] if names else []


def _undecided(tables: dict[str, pd.DataFrame], confidence: float) -> list[str]:
    found = tables["undecided_left_out"]
    n_undecided, n_answers = int(found["n_undecided"].sum()), int(tables["answers"]["n_answers"].sum())
    if not n_undecided:
        return []
    counted = tables["thresholds"]
    level = 1 - confidence + 1e-12
    n_changed = int(((counted["p_adjusted"] <= level) != (found["p_adjusted"] <= level)).sum())
    changes = f"changes {n_changed} of the verdicts better and worse" if n_changed else "changes no verdict better or worse"
    return [f"{n_undecided} of {n_answers} answers are undecided and count as not correct; leaving them out {changes}"]


def _lengths(baselines: pd.DataFrame) -> list[str]:
    ours, theirs = baselines["tokens_kept"], baselines["tokens_kept_of_baseline"]
    differing = baselines[(ours - theirs).abs() > _SAME_LENGTH * ours]
    return [
        f"{baseline} keeps {_percent(rows['tokens_kept_of_baseline'].sum() / rows['tokens_kept'].sum())} as many tokens as "
        f"{strategy} in {_cells(len(rows))} in which they differ by more than {_percent(_SAME_LENGTH)}: there they are not "
        "compared at the same length"
        for (strategy, baseline), rows in differing.groupby(["strategy", "baseline"], sort=False)
    ]


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


def _of(table: pd.DataFrame, row: "pd.Series[str]", names: Sequence[str]) -> pd.DataFrame:
    for name in names:
        table = table[table[name] == row[name]]
    return table


def _listing(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"


def _percent(share: float) -> str:
    return f"{number(100 * share).removesuffix('.00')}\N{NO-BREAK SPACE}%"
