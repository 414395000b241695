"""The finding of rank correlation in words, and what a reader must know before believing the table."""

from collections.abc import Mapping

import pandas as pd

from analyses._rank_correlation.competitors import COMPETITOR, INDEPENDENT, OWN_FIRST_STEP
from analyses._rank_correlation.evidence import Evidence
from analyses._rank_correlation.terms import WITHIN_BINS
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
from analyses._statistics.correlation import TERMS
from analyses._statistics.nearby import FEWEST_TOKENS

RAW = "spearman"
GIVEN_POSITION = "spearman_given_position"
ANSWER_ATTENTION = "answer_attention"
"""The terms that the finding is about, and the scorer that it speaks of first; named here, before there is a result."""

_FIXED = "position fixes the order of the scores or of deletion in every chain; there is nothing to estimate"
_TOO_SHORT = f"no chain has {FEWEST_TOKENS} or more to compare, and an order within some bin; there is nothing to estimate"
_WHEN = {1: "later", -1: "earlier"}


def finding(table: pd.DataFrame, *, strategy: str, confidence: float, unit: str = "token") -> str:
    """Say what was found, from the main table.

    Of one signal in a sentence. Of several, on a line each, what the attention of the answer does, if it is among them, and
    which signal is the strongest. Then the best trivial competitor, and the strategy's own first step, if they are there.
    """
    raw, given = (_by_kind(table, term) for term in (RAW, GIVEN_POSITION))
    signals = raw.get(INDEPENDENT, {})
    if not signals:  # all scorers that were named are of other kinds: each speaks for itself
        return "\n".join(
            _of_one(row, given[kind][scorer], scorer, strategy, confidence, unit)
            for kind, rows in raw.items()
            for scorer, row in rows.items()
        )
    given_signals = given[INDEPENDENT]
    alone = [
        scorer for scorer, row in signals.items() if len(signals) == 1 or (scorer == ANSWER_ATTENTION and row["n_questions"])
    ]
    said = [_of_one(signals[scorer], given_signals[scorer], scorer, strategy, confidence, unit) for scorer in alone]
    if len(signals) > 1:
        said.append(_of_several(signals, given_signals, strategy, confidence))
    said += [_beside(raw[kind], given[kind], kind) for kind in (COMPETITOR, OWN_FIRST_STEP) if kind in raw]
    return "\n".join(said)


def warnings(evidence: Mapping[str, Evidence], table: pd.DataFrame, spread: pd.DataFrame) -> list[str]:
    """Sentences for ``AnalysisResult.warnings``, from the main table and the table ``between_questions``."""
    several = len(evidence) > 1
    names = (table["term"] + " of " + table["scorer"] if several else table["term"]).tolist()
    nothing = [_TOO_SHORT if term == WITHIN_BINS else _FIXED for term in table["term"]]
    said = [f"{scorer}: no chain can be used" for scorer, found in evidence.items() if not found.chains]
    said += missing_intervals(table, names, widest=[2] * len(table), nothing=nothing)
    said += small_sample(spread[spread["term"].isin(TERMS)])
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


def _by_kind(table: pd.DataFrame, term: str) -> dict[str, dict[str, Row]]:
    """Rows of a term by kind of score and scorer."""
    rows: dict[str, dict[str, Row]] = {}
    for row in table[table["term"] == term].to_dict("records"):
        rows.setdefault(str(row["kind"]), {})[str(row["scorer"])] = row
    return rows


def _of_one(raw: Row, given: Row, scorer: str, strategy: str, confidence: float, unit: str) -> str:
    subject = f"{unit.capitalize()}s with a higher {scorer} score are deleted"
    when = "later" if raw["estimate"] > 0 else "earlier"
    if int(raw["n_questions"]) == 1:
        claim = f"In one question, {subject[0].lower()}{subject[1:]} {when} by {strategy}"
    elif not is_clear(raw):
        claim = f"No clear relation between the {scorer} score of {unit}s and when {strategy} deletes them"
    else:
        claim = f"{subject} {when} by {strategy}"
    return f"{claim}: Spearman's rho {with_interval(raw, confidence=confidence)}, {_held_constant(raw, given, unit)}."


def _beside(raw: Mapping[str, Row], given: Mapping[str, Row], kind: str) -> str:
    """Name the best scorer of another kind, beside which the signals are to be seen."""
    best = _largest(raw, given)
    position = f", {briefly(given[best])} with position held constant" if given[best]["n_questions"] else ""
    of_several = f"The best of {len(raw)} trivial competitors" if len(raw) > 1 else "The trivial competitor"
    name = of_several if kind == COMPETITOR else "The strategy's own first step"
    return f"{name}, {best}, has rho {briefly(raw[best])}{position}."


def _largest(raw: Mapping[str, Row], given: Mapping[str, Row]) -> str:
    """Name the scorer that is furthest from zero, position held constant if it can be."""
    judged = {scorer: row for scorer, row in given.items() if row["n_questions"]} or raw
    return max(judged, key=lambda scorer: abs(judged[scorer]["estimate"]))


def _held_constant(raw: Row, given: Row, unit: str) -> str:
    if int(given["n_questions"]) == 0:
        return "and nothing is left to estimate with position held constant, which fixes one of the two orders"
    text = f"{briefly(given)} with position held constant"
    if not (has_interval(raw) and has_interval(given)) or direction(given) == direction(raw):
        return text
    if direction(given) == 0:
        return f"{text}, which leaves no clear relation"
    return f"{text}, which shows {unit}s with a higher score deleted {_WHEN[direction(given)]}"


def _of_several(raw: Mapping[str, Row], given: Mapping[str, Row], strategy: str, confidence: float) -> str:
    """Name the strongest signal, and count those that survive."""
    known = {scorer: row for scorer, row in given.items() if row["n_questions"]}
    largest, judged = _largest(raw, given), known or raw
    control, beside = " once position is held constant", f", {briefly(raw[largest])} without that"
    n_survivors = _survivors(raw, confidence)
    survivors = f"{n_survivors} of {len(raw)} signals {differ(n_survivors)} from zero"
    held = f", and {_survivors(known, confidence)} of {len(known)} with position held constant"
    return (
        f"Of {len(raw)} signals, {largest} has the largest rank correlation with the deletion order of {strategy}"
        f"{control if known else ''}: rho {with_interval(judged[largest], confidence=confidence)}{beside if known else ''}; "
        f"corrected for their number, {survivors}{held if known else ''}."
    )


def _survivors(rows: Mapping[str, Row], confidence: float) -> int:
    return sum(row["p_adjusted"] <= 1 - confidence + 1e-12 for row in rows.values())
