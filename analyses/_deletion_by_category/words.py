"""The finding of deletion_by_category in one sentence, and what a reader must know before believing the table."""

from collections.abc import Mapping, Sequence

import pandas as pd

from analyses._deletion_by_category.evidence import Evidence
from analyses._schemes import ENDINGS, GIVEN_POSITION, SCHEMES
from analyses._sentences import Row, differ, judged_by, left_free, missing_intervals, small_sample, verdict, with_interval
from reasoning_anatomy.categories import LINGUISTIC_SCAFFOLDING, SYMBOLIC_COMPUTATION
from reasoning_anatomy.verdicts import CLEAR, UNDECIDED

CLASSES = f"{SYMBOLIC_COMPUTATION} - {LINGUISTIC_SCAFFOLDING}"
"""The term that the finding is about; it is named here, before there is a result."""

_DIFFERENCES = [name + ending for scheme in SCHEMES for name in scheme.differences for ending in ENDINGS]
_PAIRS_GIVEN_POSITION = [
    name + GIVEN_POSITION for scheme in SCHEMES if scheme.name == "categories" for name in scheme.differences
]
_NAMES = [SYMBOLIC_COMPUTATION.replace("_", " "), LINGUISTIC_SCAFFOLDING.replace("_", " ")]


def finding(table: pd.DataFrame, pairs: pd.DataFrame, *, confidence: float) -> str:
    """Say what was found: which class goes first, and how many pairs of categories differ.

    Parameters
    ----------
    table, pairs
        The main table and ``between_categories``; the first annotator and strategy in them are spoken of.
    confidence
        Of the intervals.
    """
    annotator, strategy = table.iloc[0][["annotator", "strategy"]]
    rows = {row["term"]: row for row in _of(table, annotator, strategy, scheme="classes").to_dict("records")}
    raw, given = rows[CLASSES], rows[f"{CLASSES}{GIVEN_POSITION}"]
    by = f"{strategy} (categories by {annotator})"
    if raw["n_questions"] == 0:
        return f"No chain has tokens of both {_NAMES[0]} and {_NAMES[1]}, so {by} cannot tell which goes first."
    judged, held = judged_by(raw, given)
    said = (
        f"{_claim(judged, by)}: difference in relative deletion step {with_interval(judged, confidence=confidence)}{held}. "
        f"{left_free(raw, given)}"
    )
    of_pairs = _of(pairs, annotator, strategy)
    tested = of_pairs.loc[of_pairs["term"].isin(_PAIRS_GIVEN_POSITION), "p_adjusted"].dropna()
    if tested.empty:
        return said
    n_different = int((tested <= 1 - confidence + 1e-12).sum())
    return (
        f"{said} Of {len(tested)} pairs of categories, {n_different} {differ(n_different)} with position held constant, "
        "corrected for their number."
    )


def warnings(
    evidence: Mapping[tuple[str, str], Evidence], table: pd.DataFrame, spread: pd.DataFrame, *, n_unmeasured: int
) -> list[str]:
    """Sentences for ``AnalysisResult.warnings``, from the main table and the table ``between_questions``."""
    said = [
        f"categories by {annotator}, {strategy}: no chain can be used"
        for (annotator, strategy), found in evidence.items()
        if not found.chain_ids
    ]
    is_difference = table["term"].isin(_DIFFERENCES)
    nothing = "no chain has tokens of these categories at comparable positions; there is nothing to estimate"
    labelled = table["term"] + " of " + table["annotator"] + " by " + table["strategy"]
    names = (labelled if len(evidence) > 1 else table["term"]).tolist()
    said += missing_intervals(table, names, widest=(1 + is_difference).tolist(), nothing=nothing)
    said += small_sample(spread[spread["scheme"] == "classes"])
    said += _censored(evidence)
    if n_unmeasured:
        said.append(f"{n_unmeasured} chains of the run are not measured; the table does not speak for them")
    return said


def _of(table: pd.DataFrame, annotator: str, strategy: str, **more: str) -> pd.DataFrame:
    for column, value in {"annotator": annotator, "strategy": strategy, **more}.items():
        table = table[table[column] == value]
    return table


def _claim(judged: Row, by: str) -> str:
    first, second = _NAMES
    if verdict(judged) == UNDECIDED:
        return f"{UNDECIDED}: it is open which is deleted first by {by}, {first} or {second}"
    return f"{CLEAR}: {first} is deleted {'later' if judged['estimate'] > 0 else 'earlier'} than {second} by {by}"


def _censored(evidence: Mapping[tuple[str, str], Evidence]) -> Sequence[str]:
    """One sentence per strategy that leaves tokens undeleted; the annotator with the most chains speaks for it."""
    largest: dict[str, Evidence] = {}
    for (_, strategy), found in evidence.items():
        if strategy not in largest or len(found.chain_ids) > len(largest[strategy].chain_ids):
            largest[strategy] = found
    said = []
    for strategy, found in largest.items():
        n_censored = int(found.n_censored.sum())
        n_tokens = int(found.n_of_category.sum())
        if n_censored:
            said.append(
                f"{strategy}: {n_censored} of {n_tokens} tokens were never deleted; in each chain they share the average of "
                "the ranks that are left, so that all differences are smaller than they would be after further deletions"
            )
    return said
