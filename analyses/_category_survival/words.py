"""The finding of category_survival in words, and what a reader must know before believing the table."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd

from analyses._category_survival.evidence import ALL_ENDINGS
from analyses._category_survival.hazards import CHANGE, FEWEST_QUESTIONS
from analyses._category_survival.reading import Reading
from analyses._schemes import GIVEN_POSITION, SCHEMES
from analyses._sentences import (
    Row,
    briefly,
    differ,
    direction,
    has_interval,
    judged_by,
    left_free,
    missing_intervals,
    number,
    small_sample,
    verdict,
    with_interval,
)
from reasoning_anatomy.categories import LINGUISTIC_SCAFFOLDING, SYMBOLIC_COMPUTATION
from reasoning_anatomy.verdicts import CLEAR, UNDECIDED

CLASSES: Final = f"{SYMBOLIC_COMPUTATION} - {LINGUISTIC_SCAFFOLDING}"
"""The term that the finding is about; it is named here, before there is a result."""

_FIRST, _SECOND = (name.replace("_", " ") for name in (SYMBOLIC_COMPUTATION, LINGUISTIC_SCAFFOLDING))
_MANY_CENSORED: Final = 0.3
_MUCH_SHORTER: Final = 0.5

Labels = tuple[str, str]


def finding(tables: Mapping[str, pd.DataFrame], *, horizon: float, confidence: float) -> str:
    """Say what was found about the two classes by the first annotator under the first strategy.

    Parameters
    ----------
    tables
        The main table as ``table``, and the details.
    horizon
        Of that annotator and strategy.
    confidence
        Of the intervals.
    """
    labels = tuple(tables["table"].iloc[0][["annotator", "strategy"]])
    own = {name: _of(table, labels) for name, table in tables.items() if "strategy" in table}
    table = own["table"]
    rows = {row["term"]: row for row in table[table["scheme"] == "classes"].to_dict("records")}
    raw, given, both = (rows[CLASSES + ending] for ending in ALL_ENDINGS)
    by = f"{labels[1]} (categories by {labels[0]})"
    if raw["n_questions"] == 0:
        return f"No chain has tokens of both {_FIRST} and {_SECOND}, so {by} cannot tell which is left longer."
    judged, held = judged_by(raw, given)
    difference = with_interval(judged, confidence=confidence)
    said = [
        f"{_claim(judged, by)}: difference in the time that a token is left {difference}{held}.",
        left_free(raw, given),
        f"Time is the share of the chain that is deleted before the token goes, counted up to {_percent(horizon)}.",
    ]
    if both["n_questions"]:
        said.append(f"With position and surprisal held constant the difference is {briefly(both)}.")
    said += _ratio(own["hazard_ratios"])
    pairs = own["between_categories"]
    tested = pairs.loc[pairs["term"].str.endswith(GIVEN_POSITION), "p_adjusted"].dropna()
    n_different = int((tested <= 1 - confidence + 1e-12).sum())
    if len(tested):
        said.append(
            f"Of {len(tested)} pairs of categories, {n_different} {differ(n_different)} with position held constant, corrected "
            "for their number."
        )
    return " ".join(said) + _noise(own["label_noise"], raw, given)


def warnings(
    readings: Mapping[Labels, Reading],
    tables: Mapping[str, pd.DataFrame],
    *,
    surprisal: str | None,
    n_unmeasured: int,
    confidence: float,
) -> list[str]:
    """Sentences for ``AnalysisResult.warnings``.

    Parameters
    ----------
    readings
        By annotator and strategy.
    tables
        The main table as ``table``, and the details.
    surprisal
        Label of the scorer of surprisal; None if the run has none.
    n_unmeasured
        Chains of the run that are not measured.
    confidence
        Of the intervals.
    """
    said = [
        f"categories by {annotator}, {strategy}: no chain can be used"
        for (annotator, strategy), reading in readings.items()
        if not reading.chains
    ]
    table = tables["table"]
    if surprisal is None:
        without = "the rows given position and surprisal are empty, since the run has no surprisal; add it with"
        said.append(f"{without}: reasoning-anatomy run CHAINS.jsonl --out RUN --scorers surprisal")
        table = table[~table["term"].str.endswith(ALL_ENDINGS[-1])]
    differences = [name + ending for scheme in SCHEMES for name in scheme.differences for ending in ALL_ENDINGS]
    horizons = {labels: reading.horizon for labels, reading in readings.items()}
    end = np.array([horizons[labels] for labels in zip(table["annotator"], table["strategy"], strict=True)])
    labelled = table["term"] + " of " + table["annotator"] + " by " + table["strategy"]
    names = (labelled if len(readings) > 1 else table["term"]).tolist()
    nothing = "no chain has tokens of these groups that can be compared; there is nothing to estimate"
    said += missing_intervals(table, names, widest=(end * (1 + table["term"].isin(differences))).tolist(), nothing=nothing)
    spread = tables["between_questions"]
    said += small_sample(spread[spread["scheme"] == "classes"])
    said += _of_strategies(readings)
    said += _of_hazards(readings, tables["hazard_ratios"], confidence)
    if n_unmeasured:
        said.append(f"{n_unmeasured} chains of the run are not measured; the table does not speak for them")
    return said


def _of(table: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    return table[(table["annotator"] == labels[0]) & (table["strategy"] == labels[1])]


def _claim(judged: Row, by: str) -> str:
    if verdict(judged) == UNDECIDED:
        return f"{UNDECIDED}: it is open which is left longer by {by}, {_FIRST} or {_SECOND}"
    return f"{CLEAR}: {_FIRST} is left {'longer' if judged['estimate'] > 0 else 'less long'} than {_SECOND} by {by}"


def _ratio(ratios: pd.DataFrame) -> list[str]:
    found = ratios[(ratios["scheme"] == "classes") & (ratios["term"] == SYMBOLIC_COMPUTATION)].to_dict("records")
    if not found or not np.isfinite(found[0]["ci_low"]):
        return []
    (row,) = found
    ends = f"{number(row['hazard_ratio_low'])} to {number(row['hazard_ratio_high'])}"
    return [
        f"The hazard ratio is {number(row['hazard_ratio'])} ({ends}): at any time, {_FIRST} that is left goes so many times as "
        f"often as {_SECOND}."
    ]


def _noise(noise: pd.DataFrame, raw: Row, given: Row) -> str:
    """Say how many wrong labels the difference given position bears; that as it is, if nothing is known given position."""
    row, ending = (given, GIVEN_POSITION) if given["n_questions"] else (raw, "")
    if not (has_interval(row) and direction(row)):
        return ""
    found = noise[(noise["term"] == CLASSES + ending) & (noise["share_wrong"] > 0)]
    lost = found[found["share_holding_zero"] > 0.5]
    what = f" Its interval{' with position held constant' if ending else ''}"
    if found.empty:
        return ""
    if lost.empty:
        return f"{what} leaves out zero even if {_percent(found['share_wrong'].max())} of the labels are wrong."
    return f"{what} holds zero once {_percent(lost['share_wrong'].min())} of the labels are wrong."


def _of_strategies(readings: Mapping[Labels, Reading]) -> list[str]:
    """Say of each strategy how much is censored, and what cuts the horizon short; the annotator with most chains speaks."""
    largest: dict[str, Reading] = {}
    for (_, strategy), reading in readings.items():
        if reading.chains and (strategy not in largest or len(reading.chains) > len(largest[strategy].chains)):
            largest[strategy] = reading
    said = []
    for strategy, reading in largest.items():
        n_censored = sum(int(np.isnan(chain.step).sum()) for chain in reading.chains)
        n_tokens = sum(len(chain.step) for chain in reading.chains)
        if n_censored > _MANY_CENSORED * n_tokens:
            said.append(
                f"{strategy}: {n_censored} of {n_tokens} tokens ({_percent(n_censored / n_tokens)}) were never deleted; "
                "nothing is known of the order in which they would go"
            )
        shortest = min(reading.chains, key=lambda chain: chain.end)
        usual = float(np.median([chain.end for chain in reading.chains]))
        if reading.horizon < _MUCH_SHORTER * usual:
            said.append(
                f"{strategy}: all chains are followed only to the deletion of {_percent(reading.horizon)} of their tokens, "
                f"because those of {shortest.chain_id} end there; half of the chains reach {_percent(usual)}: --horizon "
                f"{usual:.2g} leaves shorter ones out"
            )
    return said


def _of_hazards(readings: Mapping[Labels, Reading], ratios: pd.DataFrame, confidence: float) -> list[str]:
    """Say where Cox's model was not fitted, found no maximum or is questionable."""
    said = []
    for labels, reading in readings.items():
        n_questions = len(set(reading.question_ids))
        whose = f"categories by {labels[0]}, {labels[1]}"
        if 0 < n_questions < FEWEST_QUESTIONS:
            said.append(f"{whose}: hazard ratios need {FEWEST_QUESTIONS} questions, and there are {n_questions}")
        own = _of(ratios, labels)
        missing = own[~own["term"].str.endswith(CHANGE) & own["estimate"].isna() & (own["n_chains"] > 0)]
        if len(missing):
            said.append(
                f"{whose}: no hazard ratio of {', '.join(dict.fromkeys(missing['group']))}, which go first or last throughout "
                "or are deleted in too few questions"
            )
        changes = own[own["term"].str.endswith(CHANGE) & (own["scheme"] == "classes")]
        for row in changes[changes["p_value"] <= 1 - confidence + 1e-12].to_dict("records"):
            said.append(
                f"{whose}: hazards are not proportional; the log hazard ratio of {_FIRST} changes by {briefly(row)} from the "
                "first half of the deletions to the second, so that the hazard ratio is an average: read the curves"
            )
    return said


def _percent(share: float) -> str:
    return f"{100 * share:.3g}\N{NO-BREAK SPACE}%"
