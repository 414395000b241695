"""The tables of distillation: what students of every arm answer, and how the arms compare."""

from typing import Final

import numpy as np
import pandas as pd
from scipy.stats import norm, t

from analyses._distillation.comparisons import POINTS, compared, power_table
from analyses._distillation.curves import MEAN as MEAN_OF_LENGTHS
from analyses._distillation.curves import Curve, curves, same_length
from analyses._distillation.evidence import ARM, Evidence
from analyses._statistics.seeds import SeedMean, mean_over, seed_variation
from analyses._statistics.shares import wilson_interval
from reasoning_anatomy.types import RESULT_COLUMNS, FloatArray

MAIN: Final = "table"
"""Name of the main table among those of `all_tables`."""

MEASURES: Final = {
    "correct": "accuracy", "tokens": "tokens generated", "cut_off": "answers cut off", "nll_gold": "nll of the gold answer",
}  # fmt: skip
"""Outcomes, and the terms of the main table that are their means."""

_SHARES: Final = ("correct", "cut_off")
_ACCURACY: Final = dict(zip(("estimate", "ci_low", "ci_high"), ("accuracy", "accuracy_low", "accuracy_high"), strict=True))


def all_tables(evidence: Evidence, *, margin: float | None, confidence: float) -> dict[str, pd.DataFrame]:
    """Compare the arms.

    Returns
    -------
    `MAIN` and the detail tables by name.
    """
    levels = {name: _levels(evidence, name, confidence) for name in MEASURES}
    versus = compared(evidence, margin=margin, confidence=confidence)
    of_strategies = curves(evidence, versus)
    lengths = same_length(evidence, of_strategies, confidence=confidence)
    effect = POINTS if margin is None else margin
    return {
        MAIN: _main(evidence, levels, versus, lengths),
        "arms": _arms(evidence, levels),
        "comparisons": versus.drop(columns=["first", "second"]),
        "curves": _curves(evidence, of_strategies, levels),
        "same_length": lengths,
        "power": power_table(evidence, versus, effect=effect, confidence=confidence),
        "students": _students(evidence),
    }


def _levels(evidence: Evidence, outcome: str, confidence: float) -> pd.DataFrame:
    """Mean of every arm with its interval: for new trainings, too, if there are several of each.

    How far trainings differ is pooled over arms for accuracy alone: lengths vary the more, the longer they are. Shares have
    Wilson's interval, with as many answers as have the variance of the mean, and the quantile of t.
    """
    is_trained = evidence.arms["is_trained"].to_numpy(dtype=bool)
    rows = []
    for arm, trained in zip(evidence.outcomes[outcome], is_trained, strict=True):
        values = arm[np.isfinite(arm).all(axis=1)]
        variation = evidence.variation if outcome == "correct" else seed_variation(values[None])
        mean = mean_over(values, [variation] if trained and variation is not None else [])
        low, high = mean.interval(confidence)
        if outcome in _SHARES and len(values) > 1:
            low, high = share_interval(mean, len(values), confidence)
        rows.append({"estimate": mean.estimate, "ci_low": low, "ci_high": high, "n_questions": len(values)})
    return pd.DataFrame(rows)


def share_interval(mean: SeedMean, n_questions: int, confidence: float) -> tuple[float, float]:
    """Wilson's interval with as many answers as have the variance of a mean."""
    worth = float(n_questions)
    if mean.has_spread:
        share = (mean.estimate * n_questions + 0.5) / (n_questions + 1)
        quantiles = norm.ppf((1 + confidence) / 2) / t.ppf((1 + confidence) / 2, mean.freedom)
        worth = float(share * (1 - share) / mean.error**2 * quantiles**2)
    low, high = wilson_interval(np.array([mean.estimate]), np.array([worth]), confidence=confidence)
    return float(low[0]), float(high[0])


def _main(evidence: Evidence, levels: dict[str, pd.DataFrame], versus: pd.DataFrame, lengths: pd.DataFrame) -> pd.DataFrame:
    """One row per arm and term, those of an arm together; last those of strategies at the same generated length."""
    arms, tokens = evidence.arms, evidence.outcomes["tokens"]
    n_answers = tokens.shape[1] * np.where(arms["is_trained"], tokens.shape[2], 1)
    parts = [
        level.assign(term=MEASURES[name], place=range(len(arms)), p_value=np.nan, p_adjusted=np.nan)
        for name, level in levels.items()
        if level["n_questions"].any()
    ]
    parts.append(versus.assign(term="difference from " + versus["control"].astype(str), place=versus["first"]))
    table = pd.concat([part for part in parts if len(part)], ignore_index=True).sort_values("place", kind="stable")
    place = table["place"].to_numpy(dtype=np.int64)
    table = table.drop(columns=[name for name in ARM if name in table]).reset_index(drop=True)
    total: FloatArray = tokens.mean(axis=2).sum(axis=1)
    own = pd.concat([arms.loc[place, ARM].reset_index(drop=True), table], axis=1).assign(
        n_chains=n_answers[place], n_tokens=total[place].round().astype(np.int64)
    )
    means = lengths[lengths["what"] == MEAN_OF_LENGTHS]
    pooled = means.assign(
        term="difference from " + means["control"].astype(str) + " at the same generated length",
        keep_ratio=np.nan,
        n_chains=tokens.shape[1] * tokens.shape[2],
        n_tokens=means["tokens"].mul(tokens.shape[1]).round().fillna(0).astype(np.int64),
    )
    columns = [*ARM, *RESULT_COLUMNS]
    return pd.concat([part[columns] for part in (own, pooled) if len(part)], ignore_index=True)


def _arms(evidence: Evidence, levels: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row per arm: what it was taught, and what its students do."""
    correct = evidence.outcomes["correct"]
    by_seed = correct.mean(axis=1)
    n_seeds = np.where(evidence.arms["is_trained"], correct.shape[2], 0)
    several = correct.shape[2] > 1
    return evidence.arms[[*ARM, "arm", "achieved", "tokens_taught"]].assign(
        **{new: levels["correct"][old] for old, new in _ACCURACY.items()},
        sd_of_seeds=np.where(n_seeds > 1, by_seed.std(axis=1, ddof=1 if several else 0), np.nan),
        tokens_generated=levels["tokens"]["estimate"],
        cut_off=levels["cut_off"]["estimate"],
        nll_gold=levels["nll_gold"]["estimate"],
        undecided=evidence.outcomes["undecided"].mean(axis=(1, 2)),
        n_questions=correct.shape[1],
        n_seeds=n_seeds,
    )


def _curves(evidence: Evidence, found: list[Curve], levels: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row per point of a curve, those of a strategy by the tokens that they generate."""
    rows = []
    for curve in found:
        of_arms = evidence.arms.loc[curve.arms]
        rows.append(
            pd.DataFrame(
                {
                    "strategy": curve.strategy,
                    "matching": curve.matching,
                    "equal": curve.equal,
                    "arm": of_arms["arm"],
                    "keep_ratio": of_arms["keep_ratio"],
                    "tokens_generated": curve.tokens,
                    "tokens_low": levels["tokens"]["ci_low"][curve.arms],
                    "tokens_high": levels["tokens"]["ci_high"][curve.arms],
                    **{new: levels["correct"][old][curve.arms] for old, new in _ACCURACY.items()},
                }
            )
        )
    columns = ["strategy", "matching", "equal", "arm", "keep_ratio", "tokens_generated", "tokens_low", "tokens_high"]
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=[*columns, *_ACCURACY.values()])


def _students(evidence: Evidence) -> pd.DataFrame:
    """One row per arm and training."""
    rows = []
    for place, arm in enumerate(evidence.arms.to_dict("records")):
        for column, seed in enumerate(evidence.seeds):
            if arm["is_trained"] or not column:
                means = {name: values[place, :, column] for name, values in evidence.outcomes.items()}
                rows.append(
                    {
                        **{name: arm[name] for name in (*ARM, "arm")},
                        "seed": seed if arm["is_trained"] else None,
                        "accuracy": means["correct"].mean(),
                        "tokens_generated": means["tokens"].mean(),
                        "cut_off": means["cut_off"].mean(),
                        "undecided": means["undecided"].mean(),
                        "n_questions": len(evidence.question_ids),
                    }
                )
    return pd.DataFrame(rows).astype({"seed": "Int64"})
