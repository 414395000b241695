"""The finding of rank_dynamics in words, what a terminal shows, and what a reader must know before believing it."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from analyses._rank_dynamics.evidence import Rankings
from analyses._rank_dynamics.tables import BELOW, DIFFERENCE, FRESH, FROZEN
from analyses._sentences import (
    Row,
    briefly,
    differ,
    direction,
    missing_intervals,
    number_or_nothing,
    small_sample,
    verdict,
    with_interval,
)
from reasoning_anatomy.verdicts import UNDECIDED

TERM = "kendall"
GIVEN_POSITION = "kendall_given_position"
"""The terms that the finding is about; named here, before there is a result."""


def finding(table: pd.DataFrame, *, strategy: str, confidence: float) -> str:
    """Say what was found, from the main table: whether rankings age, and whether the first one foretells anything."""
    rows = {(str(row["ranking"]), str(row["stage"]), str(row["term"])): row for row in table.to_dict("records")}
    difference, given = rows[DIFFERENCE, BELOW, TERM], rows[DIFFERENCE, BELOW, GIVEN_POSITION]
    frozen = rows[FROZEN, BELOW, TERM]
    if not difference["n_questions"]:
        return _without_comparison(rows[FROZEN, "1", TERM], strategy, confidence)
    by_stage = table[(table["ranking"] == DIFFERENCE) & (table["term"] == TERM) & (table["stage"] != BELOW)]
    by_stage = by_stage[by_stage["n_questions"] > 0]
    n_found = int((by_stage["p_adjusted"] <= 1 - confidence + 1e-12).sum())
    return (
        f"{_claim(difference, strategy)}: difference in Kendall's tau {with_interval(difference, confidence=confidence)}, "
        f"{briefly(given)} with position held constant. Tau is {briefly(rows[FRESH, BELOW, TERM])} if it is made anew, "
        f"{briefly(frozen)} if it is made at 1, which is {_random(frozen)}. Corrected for their number, {n_found} of "
        f"{len(by_stage)} stages {differ(n_found)}."
    )


def printed_table(stages: pd.DataFrame) -> pd.DataFrame:
    """Write the table ``stages`` for a terminal: one line for each stage."""
    shown = {"stage": stages["stage"].tolist()}
    for term, name in (("kendall", "tau"), ("overlap", "overlap")):
        shown[f"{name}, fresh"] = stages[f"{term}_fresh"].map(number_or_nothing).tolist()
        shown[f"{name}, made at 1"] = stages[f"{term}_made_at_1"].map(number_or_nothing).tolist()
        ends = {"": "estimate", "_low": "ci_low", "_high": "ci_high"}
        differences = stages.rename(columns={f"{term}_difference{end}": column for end, column in ends.items()})
        shown[f"{name}, difference"] = [
            briefly(row) if np.isfinite(row["estimate"]) else "" for row in differences.to_dict("records")
        ]
    return pd.DataFrame({**shown, "chains": stages["n_chains"]})


def warnings(tables: Mapping[str, pd.DataFrame], table: pd.DataFrame, rankings: Rankings, n_chains: int) -> list[str]:
    """Sentences for ``AnalysisResult.warnings``; ``n_chains`` are those of the run."""
    names = (table["term"] + " of " + table["ranking"] + " at " + table["stage"]).tolist()
    widest = np.where(table["ranking"] == DIFFERENCE, 4, 2).tolist()
    nothing = (
        "no chain has enough tokens and deletions after that stage, or rankings that are not constant, nor position itself"
    )
    said = missing_intervals(table, names, widest=widest, nothing=nothing)
    spread = tables["between_questions"]
    said += small_sample(spread[spread["stage"] == BELOW].assign(term=DIFFERENCE + ", " + spread["term"]))
    if (table.loc[table["ranking"] == DIFFERENCE, "n_questions"] > 0).any():
        said.append(
            "a difference leaves out the lowest token of either ranking, which a comparison would favour, and is therefore not "
            "exactly that of the two numbers beside it"
        )
    censored = int(((rankings.n_judged > rankings.n_after) & (rankings.n_judged > 0)).any(axis=1).sum())
    if censored:
        said.append(
            f"in {censored} of {len(rankings.chain_ids)} chains some tokens are never deleted; they are tied after the last "
            "deletion, so that even a perfect ranking stays below 1"
        )
    if n_out := n_chains - len(rankings.chain_ids):
        reasons = ", ".join(f"{count} {reason}" for reason, count in rankings.exclusions.items())
        said.append(f"{n_out} of {n_chains} chains of the run are not used ({reasons})")
    return said


def _without_comparison(first: Row, strategy: str, confidence: float) -> str:
    said = "No ranking that is made anew can be compared with the one made at 1"
    if not first["n_questions"]:
        return f"{said}, which cannot be judged either."
    return (
        f"{said}, whose Kendall's tau with the order in which {strategy} deletes the tokens is "
        f"{with_interval(first, confidence=confidence)}."
    )


def _claim(row: Row, strategy: str) -> str:
    word = verdict(row)
    foretells = f"a ranking made anew foretells the deletions of {strategy}"
    if word == UNDECIDED:
        return f"{word}: it is open whether {foretells} better than the one made at 1"
    return f"{word}: {foretells} {'better' if row['estimate'] > 0 else 'worse'} than the one made at 1"


def _random(row: Row) -> str:
    return {1: "better than random", 0: "not clearly better than random", -1: "worse than random"}[direction(row)]
