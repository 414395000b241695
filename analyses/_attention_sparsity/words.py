"""The finding of attention_sparsity in words, and what a reader must know before believing the tables."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd

from analyses._attention_sparsity.evidence import SCORER, Evidence
from analyses._attention_sparsity.tables import ALL, EFFECT, GIVEN_LENGTH, LOG_LENGTH, RAW
from analyses._sentences import FEW_QUESTIONS, Row, direction, has_interval, number, small_sample
from reasoning_anatomy.verdicts import AGAINST, CLEAR, UNDECIDED

_HOW: Final = {1: "more", -1: "less"}


def finding(table: pd.DataFrame, length: pd.DataFrame | None, *, confidence: float) -> str:
    """Say what was found: on the first line by the scorer without options, or the first label if there is none such.

    Parameters
    ----------
    table
        The main table.
    length
        The detail table of that name, if any question has both kinds.
    confidence
        Of the intervals; 1 - confidence is the level at which anything is claimed, after correction.
    """
    labels = list(dict.fromkeys(table["scorer"]))
    spoken_of = SCORER if SCORER in labels else labels[0]
    rows = {term: _of(table, term) for term in (RAW, GIVEN_LENGTH, EFFECT, ALL)}
    if length is None or not rows[RAW][spoken_of]["n_questions"]:
        return _without_pairs(rows[ALL][spoken_of], spoken_of, confidence)
    said = [_on_the_same_question({term: rows[term][spoken_of] for term in rows}, spoken_of, confidence)]
    said.append(_family(rows[GIVEN_LENGTH], confidence) + _caveat(_of(length, LOG_LENGTH)[spoken_of]))
    return "\n".join(said)


def warnings(evidence: Mapping[str, Evidence], tables: Mapping[str, pd.DataFrame], table: pd.DataFrame) -> list[str]:
    """Sentences for ``AnalysisResult.warnings``, from all tables and the main one."""
    said = [f"{label}: no chain can be used" for label, found in evidence.items() if not found.chains.chain_ids]
    said += _missing_intervals(table)
    if "between_questions" in tables:
        said += small_sample(tables["between_questions"])
    largest = max(evidence.values(), key=lambda found: len(found.chains.chain_ids)).exclusions
    alone = {kind: largest.get(f"no_{kind}_chain_on_the_question", 0) for kind in ("correct", "wrong")}
    if any(alone.values()):
        said.append(
            f"{alone['correct']} wrong chains are on questions without a correct one, {alone['wrong']} correct chains on "
            "questions without a wrong one: they count only in the terms of all questions, which are confounded with the "
            "difficulty of the questions"
        )
    for reason, what in (("no_verdict", "have no is_correct"), ("not_measured", "are not measured")):
        if count := largest.get(reason):
            said.append(f"{count} chains {what}; the tables do not speak for them")
    return said


def _of(table: pd.DataFrame, term: str) -> dict[str, Row]:
    return {str(row["scorer"]): row for row in table[table["term"] == term].to_dict("records")}


def _on_the_same_question(rows: Mapping[str, Row], label: str, confidence: float) -> str:
    raw, given, effect = rows[RAW], rows[GIVEN_LENGTH], rows[EFFECT]
    if not given["n_questions"]:
        what = f"difference {_with_interval(raw, confidence)}, and too few chains to hold their length constant"
        return f"{_claim(raw, confidence)}, by {label}: {what}."
    said = f"{_claim(given, confidence)}, by {label}: difference {_with_interval(given, confidence)} with length held constant."
    said += f" Without that it is {_briefly(raw)}"
    if has_interval(raw) and has_interval(given) and direction(raw) and not direction(given):
        said += ", so that length may be all of it"
    if np.isfinite(effect["estimate"]):
        size = f" ({number(effect['ci_low'])} to {number(effect['ci_high'])})" if has_interval(effect) else ""
        said += (
            f"; with length held constant, {number(effect['estimate'])}{size} standard deviations between chains of one kind "
            "on one question"
        )
    return f"{said}."


def _claim(row: Row, confidence: float) -> str:
    if int(row["n_questions"]) == 1:
        more = _more_or_less(row)
        return f"{UNDECIDED}: on the one question that has both, wrong chains attend {more} sparsely than correct ones"
    if _is_found(row, confidence):
        word = CLEAR if row["estimate"] > 0 else AGAINST
        return f"{word}: wrong chains attend {_more_or_less(row)} sparsely than correct ones on the same question"
    return f"{UNDECIDED}: it is open whether wrong chains attend more sparsely than correct ones on the same question"


def _family(rows: Mapping[str, Row], confidence: float) -> str:
    if len(rows) == 1:
        return ""
    found = [row for row in rows.values() if _is_found(row, confidence)]
    more = sum(row["estimate"] > 0 for row in found)
    return (
        f"Corrected for their number, {more} of {len(rows)} measures say that wrong chains attend more sparsely, and "
        f"{len(found) - more} that they attend less sparsely. "
    )


def _caveat(length: Row) -> str:
    ratio = float(np.exp(length["estimate"]))
    return (
        f"Wrong chains are {number(ratio)} times as long as correct ones on the same question. Nobody chose at random which "
        "chains are wrong, so this is no evidence that sparse attention makes them wrong."
    )


def _without_pairs(row: Row, label: str, confidence: float) -> str:
    said = f"{UNDECIDED}: no question has both a correct and a wrong chain, so that no two can be compared on the same question"
    if not np.isfinite(row["estimate"]):
        return f"{said}."
    return (
        f"{said}; over all questions the difference is {_with_interval(row, confidence)} by {label} with length held constant, "
        "which may come from the difficulty of the questions."
    )


def _is_found(row: Row, confidence: float) -> bool:
    return bool(row["p_adjusted"] <= 1 - confidence + 1e-12)


def _more_or_less(row: Row) -> str:
    return _HOW[1 if row["estimate"] > 0 else -1]


def _three(value: float) -> str:
    """Three digits after the point: differences of shares are small."""
    return f"{value + 0.0:.3f}".replace("-0.000", "0.000").replace("-", "\N{MINUS SIGN}")


def _with_interval(row: Row, confidence: float) -> str:
    n = int(row["n_questions"])
    questions = f"{'only ' if n < FEW_QUESTIONS else ''}{n} question{'s' if n > 1 else ''}"
    if not has_interval(row):
        return f"{_three(row['estimate'])} ({questions}, no interval)"
    ends = f"{_three(row['ci_low'])} to {_three(row['ci_high'])}"
    return f"{_three(row['estimate'])} ({100 * confidence:.6g}\N{NO-BREAK SPACE}% interval {ends}, {questions})"


def _briefly(row: Row) -> str:
    ends = f" ({_three(row['ci_low'])} to {_three(row['ci_high'])})" if has_interval(row) else ""
    return _three(row["estimate"]) + ends


def _missing_intervals(table: pd.DataFrame) -> list[str]:
    """Say why rows of the main table have no interval; one sentence for all rows of one reason."""
    reasons: dict[str, list[str]] = {}
    for row in table.to_dict("records"):
        if not has_interval(row):
            reasons.setdefault(_why_none(row), []).append(str(row["term"]))
    return [f"{', '.join(dict.fromkeys(terms))}: {why}" for why, terms in reasons.items()]


def _why_none(row: Row) -> str:
    n_questions = int(row["n_questions"])
    if not np.isfinite(row["estimate"]):
        return "there are too few chains, or all are alike, so that there is nothing to estimate"
    if n_questions == 1:
        return "one question has no variation between questions; no interval and no p-value"
    return f"{n_questions} questions are too few for an interval, or all have the same value"
