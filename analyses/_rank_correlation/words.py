"""The finding of rank correlation in words, and what a reader must know before believing the table."""

from collections.abc import Mapping

import pandas as pd

from analyses._rank_correlation.competitors import COMPETITOR, INDEPENDENT, OWN_FIRST_STEP
from analyses._rank_correlation.evidence import Evidence
from analyses._rank_correlation.terms import WITHIN_BINS
from analyses._sentences import Row, are, briefly, judged_by, left_free, missing_intervals, small_sample, verdict, with_interval
from analyses._statistics.correlation import TERMS
from analyses._statistics.nearby import FEWEST_TOKENS
from reasoning_anatomy.verdicts import AGAINST, CLEAR, UNDECIDED

RAW = "spearman"
GIVEN_POSITION = "spearman_given_position"
ANSWER_ATTENTION = "answer_attention"
"""The terms that the finding is about, and the scorer that it speaks of first; named here, before there is a result."""

_FIXED = "position fixes the order of the scores or of deletion in every chain; there is nothing to estimate"
_TOO_SHORT = f"no chain has {FEWEST_TOKENS} or more to compare, and an order within some bin; there is nothing to estimate"
_WHEN = {CLEAR: "later", AGAINST: "earlier"}


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
    judged, held = judged_by(raw, given)
    word = verdict(judged)
    units = f"{unit}s with a higher {scorer} score are deleted"
    claim = f"it is open whether {units} later by {strategy}" if word == UNDECIDED else f"{units} {_WHEN[word]} by {strategy}"
    return f"{word}: {claim}: Spearman's rho {with_interval(judged, confidence=confidence)}{held}. {left_free(raw, given)}"


def _beside(raw: Mapping[str, Row], given: Mapping[str, Row], kind: str) -> str:
    """Name the best scorer of another kind, beside which the signals are to be seen."""
    best = _largest(raw, given)
    of_several = f"the best of {len(raw)} trivial competitors" if len(raw) > 1 else "the trivial competitor"
    name = of_several if kind == COMPETITOR else "the strategy's own first step"
    rho = briefly(raw[best])
    if given[best]["n_questions"]:
        rho = f"{briefly(given[best])} with position held constant, {rho} without that"
    return f"For comparison: {name}, {best}, has rho {rho}."


def _largest(raw: Mapping[str, Row], given: Mapping[str, Row]) -> str:
    """Name the scorer that is furthest from zero, position held constant if it can be."""
    judged = {scorer: row for scorer, row in given.items() if row["n_questions"]} or raw
    return max(judged, key=lambda scorer: abs(judged[scorer]["estimate"]))


def _of_several(raw: Mapping[str, Row], given: Mapping[str, Row], strategy: str, confidence: float) -> str:
    """Count the signals that survive, and name the strongest."""
    known = {scorer: row for scorer, row in given.items() if row["n_questions"]}
    largest, judged = _largest(raw, given), known or raw
    held = " with position held constant" if known else ""
    n_found, n_raw = _survivors(judged, confidence), _survivors(raw, confidence)
    said = (
        f"{CLEAR if n_found else UNDECIDED}: {n_found or 'none'} of {len(judged)} signals {are(n_found)} shown to be related "
        f"to the deletion order of {strategy}, corrected for their number; the strongest is {largest}, rho "
        f"{with_interval(judged[largest], confidence=confidence)}{held}."
    )
    return f"{said} Without that, {n_raw} of {len(raw)} {are(n_raw)}; {largest} has {briefly(raw[largest])}." if known else said


def _survivors(rows: Mapping[str, Row], confidence: float) -> int:
    return sum(row["p_adjusted"] <= 1 - confidence + 1e-12 for row in rows.values())
