"""Accuracy as a function of the tokens that students really generate, and its difference between strategies."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
import pandas as pd

from analyses._distillation.comparisons import is_baseline
from analyses._distillation.evidence import Evidence
from analyses._sentences import ends, number
from analyses._statistics.families import adjust
from analyses._statistics.seeds import mean_over, seed_variation
from analyses._threshold_comparison.verdicts import verdict
from reasoning_anatomy.run.students import CONTROLS, FULL
from reasoning_anatomy.types import FloatArray, IntArray

MEAN: Final = "mean over the lengths that both have"
AT: Final = "at a length"

_LENGTHS: Final = 5
"""Lengths at which a difference is given, the ends of the common range included."""

_GRID: Final = 101
_SAME: Final = 1e-9

_NUMBERS: Final = ("tokens", "tokens_low", "tokens_high", "estimate", "ci_low", "ci_high", "p_value")
_COLUMNS: Final = ["strategy", "control", "matching", "equal", "what", *_NUMBERS, "n_questions", "n_seeds"]


@dataclass(frozen=True, eq=False)
class Curve:
    """Arms of a strategy in the order of the tokens that they generate; the whole chain is keep ratio 1 of all strategies.

    Attributes
    ----------
    strategy, matching, equal
        Whose.
    arms
        Numbers of arms.
    tokens, accuracy
        Of every arm, means over questions and trainings.
    """

    strategy: str
    matching: str
    equal: str
    arms: IntArray
    tokens: FloatArray
    accuracy: FloatArray

    def weights(self, length: float) -> tuple[FloatArray, float]:
        """Weight of every arm in the accuracy at a length within the range, and the slope there."""
        right = int(np.clip(np.searchsorted(self.tokens, length), 1, len(self.tokens) - 1))
        width = self.tokens[right] - self.tokens[right - 1]
        share = float((length - self.tokens[right - 1]) / width)
        weights = np.zeros(len(self.arms))
        weights[right - 1], weights[right] = 1 - share, share
        return weights, float((self.accuracy[right] - self.accuracy[right - 1]) / width)


def curves(evidence: Evidence, comparisons: pd.DataFrame) -> list[Curve]:
    """Make the curves of the strategies, of the arms that are cut off no more or less often than the whole chain."""
    arms = evidence.arms
    refused = set(comparisons.loc[comparisons["is_cut_off"] & (comparisons["control"] == FULL), "first"])
    tokens, accuracy = (evidence.outcomes[name].mean(axis=(1, 2)) for name in ("tokens", "correct"))
    full = list(arms.index[arms["strategy"] == FULL])
    found = []
    of_strategies = arms[~arms["strategy"].isin(CONTROLS)]
    for (strategy, matching, equal), rows in of_strategies.groupby(["strategy", "matching", "equal"], sort=False):
        members = [place for place in [*rows.index, *full] if place not in refused]
        order = sorted(members, key=lambda place: (tokens[place], accuracy[place]))
        kept = [place for number, place in enumerate(order) if not number or tokens[place] - tokens[order[number - 1]] > _SAME]
        numbers = np.array(kept, dtype=np.int64)
        found.append(Curve(str(strategy), str(matching), str(equal), numbers, tokens[numbers], accuracy[numbers]))
    return sorted(found, key=lambda curve: is_baseline(curve.strategy))


def same_length(evidence: Evidence, found: Sequence[Curve], *, confidence: float) -> pd.DataFrame:
    """Compare strategies at the same generated length.

    Returns
    -------
    One row per pair of strategies and length, the mean over the range of both first: ``strategy, control, matching, equal,
    what, tokens, tokens_low, tokens_high, estimate, ci_low, ci_high, p_value, p_adjusted`` (of the mean, Holm over the pairs of
    a matching and equal), ``verdict``, ``because``. Nothing is estimated, and ``because`` says so, where the ranges do not
    overlap.

    Notes
    -----
    A point of a curve is read on the line between two arms, so its error is that of both accuracies and, times the slope, that
    of both lengths; to first order it is the mean of one number for each question and training, as a difference of accuracies
    is. How far trainings differ is added up over the arms, each with its own degrees of freedom.
    """
    rows: list[dict[str, Any]] = []
    for first, second in combinations(found, 2):
        if (first.matching, first.equal) == (second.matching, second.equal):
            rows += _of_pair(evidence, first, second, confidence)
    table = pd.DataFrame(rows, columns=_COLUMNS).astype(dict.fromkeys(_NUMBERS, float))
    is_mean = table["what"] == MEAN
    adjusted = table[is_mean].groupby(["matching", "equal"], sort=False)["p_value"]
    table["p_adjusted"] = adjusted.transform(lambda p: adjust(p.to_numpy(dtype=float), "holm")).astype(float)
    judged = table.assign(is_cut_off=False, is_untouched=False).to_dict("records")
    table["verdict"] = [
        verdict(row, margin=None, confidence=confidence) if row["what"] == MEAN and np.isfinite(row["estimate"]) else ""
        for row in judged
    ]
    table["because"] = [_because(row) for row in judged]
    return table


def _of_pair(evidence: Evidence, first: Curve, second: Curve, confidence: float) -> list[dict[str, Any]]:
    n_questions, n_seeds = evidence.outcomes["correct"].shape[1:]
    same = {
        "strategy": first.strategy, "control": second.strategy, "matching": first.matching, "equal": first.equal,
        "n_questions": n_questions, "n_seeds": n_seeds,
    }  # fmt: skip
    nothing = dict.fromkeys(_NUMBERS, np.nan)
    if min(len(first.arms), len(second.arms)) < 2:
        return [{**same, **nothing, "what": MEAN}]
    low, high = max(first.tokens[0], second.tokens[0]), min(first.tokens[-1], second.tokens[-1])
    if high - low <= _SAME:
        return [{**same, **nothing, "what": MEAN, "tokens_low": low, "tokens_high": high}]
    grid = np.linspace(low, high, _GRID)
    trapezoid = np.full(_GRID, 1 / (_GRID - 1))
    trapezoid[[0, -1]] /= 2
    rows = []
    for what, lengths, weights in [
        (MEAN, grid, trapezoid),
        *((AT, np.array([length]), np.ones(1)) for length in np.linspace(low, high, _LENGTHS)),
    ]:
        estimate, influence = _difference(evidence, first, second, lengths, weights)
        mean = mean_over(influence.sum(axis=0), [part for arm in influence if (part := seed_variation(arm[None])) is not None])
        reach = np.array(mean.interval(confidence)) - mean.estimate
        shifted = type(mean)(estimate, mean.error, mean.freedom, mean.of_questions, mean.of_seeds)
        rows.append(
            {
                **same,
                "what": what,
                "tokens": float(weights @ lengths),
                "tokens_low": low,
                "tokens_high": high,
                "estimate": estimate,
                "ci_low": max(estimate + reach[0], -1.0) if mean.has_spread else np.nan,
                "ci_high": min(estimate + reach[1], 1.0) if mean.has_spread else np.nan,
                "p_value": shifted.p_value,
            }
        )
    return rows


def _difference(
    evidence: Evidence, first: Curve, second: Curve, lengths: FloatArray, weights: FloatArray
) -> tuple[float, FloatArray]:
    """Difference of two curves, averaged over lengths, and what every answer of every arm adds to it.

    Returns
    -------
    The difference, and (arms, questions, seeds) whose sum over arms has the mean zero.
    """
    correct, tokens = evidence.outcomes["correct"], evidence.outcomes["tokens"]
    of_accuracy, of_tokens = np.zeros((2, len(correct)))
    estimate = 0.0
    for curve, sign in ((first, 1.0), (second, -1.0)):
        for length, weight in zip(lengths, weights, strict=True):
            shares, slope = curve.weights(length)
            estimate += sign * weight * float(shares @ curve.accuracy)
            of_accuracy[curve.arms] += sign * weight * shares
            of_tokens[curve.arms] -= sign * weight * shares * slope
    used = np.flatnonzero((of_accuracy != 0) | (of_tokens != 0))
    influence = of_accuracy[used, None, None] * correct[used] + of_tokens[used, None, None] * tokens[used]
    return estimate, influence - influence.mean(axis=(1, 2), keepdims=True)


def _because(row: dict[Any, Any]) -> str:
    if np.isnan(row["tokens_low"]):
        return "a curve has one point only: teach these strategies at more keep ratios"
    if np.isnan(row["estimate"]):
        return f"one generates {row['tokens_low']:.0f} tokens or more, the other {row['tokens_high']:.0f} or fewer: no overlap"
    if np.isnan(row["ci_low"]):
        return f"difference {number(row['estimate'])}, without spread, so without an interval"
    where = f"{row['tokens_low']:.0f} to {row['tokens_high']:.0f}" if row["what"] == MEAN else f"{row['tokens']:.0f}"
    return f"difference {number(row['estimate'])} ({ends(row)}), {row['what']}: {where} tokens"
