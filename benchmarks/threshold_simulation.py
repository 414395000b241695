"""How often ``threshold_comparison`` finds what is not there and how often its intervals hold.

``python -m benchmarks.threshold_simulation`` draws answers whose truth is known. Every question has an accuracy of its own at
threshold 0 and at the other, both drawn around that of its kind (Beta distributions): deletion helps some questions, hurts
others, and leaves the mean as it is. Half of the answers share their random number with the answer at threshold 0. Then the
code of the analysis compares them. For one answer to each question rates follow from the share of the questions that differ: a
second table sums them over all outcomes that there can be.
"""

import sys
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
import tyro
from scipy.stats import multinomial, norm

from analyses._statistics.paired import mcnemar_exact, p_above, p_different, score_statistic
from analyses._statistics.position import BoolArray
from analyses._statistics.trend import page_test, slope_weights, slopes
from analyses._threshold_comparison.answers import Answers
from analyses._threshold_comparison.sample import AnswerSample
from reasoning_anatomy.types import FloatArray

PLACES: Final = np.array([0, 0.1, 0.2, 0.3, 0.4, 0.5])
"""Thresholds of the trend."""

_AT_ONCE: Final = 250


@dataclass(frozen=True)
class World:
    """Questions, and what deletion does to them.

    Attributes
    ----------
    name
        In the table.
    accuracy
        Mean over questions at threshold 0.
    spread
        Sum of the parameters of the Beta distribution of kinds of question; small = easy ones and hard ones.
    likeness
        The same of the accuracies of a question around that of its kind; small = large effects by question.
    margin
        That is stated, and that is lost where there is a loss.
    loses_all
        Whether a loss is that of a few questions that lose everything, and not one of every question.
    """

    name: str
    accuracy: float
    spread: float
    likeness: float
    margin: float
    loses_all: bool = False


WORLDS: Final = (
    World("accuracy 0.5", accuracy=0.5, spread=1, likeness=5, margin=0.1),
    World("accuracy 0.8", accuracy=0.8, spread=2, likeness=5, margin=0.1),
    World("accuracy 0.95", accuracy=0.95, spread=2, likeness=5, margin=0.05),
    World("a few lose all", accuracy=0.8, spread=2, likeness=50, margin=0.1, loses_all=True),
)
QUESTIONS: Final = (30, 300)
SAMPLES: Final = (1, 8)
DIFFERING: Final = (0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
LOST: Final = 0.1
"""Margin of the second table, lost if so many questions differ."""

_WHY_FEW: Final = """\
Where false positives are below 3 and coverage of the difference is above 97, only two to five questions differ at all: hardly
any outcome can then show a difference, and nothing is found rather than too much.
"""


def main(replications: int = 4000, draws: int = 1999, seed: int = 0) -> None:
    """Print false positives (nominal 5 %) and coverage (nominal 95 %), by world, questions and samples; then by what differs.

    Parameters
    ----------
    replications
        Of each; the standard error of a rate of 5 % is 0.34 % for 4000.
    draws
        Bootstrap resamples.
    seed
        Of the answers.
    """
    rows = []
    for world in WORLDS:
        for n_questions in QUESTIONS:
            for n_samples in SAMPLES:
                found = rates(world, n_questions, n_samples, replications=replications, draws=draws, seed=seed)
                shown = {name: "" if np.isnan(rate) else f"{100 * rate:.1f}" for name, rate in found.items()}
                rows.append({"world": world.name, "questions": n_questions, "samples": n_samples, **shown})
    sys.stdout.write(f"{replications} replications, in per cent\n{pd.DataFrame(rows).to_string(index=False)}\n{_WHY_FEW}")
    exact = [
        {"questions": n, "differ": f"{100 * share:.0f}", **{k: f"{100 * v:.1f}" for k, v in rates_of_pairs(n, share).items()}}
        for n in QUESTIONS
        for share in DIFFERING
    ]
    table = pd.DataFrame(exact).replace("nan", "").to_string(index=False)
    sys.stdout.write(f"\nOne answer to each question, all outcomes, in per cent\n{table}\n")


def rates(world: World, n_questions: int, n_samples: int, *, replications: int, draws: int, seed: int) -> dict[str, float]:
    """Rates of one world, 0..1.

    Returns
    -------
    ``differ``: questions that do, without a mean difference; ``test``: p <= 0.05 then; ``exact``: the same of McNemar's exact
    test, NaN for several samples; ``pooled``: of one that takes samples for questions, NaN for one sample; ``coverage`` of the
    difference then, and ``coverage_of_loss`` if the margin is lost; ``not_worse``: that "not worse by more than the margin" is
    said if exactly the margin is lost; ``accuracy``: coverage of the accuracy; ``slope`` and ``page``: a trend found,
    p <= 0.05, if every question has its own and their mean is zero.
    """
    sizes = [min(_AT_ONCE, replications - start) for start in range(0, replications, _AT_ONCE)]
    blocks = [
        _decisions(world, n_questions, n_samples, size, draws=draws, rng=np.random.default_rng([seed, number]))
        for number, size in enumerate(sizes)
    ]
    return {name: float(np.concatenate([block[name] for block in blocks]).mean()) for name in blocks[0]}


def rates_of_pairs(n_questions: int, differing: float) -> dict[str, float]:
    """Rates for one answer to each question, of which a share differs, half to either side unless `LOST` is lost.

    Returns
    -------
    ``test``, ``exact``, ``coverage``, and if more differ than are lost ``coverage_of_loss`` and ``not_worse``: as of `rates`.
    """
    gained, lost = (each.ravel() for each in np.mgrid[: n_questions + 1, : n_questions + 1])
    gained, lost = gained[gained + lost <= n_questions], lost[gained + lost <= n_questions]
    outcomes, n = np.stack([gained, lost, n_questions - gained - lost], axis=1), np.full(len(gained), n_questions)

    def rate(happens: BoolArray, *, less: float) -> float:
        shares = [(differing - less) / 2, (differing + less) / 2, 1 - differing]
        return float(multinomial.pmf(outcomes, n_questions, shares)[happens].sum())

    found = {
        "test": rate(p_different(gained, lost, n) <= 0.05, less=0),
        "exact": rate(mcnemar_exact(gained, lost) <= 0.05, less=0),
        "coverage": rate(np.abs(score_statistic(gained, lost, n, 0.0)) <= norm.ppf(0.975), less=0),
    }
    if differing <= LOST:
        return {**found, "coverage_of_loss": float("nan"), "not_worse": float("nan")}
    return {
        **found,
        "coverage_of_loss": rate(np.abs(score_statistic(gained, lost, n, -LOST)) <= norm.ppf(0.975), less=LOST),
        "not_worse": rate(p_above(gained, lost, n, -LOST) <= 0.05, less=LOST),
    }


def _decisions(
    world: World, n_questions: int, n_samples: int, size: int, *, draws: int, rng: np.random.Generator
) -> dict[str, FloatArray]:
    """Decide in ``size`` replications, 1 = yes; (size,) by name."""
    sample = AnswerSample(_nobody(n_questions, n_samples), draws, 0.95, 0)
    shape = (n_questions, 1, size)
    kind = rng.beta(world.accuracy * world.spread, (1 - world.accuracy) * world.spread, shape).clip(1e-6, 1 - 1e-6)
    before, after = (rng.beta(world.likeness * kind, world.likeness * (1 - kind)) for _ in range(2))
    random, other = rng.random((2, n_questions, n_samples, size))
    random_after = np.where(rng.random(random.shape) < 0.5, random, other)
    lost = world.margin / world.accuracy
    worse = after * (rng.random(shape) >= lost) if world.loses_all else after * (1 - lost)
    correct = _flat(random < before)
    level = sample.shares(correct)
    same = sample.differences(_flat(random_after < after), correct)
    loss = sample.differences(_flat(random_after < worse), correct, margin=world.margin)
    pooled = mcnemar_exact(same["answers_gained"].to_numpy(), same["answers_lost"].to_numpy())
    decided = {
        "differ": (same["questions_gained"] + same["questions_lost"]) / n_questions,
        "test": same["p_value"] <= 0.05,
        "exact": (same["p_exact"] <= 0.05).where(same["p_exact"].notna()),
        "pooled": pooled <= 0.05 if n_samples > 1 else np.full(size, np.nan),
        "coverage": _holds(same, 0),
        "coverage_of_loss": _holds(loss, -world.margin),
        "not_worse": loss["p_not_worse"] <= 0.05,
        "accuracy": _holds(level, world.accuracy),
    }
    trends = _trends(sample, before, after, n_samples, rng)
    return {name: np.asarray(found, dtype=np.float64) for name, found in {**decided, **trends}.items()}


def _trends(
    sample: AnswerSample, before: FloatArray, after: FloatArray, n_samples: int, rng: np.random.Generator
) -> dict[str, BoolArray]:
    """Whether a trend is found over thresholds between which the accuracy of a question moves along a line."""
    n_questions, _, size = before.shape
    shape = (n_questions, n_samples, size)
    along = [before + (after - before) * place / PLACES[-1] for place in PLACES]
    accuracy = np.stack([(rng.random(shape) < share).mean(axis=1) for share in along], axis=1)  # questions, places, size
    reach = np.abs(slope_weights(PLACES)).sum() / 2
    each = np.stack([slopes(accuracy[..., number], PLACES) for number in range(size)], axis=1) / reach
    page = [page_test(accuracy[:, ::-1, number])[1] for number in range(size)]
    return {"slope": sample.bounded(each)["p_value"].to_numpy() <= 0.05, "page": np.array(page) <= 0.05}


def _nobody(n_questions: int, n_samples: int) -> Answers:
    """Answers without outcomes: which answer is to which question."""
    question = np.arange(n_questions)
    names = tuple(f"q{number}" for number in question)
    return Answers(pd.DataFrame(), np.repeat(question, n_samples), question, names, {})


def _flat(answers: BoolArray) -> FloatArray:
    """(questions, samples, replications) -> (answers, replications)."""
    return answers.reshape(-1, answers.shape[-1]).astype(np.float64)


def _holds(found: pd.DataFrame, truth: float) -> "pd.Series[bool]":
    return (found["ci_low"] <= truth) & (truth <= found["ci_high"])


if __name__ == "__main__":
    tyro.cli(main)
