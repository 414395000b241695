"""What distillation found, in words: the finding, the lines of the terminal, the warnings."""

from collections.abc import Hashable, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from analyses._distillation.comparisons import is_baseline
from analyses._distillation.curves import MEAN
from analyses._distillation.evidence import Evidence, unlike_arms
from analyses._sentences import FEW_QUESTIONS, briefly, few_questions, number, with_interval
from analyses._threshold_comparison.verdicts import NOT_COMPARED, NOT_WORSE, VERDICTS
from analyses._threshold_comparison.words import MOST_NAMED, listing, percent
from reasoning_anatomy.run.students import CONTROLS, FULL

FEW_SEEDS: Final = 5
"""Trainings of an arm below which a finding says that they are few."""

_UNLIKE: Final = 0.05
"""p-value at which trainings of an arm differ more than those of the others."""

_DEMONSTRATION: Final = 100
"""Questions below which a finding is called a demonstration."""


def finding(evidence: Evidence, tables: Mapping[str, pd.DataFrame], *, margin: float | None, confidence: float) -> str:
    """Say what was found: against the whole chain first, then against other strategies of the same length, then the rest."""
    versus, lengths = tables["comparisons"], tables["same_length"]
    is_taught = ~versus["strategy"].isin(CONTROLS)
    taught = versus[is_taught]
    full = tables["arms"][tables["arms"]["strategy"] == FULL]
    if taught.empty:
        rest = _sentence(versus, "the controls", margin) if len(versus) else "No two arms can be compared"
        return f"{rest}, {_how_many(evidence)}."
    said = []
    beside = taught[~taught["control"].isin(CONTROLS)]
    whole = taught[taught["control"] == FULL]
    strategies = [name for name in dict.fromkeys(taught["strategy"]) if not is_baseline(name)] or list(
        dict.fromkeys(taught["strategy"])
    )
    whole = whole[whole["strategy"].isin(strategies)]
    if len(beside):
        said.append(_sentence(beside, "other strategies at the same keep ratio", margin))
    if len(whole):
        level = _level(full, confidence) if len(full) else ""
        said.append(_sentence(whole, f"students taught whole chains{level}", margin))
    if not said:
        said.append(_sentence(taught, "the controls", margin))
    said[0] += f", {_how_many(evidence)}"
    means = lengths[lengths["what"] == MEAN]
    known = means[np.isfinite(means["estimate"])]
    if len(known):
        said.append(_at_same_length(known))
    elif len(means):
        said.append(f"At the same generated length nothing can be compared: {means['because'].iloc[0]}")
    return ". ".join(said) + "."


def printed_table(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One line per arm, with its verdict beside every control."""
    arms, versus = tables["arms"], tables["comparisons"]
    shown = pd.DataFrame(
        {
            "taught": arms["arm"],
            "tokens taught": _rounded(arms["tokens_taught"]),
            "tokens generated": _rounded(arms["tokens_generated"]),
            "cut off": arms["cut_off"].map(percent),
            "nll gold": arms["nll_gold"].map(lambda value: "" if np.isnan(value) else number(value)),
            "accuracy": [
                briefly({"estimate": row["accuracy"], "ci_low": row["accuracy_low"], "ci_high": row["accuracy_high"]})
                for row in arms.to_dict("records")
            ],
        }
    )
    controls = list(dict.fromkeys(versus["control"]))
    for control in sorted(controls, key=lambda name: (name != FULL, name in CONTROLS, controls.index(name))):
        cells = {row["arm"]: _cell(row) for row in versus[versus["control"] == control].to_dict("records")}
        shown[f"from {control}"] = [cells.get(arm, "") for arm in arms["arm"]]
    return shown


def warnings(evidence: Evidence, tables: Mapping[str, pd.DataFrame], *, margin: float | None) -> list[str]:
    """Sentences for ``AnalysisResult.warnings``."""
    n_questions, n_seeds = len(evidence.question_ids), len(evidence.seeds)
    versus, said = tables["comparisons"], []
    if n_questions == 1:
        said.append("one question has no variation between questions; no interval and no p-value")
    elif n_questions < FEW_QUESTIONS:
        said.append(few_questions(n_questions))
    if n_seeds == 1:
        said.append(
            "one training of each arm: intervals and p-values are of these students and other questions; another training of "
            "the same arm may do otherwise; add some with --seeds 3"
        )
    elif evidence.variation is not None:
        if evidence.variation.freedom < 2:
            said.append(
                "one trained arm with two trainings has one degree of freedom for how far trainings differ: where they differ "
                "much, up to 13 % of comparisons without a difference have p 0.05 or less; add seeds or arms"
            )
        said.append(
            f"how far trainings differ is pooled over arms ({evidence.variation.freedom} degrees of freedom), as if all "
            "differed alike; sd_of_seeds in the table arms says how far those of each do"
        )
    if unlike := unlike_arms(evidence, level=_UNLIKE):
        said.append(
            f"trainings of {listing(unlike)} differ more than those of the other arms beyond chance, so that what is pooled is "
            "too little for them: their intervals are too short; add seeds"
        )
    if margin is None and len(versus):
        said.append(
            "no margin was stated, so no arm can be called not worse; state the loss of accuracy that would not matter, such "
            "as --margin 0.02"
        )
    refused = versus[versus["verdict"] == NOT_COMPARED]
    if len(refused):
        named = [f"{row['arm']} with {row['control_arm']}" for row in refused.to_dict("records")]
        which = listing(named) if len(named) <= 2 * MOST_NAMED else f"{len(named)} of {len(versus)} pairs"
        said.append(
            f"not compared, since more or fewer answers are cut off beyond chance (p 0.05 or less): {which}; let the answers "
            "be longer: --max-tokens"
        )
    undecided = round(float(evidence.outcomes["undecided"].sum()))
    if undecided:
        said.append(f"{undecided} answers could not be judged, and count as not correct; the table students says of whom")
    said += [f"same generated length: {why}" for why in dict.fromkeys(_without(tables["same_length"])["because"])]
    return said + _needed(tables["power"]) + _missing(evidence)


def _without(lengths: pd.DataFrame) -> pd.DataFrame:
    return lengths[(lengths["what"] == MEAN) & lengths["estimate"].isna()]


def _needed(power: pd.DataFrame) -> list[str]:
    power = power.dropna(subset="n_questions_needed")  # of comparisons in which nothing differs
    if power.empty:
        return []
    parts = []
    for n_seeds, rows in power.groupby("n_seeds"):
        middle = float(rows["n_questions_needed"].median())
        enough = f"{middle:,.0f} questions" if np.isfinite(middle) else "no number of questions"
        parts.append(f"with {n_seeds} trainings {enough}")
    return [
        f"a difference of {100 * power['effect'].iloc[0]:g} points is found with 80 % power, at the median of the comparisons: "
        + ", ".join(parts)
    ]


def _missing(evidence: Evidence) -> list[str]:
    said = []
    lacking = [reason for reason in evidence.exclusions if reason.startswith("students")]
    if lacking:
        counts = ", ".join(f"{evidence.exclusions[reason]} {reason.replace('_', ' ')}" for reason in lacking)
        said.append(f"left out: {counts}; finish them with the command that began them")
    if count := evidence.exclusions.get("questions_that_some_student_lacks"):
        said.append(f"{count} questions are left out, since some student has not answered them; all arms answer the same")
    missing = np.isnan(evidence.outcomes["nll_gold"]).sum()
    if missing:
        said.append("the likelihood of some gold answers was not measured; their questions are not in its mean")
    return said


def _sentence(rows: pd.DataFrame, against: str, margin: float | None) -> str:
    """Say every verdict of some comparisons, and where: ``Against X: a at 0.7 worse (...)``."""
    parts = []
    for verdict in VERDICTS:
        found = rows[rows["verdict"] == verdict]
        if found.empty:
            continue
        spoken = f"{verdict} of {margin:g}" if verdict == NOT_WORSE and margin is not None else verdict
        if len(found) <= MOST_NAMED:
            named = listing(_one(row, against) for row in found.to_dict("records"))
            parts.append(f"{spoken}: {named}")
        else:
            known = found[found["estimate"].notna()].sort_values("estimate", key=abs, kind="stable")
            most = f" (most: {_one(known.to_dict('records')[-1], against)})" if len(known) else ""
            parts.append(f"{spoken}: {len(found)} of {len(rows)} comparisons{most}")
    return f"Against {against}, {'; '.join(parts)}"


def _one(row: Mapping[Any, Any], against: str) -> str:
    name = row["arm"] if "whole chains" in against else f"{row['arm']} against {row['control']}"
    return f"{name} ({briefly(row)})" if np.isfinite(row["estimate"]) else str(name)


def _level(full: pd.DataFrame, confidence: float) -> str:
    row = full.iloc[0]
    level: dict[Hashable, Any] = {
        "estimate": row["accuracy"], "ci_low": row["accuracy_low"], "ci_high": row["accuracy_high"],
        "n_questions": row["n_questions"],
    }  # fmt: skip
    return f" (accuracy {with_interval(level, confidence=confidence)})"


def _how_many(evidence: Evidence) -> str:
    n_questions, n_seeds = len(evidence.question_ids), len(evidence.seeds)
    trainings = (
        "one training of each arm, so that this is about these students only"
        if n_seeds == 1
        else (f"{n_seeds} trainings of each arm")
    )
    questions = "one question" if n_questions == 1 else f"{n_questions} questions"
    few = n_questions < _DEMONSTRATION or n_seeds < FEW_SEEDS
    return f"in {questions} and {trainings}" + ("; a demonstration, and small" if few else "")


def _at_same_length(known: pd.DataFrame) -> str:
    named = [
        f"{row['strategy']} differs from {row['control']} by {briefly(row)} ({row['tokens_low']:.0f} to "
        f"{row['tokens_high']:.0f} tokens): {row['verdict']}"
        for row in known.head(MOST_NAMED).to_dict("records")
    ]
    more = f"; {len(known) - MOST_NAMED} more pairs are in the table same_length" if len(known) > MOST_NAMED else ""
    return f"At the same number of tokens generated, {'; '.join(named)}{more}"


def _cell(row: Mapping[Any, Any]) -> str:
    verdict = "truncation differs" if row["verdict"] == NOT_COMPARED else row["verdict"]
    return f"{briefly(row)} {verdict}" if np.isfinite(row["estimate"]) else verdict


def _rounded(values: "pd.Series[float]") -> list[str]:
    return ["" if np.isnan(value) else f"{value:.0f}" for value in values]
