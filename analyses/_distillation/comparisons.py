"""Which arms are compared with which controls, and how."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd

from analyses._distillation.evidence import ARM, Evidence
from analyses._sentences import ends, number
from analyses._statistics.families import adjust
from analyses._statistics.paired import p_above, p_different, score_interval
from analyses._statistics.seeds import SeedMean, components, mean_over, questions_needed_with
from analyses._strategy_comparison.strategies import BASELINES
from analyses._threshold_comparison.verdicts import LEVEL_OF_TRUNCATION, NOT_COMPARED, NOT_WORSE, UNDECIDED, verdict
from reasoning_anatomy.run.students import ANSWER_ONLY, CONTROLS, FULL, UNTRAINED
from reasoning_anatomy.types import FloatArray

OF_ONE_TRAINING: Final = "score test, these trainings only"
OF_QUESTIONS: Final = "t over questions, these trainings only"
OF_SEVERAL: Final = "t over questions and trainings"

POINTS: Final = 0.02
"""The difference of accuracy that power is about, if no margin is stated."""

SEEDS: Final = (2, 3, 5, 10)
"""Trainings of an arm of which the table ``power`` speaks."""


def is_baseline(strategy: str) -> bool:
    """Whether a strategy knows nothing of single tokens."""
    return strategy.partition(":")[0] in BASELINES


def pairs(arms: pd.DataFrame) -> list[tuple[int, int]]:
    """Find what is compared: every arm with the controls, and strategies with each other at the same ratio.

    Of two strategies the second is the control: a baseline, if one of them is. Every pair is compared once.
    """
    rows = arms.to_dict("records")
    found = [
        (first, second)
        for first, arm in enumerate(rows)
        for control in (FULL, ANSWER_ONLY, UNTRAINED)
        for second in _controls(rows, arm, control)
    ]
    for first, arm in enumerate(rows):
        for second, other in enumerate(rows):
            alike = all(arm[name] == other[name] for name in ARM[1:])
            if alike and first != second and arm["strategy"] not in CONTROLS and other["strategy"] not in CONTROLS:
                order = [(is_baseline(each["strategy"]), place) for each, place in ((arm, first), (other, second))]
                if order[0] < order[1]:
                    found.append((first, second))
    return found


def _controls(rows: list[dict[Any, Any]], arm: Mapping[Any, Any], control: str) -> Iterator[int]:
    """Find the control of this name: the one that is given as much, if it was trained to both readings."""
    if arm["strategy"] in CONTROLS[CONTROLS.index(control) :]:
        return
    places = [place for place, row in enumerate(rows) if row["strategy"] == control]
    yield from [place for place in places if rows[place]["equal"] == arm["equal"]] or places[:1]


def compared(evidence: Evidence, *, margin: float | None, confidence: float) -> pd.DataFrame:
    """Compare the accuracy of arms.

    Returns
    -------
    One row per pair: ``first, second`` (numbers of arms), `ARM` of the first, ``control`` and ``control_arm``, accuracies,
    ``estimate, ci_low, ci_high, p_value, p_adjusted`` (Holm over the arms of one matching and equal beside a control),
    ``p_not_worse`` and ``p_not_worse_adjusted``, variance components, ``cut_off`` of both with ``p_cut_off``, ``is_cut_off``
    (the two differ, so there is no difference and no p-value), ``verdict``, ``because``, ``method``.
    """
    table = pd.DataFrame(
        [_compared(evidence, first, second, margin, confidence) for first, second in pairs(evidence.arms)], columns=_COLUMNS
    )
    family = [table["control"], table["matching"], table["equal"]]
    for name in ("p_value", "p_not_worse"):
        adjusted = table.groupby(family, sort=False)[name].transform(lambda p: adjust(p.to_numpy(dtype=float), "holm"))
        table[f"{name.removesuffix('_value')}_adjusted"] = adjusted.astype(float)
    rows = table.assign(is_untouched=False).to_dict("records")
    table["verdict"] = [verdict(row, margin=margin, confidence=confidence) for row in rows]
    table["because"] = [_because(row, margin) for row in table.to_dict("records")]
    return table


_COLUMNS: Final = [
    "first", "second", *ARM, "arm", "control", "control_arm", "accuracy", "accuracy_of_control", "estimate", "ci_low",
    "ci_high", "p_value", "p_not_worse", "method", "n_questions", "n_seeds", "sd_questions", "sd_seeds", "sd_rest", "freedom",
    "cut_off", "cut_off_of_control", "p_cut_off", "is_cut_off",
]  # fmt: skip


def _compared(evidence: Evidence, first: int, second: int, margin: float | None, confidence: float) -> dict[str, Any]:
    arms, correct, cut = evidence.arms, evidence.outcomes["correct"], evidence.outcomes["cut_off"]
    gaps = correct[first] - correct[second]
    p_cut_off = _p_over_questions(cut[first] - cut[second])
    is_cut_off = p_cut_off <= LEVEL_OF_TRUNCATION
    n_trained = int(arms.loc[[first, second], "is_trained"].sum())
    found = difference(evidence, gaps, n_trained, margin=margin, confidence=confidence)
    if is_cut_off:
        found = {**found, **dict.fromkeys(("estimate", "ci_low", "ci_high", "p_value", "p_not_worse"), np.nan)}
    return {
        "first": first,
        "second": second,
        **arms.loc[first, [*ARM, "arm"]],
        "control": arms.loc[second, "strategy"],
        "control_arm": arms.loc[second, "arm"],
        "accuracy": correct[first].mean(),
        "accuracy_of_control": correct[second].mean(),
        **found,
        "cut_off": cut[first].mean(),
        "cut_off_of_control": cut[second].mean(),
        "p_cut_off": p_cut_off,
        "is_cut_off": is_cut_off,
    }


def difference(
    evidence: Evidence, gaps: FloatArray, n_trained: int, *, margin: float | None, confidence: float
) -> dict[str, Any]:
    """Estimate a difference from (questions, seeds) differences of two arms, of which ``n_trained`` were trained."""
    n_questions, n_seeds = gaps.shape
    variation = evidence.variation
    seeds = [] if variation is None else [variation.times(n_trained)]
    mean = mean_over(gaps, seeds)
    low, high = mean.interval(confidence)
    p_value, p_not_worse = mean.p_value, np.nan if margin is None else mean.p_above(-margin)
    method = OF_SEVERAL if seeds else OF_QUESTIONS
    per_question = gaps.mean(axis=1)
    if n_questions > 1 and np.isin(per_question, (-1.0, 0.0, 1.0)).all() and (n_seeds == 1 or not mean.has_spread):
        low, high, p_value, p_not_worse = _of_pairs(per_question, margin, confidence)
        method = OF_ONE_TRAINING
    if margin is not None:  # losses of everything in a few questions may all be missing from the sample
        p_not_worse = max(p_not_worse, (1 - margin) ** n_questions)
    parts = components(mean, seeds[0], n_seeds) if seeds else None
    return {
        "estimate": mean.estimate,
        "ci_low": max(low, -1.0) if np.isfinite(low) else np.nan,
        "ci_high": min(high, 1.0) if np.isfinite(high) else np.nan,
        "p_value": p_value,
        "p_not_worse": p_not_worse,
        "method": method,
        "n_questions": n_questions,
        "n_seeds": n_seeds,
        "sd_questions": np.sqrt(parts.questions) if parts else _sd(per_question),
        "sd_seeds": np.sqrt(parts.seeds) if parts else np.nan,
        "sd_rest": np.sqrt(parts.rest) if parts else np.nan,
        "freedom": mean.freedom,
    }


def power_table(evidence: Evidence, table: pd.DataFrame, *, effect: float, confidence: float) -> pd.DataFrame:
    """Say how many questions find a difference of ``effect`` with so many trainings, from the variances of every comparison.

    Returns
    -------
    `ARM`, ``control_arm``, ``effect``, ``n_seeds``, ``n_questions_needed``, ``sd_questions, sd_seeds, sd_rest``; infinite where
    trainings differ so much that no number of questions is enough. No rows with one training of each arm.
    """
    rows: list[dict[str, Any]] = []
    for row in table.to_dict("records"):
        if evidence.variation is None:
            break
        gaps = evidence.outcomes["correct"][row["first"]] - evidence.outcomes["correct"][row["second"]]
        n_trained = int(evidence.arms.loc[[row["first"], row["second"]], "is_trained"].sum())
        variation = evidence.variation.times(n_trained)
        parts = components(mean_over(gaps, [variation]), variation, gaps.shape[1])
        same = {name: row[name] for name in (*ARM, "control_arm")}
        rows += [
            {
                **same,
                "effect": effect,
                "n_seeds": n_seeds,
                "n_questions_needed": questions_needed_with(parts, effect, n_seeds=n_seeds, confidence=confidence),
                **{name: row[name] for name in ("sd_questions", "sd_seeds", "sd_rest")},
            }
            for n_seeds in SEEDS
        ]
    columns = [*ARM, "control_arm", "effect", "n_seeds", "n_questions_needed", "sd_questions", "sd_seeds", "sd_rest"]
    return pd.DataFrame(rows, columns=columns)


def _of_pairs(per_question: FloatArray, margin: float | None, confidence: float) -> tuple[float, float, float, float]:
    """Interval, p-value and one-sided p-value of one pair for each question."""
    gained, lost, n = (np.array([count]) for count in ((per_question > 0).sum(), (per_question < 0).sum(), len(per_question)))
    low, high = score_interval(gained, lost, n, confidence=confidence)
    not_worse = np.nan if margin is None else float(p_above(gained, lost, n, -margin)[0])
    return float(low[0]), float(high[0]), float(p_different(gained, lost, n)[0]), not_worse


def _p_over_questions(gaps: FloatArray) -> float:
    """p-value of a difference of these trainings, be it that of others or not: what is cut off must be alike in them."""
    mean: SeedMean = mean_over(gaps, [])
    if len(gaps) > 1 and not mean.has_spread and abs(mean.estimate) > 0:
        return 0.0
    return mean.p_value


def _sd(values: FloatArray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def _because(row: Mapping[Any, Any], margin: float | None) -> str:
    """Say why a comparison has its verdict."""
    if row["verdict"] == NOT_COMPARED:
        return (
            f"{100 * row['cut_off']:.1f}\N{NO-BREAK SPACE}% of answers are cut off, {100 * row['cut_off_of_control']:.1f}"
            f"\N{NO-BREAK SPACE}% of {row['control_arm']} (p {row['p_cut_off']:.2g}): more than chance, and what is cut off is "
            "seldom right"
        )
    if row["n_questions"] < 2:
        return "one question has no variation between questions"
    if not np.isfinite(row["ci_low"]):
        return f"difference {number(row['estimate'])} in every question, so without an interval"
    shown = f"difference {number(row['estimate'])} ({ends(row)}), p {row['p_adjusted']:.2g} by Holm"
    if row["verdict"] == NOT_WORSE:
        return f"the loss is below {margin:g}, p {row['p_not_worse_adjusted']:.2g} by Holm; {shown}"
    if row["verdict"] == UNDECIDED and row["n_seeds"] == 1:
        return f"{shown}; of these trainings, others may differ"
    return shown
