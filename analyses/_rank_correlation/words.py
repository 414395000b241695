"""The finding of rank correlation in words, and what a reader must know before believing the table."""

from collections.abc import Mapping

import pandas as pd

from analyses._rank_correlation.evidence import Evidence
from analyses._sentences import (
    Row,
    briefly,
    differ,
    direction,
    has_interval,
    is_clear,
    missing_intervals,
    small_sample,
    with_interval,
)

RAW = "spearman"
GIVEN_POSITION = "spearman_given_position"
ANSWER_ATTENTION = "answer_attention"
"""The terms that the finding is about, and the scorer that it speaks of first; named here, before there is a result."""

_WHEN = {1: "later", -1: "earlier"}


def finding(table: pd.DataFrame, *, strategy: str, confidence: float) -> str:
    """Say what was found, from the main table.

    Of one scorer in a sentence. Of several, on a line each, what the attention of the answer does, if it is among them, and
    which scorer is the strongest.
    """
    rows = {
        term: {str(row["scorer"]): row for row in table[table["term"] == term].to_dict("records")}
        for term in (RAW, GIVEN_POSITION)
    }
    raw, given = rows[RAW], rows[GIVEN_POSITION]
    alone = [scorer for scorer, row in raw.items() if len(raw) == 1 or (scorer == ANSWER_ATTENTION and row["n_questions"])]
    said = [_of_one(raw[scorer], given[scorer], scorer, strategy, confidence) for scorer in alone]
    if len(raw) > 1:
        said.append(_of_several(raw, given, strategy, confidence))
    return "\n".join(said)


def warnings(evidence: Mapping[str, Evidence], table: pd.DataFrame, spread: pd.DataFrame) -> list[str]:
    """Sentences for ``AnalysisResult.warnings``, from the main table and the table ``between_questions``."""
    several = len(evidence) > 1
    names = (table["term"] + " of " + table["scorer"] if several else table["term"]).tolist()
    nothing = "position fixes the order of the scores or of deletion in every chain; there is nothing to estimate"
    said = [f"{scorer}: no chain can be used" for scorer, found in evidence.items() if not found.chains]
    said += missing_intervals(table, names, widest=[2] * len(table), nothing=nothing) + small_sample(spread)
    largest = max(evidence.values(), key=lambda found: len(found.chains))
    censored, total = int(largest.n_censored.sum()), int(largest.n_tokens.sum())
    if censored:
        chains = int((largest.n_censored > 0).sum())
        said.append(
            f"{censored} of {total} tokens, in {chains} of {len(largest.chains)} chains, were never deleted; they are tied "
            "after the last deletion, and nothing is claimed about the order among them"
        )
    if unmeasured := largest.exclusions.get("not_measured"):
        said.append(f"{unmeasured} chains of the run are not measured; the table does not speak for them")
    return said


def _of_one(raw: Row, given: Row, scorer: str, strategy: str, confidence: float) -> str:
    subject = f"Tokens with a higher {scorer} score are deleted"
    when = "later" if raw["estimate"] > 0 else "earlier"
    if int(raw["n_questions"]) == 1:
        claim = f"In one question, {subject[0].lower()}{subject[1:]} {when} by {strategy}"
    elif not is_clear(raw):
        claim = f"No clear relation between the {scorer} score of tokens and when {strategy} deletes them"
    else:
        claim = f"{subject} {when} by {strategy}"
    return f"{claim}: Spearman's rho {with_interval(raw, confidence=confidence)}, {_held_constant(raw, given)}."


def _held_constant(raw: Row, given: Row) -> str:
    if int(given["n_questions"]) == 0:
        return "and nothing is left to estimate with position held constant, which fixes one of the two orders"
    text = f"{briefly(given)} with position held constant"
    if not (has_interval(raw) and has_interval(given)) or direction(given) == direction(raw):
        return text
    if direction(given) == 0:
        return f"{text}, which leaves no clear relation"
    return f"{text}, which shows tokens with a higher score deleted {_WHEN[direction(given)]}"


def _of_several(raw: Mapping[str, Row], given: Mapping[str, Row], strategy: str, confidence: float) -> str:
    """Name the scorer that is furthest from zero, position held constant if it can be, and count those that survive."""
    known = {scorer: row for scorer, row in given.items() if row["n_questions"]}
    judged = known or raw
    largest = max(judged, key=lambda scorer: abs(judged[scorer]["estimate"]))
    control, beside = " once position is held constant", f", {briefly(raw[largest])} without that"
    n_survivors = _survivors(raw, confidence)
    survivors = f"{n_survivors} of {len(raw)} scorers {differ(n_survivors)} from zero"
    held = f", and {_survivors(known, confidence)} of {len(known)} with position held constant"
    return (
        f"Of {len(raw)} scorers, {largest} has the largest rank correlation with the deletion order of {strategy}"
        f"{control if known else ''}: rho {with_interval(judged[largest], confidence=confidence)}{beside if known else ''}; "
        f"corrected for their number, {survivors}{held if known else ''}."
    )


def _survivors(rows: Mapping[str, Row], confidence: float) -> int:
    return sum(row["p_adjusted"] <= 1 - confidence + 1e-12 for row in rows.values())
