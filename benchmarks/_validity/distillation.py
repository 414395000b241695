"""``distillation``: students of several arms that answer the same questions, three trainings of each.

Whether an answer is correct depends on the question, on what a question is under an arm, on the training, and on chance. Arms
of a curve generate more tokens the more of the chain they were taught, and a question that needs many needs them in all arms.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy.stats import norm

from analyses._distillation.comparisons import difference
from analyses._distillation.curves import curves, same_length
from analyses._distillation.evidence import OUTCOMES, Evidence
from analyses._distillation.tables import share_interval
from analyses._statistics.seeds import mean_over
from benchmarks._validity import Rate
from benchmarks._validity._rates import any_found
from reasoning_anatomy.run.students import FULL
from reasoning_anatomy.types import FloatArray

SEEDS: Final = 3
LEVEL: Final = 0.3
"""Of the latent scale, on which half of the answers are correct at 0."""

QUESTION: Final = 1.0
QUESTION_AND_ARM: Final = 0.5
TRAINING: Final = 0.2
CHANCE: Final = 1.1
"""Standard deviations on that scale."""

ARMS: Final = 5
EFFECT: Final = 0.4
UNLIKE: Final = 3
"""How much more the trainings of one arm differ than those of the others, in a setting that the analysis warns of."""

MARGIN: Final = 0.1
_FEW: Final = "With so few questions t and Satterthwaite's degrees of freedom are careful."
_UNLIKE: Final = "How far trainings differ is pooled over arms; if it is too little for one arm, a warning names that arm."
_FAMILY: Final = "Holm over differences from one control is careful."


def simulate(n_questions: int, samples: int, seed: int) -> list[Rate]:
    """Compare arms that teach the same, and arms that do not."""
    rng = np.random.default_rng(seed)
    few, on_line = (_FEW if n_questions < 20 else ""), (_FEW if n_questions < 50 else "")
    gap, loss = accuracy(LEVEL + EFFECT) - accuracy(LEVEL), LEVEL - level_of(accuracy(LEVEL) - MARGIN)
    alike, apart, lost = (
        [drawn(rng, [LEVEL + shift, *[LEVEL] * (ARMS - 1)], n_questions) for _ in range(samples)]
        for shift in (0, EFFECT, -loss)
    )
    families = [[_difference(evidence, other) for other in range(1, ARMS)] for evidence in alike]
    of_gap, of_loss = ([_difference(evidence, 1) for evidence in of_one] for of_one in (apart, lost))
    levels = [_level(evidence) for evidence in alike]
    lengths = [_at_same_length(rng, n_questions) for _ in range(samples)]
    single = [_difference(drawn(rng, [LEVEL] * 2, n_questions, n_seeds=1, training=0.0), 1) for _ in range(samples)]
    wild = [_difference(_with_an_unlike_arm(rng, n_questions), 1) for _ in range(samples)]
    lost_p = _all(of_loss, "p_not_worse")
    p_values = np.array([[row["p_value"] for row in family] for family in families])
    setting = f"accuracy {accuracy(LEVEL):.2f} and {accuracy(LEVEL + EFFECT):.2f}"
    unlike = f"trainings of one of {ARMS} arms differ {UNLIKE} times as much"
    same = "difference at the same generated length"
    return [
        Rate("difference of accuracy", "false positives", _found(p_values[:, 0]), samples, note=few),
        Rate("any of 4 beside a control, Holm", "false positives", any_found(p_values), samples, note=_FAMILY),
        Rate("not worse by the margin, which is lost", "false positives", _found(lost_p), samples, note=few),
        Rate("difference of accuracy", "coverage", _holding(of_gap, gap), samples, note=few),
        Rate("difference where the margin is lost", "coverage", _holding(of_loss, -MARGIN), samples, note=few),
        Rate("accuracy", "coverage", _holding(levels, accuracy(LEVEL)), samples, note=few),
        Rate(same, "false positives", _found(_all(lengths, "p_value")), samples, note=on_line),
        Rate(same, "coverage", _holding(lengths, 0.0), samples, note=on_line),
        Rate("difference of accuracy", "false positives", _found(_all(single, "p_value")), samples, "one training", few),
        Rate("difference of accuracy", "false positives", _found(_all(wild, "p_value")), samples, unlike, _UNLIKE),
        Rate("difference of accuracy", "power", _found(_all(of_gap, "p_value")), samples, setting),
    ]


def drawn(
    rng: np.random.Generator,
    levels: Sequence[float],
    n_questions: int,
    *,
    n_seeds: int = SEEDS,
    training: float | Sequence[float] = TRAINING,
    tokens: Sequence[float] | None = None,
) -> Evidence:
    """Draw the answers of one sample; arms are whole chains, then two strategies in turn, first at the lower ratio."""
    shape = (len(levels), n_questions, n_seeds)
    latent = np.array(levels)[:, None, None] + QUESTION * rng.standard_normal((1, n_questions, 1))
    latent = latent + QUESTION_AND_ARM * rng.standard_normal((len(levels), n_questions, 1))
    of_arms = np.broadcast_to(training, len(levels))[:, None, None]
    latent = latent + of_arms * rng.standard_normal((len(levels), 1, n_seeds)) + CHANCE * rng.standard_normal(shape)
    places = np.arange(len(levels) - 1)
    arms = pd.DataFrame(
        {
            "strategy": [FULL, *(f"strategy {place % 2}" for place in places)],
            "keep_ratio": [1.0, *(0.6 + 0.2 * (place // 2) for place in places)],
            "matching": "chain",
            "equal": "steps",
            "is_trained": True,
        }
    )
    arms["arm"] = arms["strategy"] + " at " + arms["keep_ratio"].astype(str)
    outcomes = {name: np.zeros(shape) for name in OUTCOMES}
    length = 1 + 0.3 * rng.standard_normal((1, n_questions, 1)) + 0.2 * rng.standard_normal(shape)
    length = length + 0.05 * rng.standard_normal((len(levels), 1, n_seeds))
    outcomes |= {"correct": (latent > 0).astype(float), "tokens": np.array(tokens or levels)[:, None, None] * length}
    questions = tuple(f"q{number}" for number in range(n_questions))
    return Evidence(arms, questions, tuple(range(n_seeds)), outcomes, {})


def accuracy(level: float, training: float = TRAINING) -> float:
    """Mean accuracy over questions and trainings at a level of the latent scale."""
    return float(norm.cdf(level / np.sqrt(QUESTION**2 + QUESTION_AND_ARM**2 + training**2 + CHANCE**2)))


def level_of(mean: float, training: float = TRAINING) -> float:
    """Level at which accuracy has this mean."""
    return float(norm.ppf(mean) * np.sqrt(QUESTION**2 + QUESTION_AND_ARM**2 + training**2 + CHANCE**2))


def _difference(evidence: Evidence, other: int) -> dict[str, Any]:
    correct = evidence.outcomes["correct"]
    return difference(evidence, correct[0] - correct[other], 2, margin=MARGIN, confidence=0.95)


def _with_an_unlike_arm(rng: np.random.Generator, n_questions: int) -> Evidence:
    """Draw arms of the same accuracy, the first of which may come out well or badly by its training."""
    levels = [level_of(accuracy(LEVEL), UNLIKE * TRAINING), *[LEVEL] * (ARMS - 1)]
    return drawn(rng, levels, n_questions, training=[UNLIKE * TRAINING, *[TRAINING] * (ARMS - 1)])


def _level(evidence: Evidence) -> dict[str, Any]:
    seeds = [evidence.variation] if evidence.variation else []
    low, high = share_interval(mean_over(evidence.outcomes["correct"][0], seeds), len(evidence.question_ids), 0.95)
    return {"ci_low": low, "ci_high": high}


def _at_same_length(rng: np.random.Generator, n_questions: int) -> dict[Hashable, Any]:
    """Compare two strategies on one line of accuracy over tokens, whose arms lie at other places of it."""
    tokens = np.array([100.0, 60.0, 70.0, 80.0, 88.0])
    means = accuracy(LEVEL) - 0.15 * (100 - tokens) / 40
    evidence = drawn(rng, [level_of(mean) for mean in means], n_questions, tokens=list(tokens))
    none = pd.DataFrame({"is_cut_off": [False], "control": [FULL], "first": [0]})
    return same_length(evidence, curves(evidence, none), confidence=0.95).to_dict("records")[0]


def _all(rows: Sequence[Mapping[Any, Any]], name: str) -> FloatArray:
    return np.array([row[name] for row in rows])


def _found(p_values: FloatArray) -> float:
    return float((p_values <= 0.05).mean())


def _holding(rows: Sequence[Mapping[Any, Any]], truth: float) -> float:
    return float(((_all(rows, "ci_low") <= truth) & (truth <= _all(rows, "ci_high"))).mean())
