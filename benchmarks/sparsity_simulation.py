"""How often ``attention_sparsity`` finds what is not there and how often its intervals hold, by simulation.

``python -m benchmarks.sparsity_simulation`` draws chains whose truth is known. Questions differ in their level, in difficulty,
and in how much their wrong chains differ from their correct ones; hard questions have more wrong chains, longer chains and
another level; wrong chains are longer, and sparsity depends on length. Then the code of the analysis compares them.
"""

import sys
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
import tyro

from analyses._statistics.bootstrap import Counts, Means, bootstrap_means, resample_counts
from analyses._statistics.families import adjust
from analyses._statistics.kinds import Measured, all_questions, within_questions
from reasoning_anatomy.types import FloatArray, IntArray

QUESTIONS: Final = (8, 30, 100)
"""Questions that have both kinds of chains; half as many have one kind only."""
MEASURES: Final = 8
"""Related measures of a family."""

_AT_ONCE: Final = 100
_NOISE: Final = 0.02  # standard deviation of chains on one question
_LENGTHS: Final = 0.4  # the same of their log lengths


@dataclass(frozen=True)
class World:
    """How sparsity depends on length, and how many chains there are.

    Attributes
    ----------
    name
        In the table.
    n_chains
        Of each question.
    slope
        Of sparsity on log length.
    curve
        The same on its square, around the middle.
    truth
        Mean difference of wrong and correct chains of one length, where there is one.
    """

    name: str
    n_chains: int = 8
    slope: float = 0.02
    curve: float = 0.0
    truth: float = 0.01


WORLDS: Final = (
    World("length does nothing", slope=0.0),
    World("length matters"),
    World("length matters, 3 chains", n_chains=3),
    World("length matters, curved", curve=-0.01),
)


def main(replications: int = 4000, draws: int = 999, seed: int = 0) -> None:
    """Print false positives (nominal 5 %) and coverage (nominal 95 %), by world and number of questions.

    Parameters
    ----------
    replications
        Of each; the standard error of a rate of 5 % is 0.34 % for 4000.
    draws
        Bootstrap resamples.
    seed
        Of the chains.
    """
    rows = []
    for world in WORLDS:
        for n_questions in QUESTIONS:
            found = rates(world, n_questions, replications=replications, draws=draws, seed=seed)
            shown = {name: "" if np.isnan(rate) else f"{100 * rate:.1f}" for name, rate in found.items()}
            rows.append({"world": world.name, "questions": n_questions, **shown})
    sys.stdout.write(f"{replications} replications, in per cent\n{pd.DataFrame(rows).to_string(index=False)}\n")


def rates(world: World, n_questions: int, *, replications: int, draws: int, seed: int) -> dict[str, float]:
    """Rates of one world, 0..1.

    Returns
    -------
    Of p <= 0.05 if wrong and correct chains of one length do not differ in the mean: ``given_length``, the test of the
    analysis; ``raw``, without length; ``all_questions`` given length, confounded with difficulty; ``chains_as_units``, the same
    if chains are taken for questions; ``holm``, any of several related measures after correction. Of intervals that hold the
    truth: ``coverage`` of the difference, and ``coverage_of_effect`` of the effect size, where there is one; NaN if the curve
    makes chains on one question differ in their spread.
    """
    resamples = {n: resample_counts(n, draws=draws, rng=np.random.default_rng(0)) for n in _sizes(world, n_questions)}
    sizes = [min(_AT_ONCE, replications - start) for start in range(0, replications, _AT_ONCE)]
    blocks = [
        _decisions(world, n_questions, size, resamples, np.random.default_rng([seed, number]))
        for number, size in enumerate(sizes)
    ]
    return {name: float(np.concatenate([block[name] for block in blocks]).mean()) for name in blocks[0]}


def _decisions(
    world: World, n_questions: int, size: int, resamples: dict[int, Counts], rng: np.random.Generator
) -> dict[str, FloatArray]:
    """Decide in ``size`` replications, 1 = yes; (size,) by name."""
    n_every = n_questions + n_questions // 2
    difficulty = rng.beta(1.5, 1.5, (n_every, 1, size))
    wrong = (rng.random((n_every, world.n_chains, size)) < difficulty).astype(np.float64)
    wrong[:n_questions, 0], wrong[:n_questions, 1] = 0, 1
    wrong[n_questions:] = rng.random((n_every - n_questions, 1, size)) < difficulty[n_questions:]
    level = rng.normal(0, 0.03, difficulty.shape) + 0.1 * difficulty
    length = rng.normal(5, 0.3, difficulty.shape) + difficulty + rng.normal(0, _LENGTHS, wrong.shape) + 0.3 * wrong
    own = rng.normal(0, 0.01, difficulty.shape)
    by_length = world.slope * length + world.curve * (length - 5.5) ** 2
    shared, *apart = rng.normal(0, _NOISE, (1 + MEASURES, *wrong.shape))
    values = [level + by_length + own * wrong + (2 * shared + one) / np.sqrt(5) for one in apart]
    question = np.repeat(np.arange(n_every), world.n_chains)
    paired = question < n_questions
    flat_wrong, flat_length, flat_values = _flat(wrong), _flat(length), _flat(values[0])

    def within(chains: FloatArray) -> dict[str, Measured]:
        return within_questions(chains[paired], flat_wrong[paired], flat_length[paired], question[paired])

    def decide(measured: Measured) -> Means:
        of_questions = measured.of_questions
        return bootstrap_means(of_questions, resamples[len(of_questions)], confidence=0.95)

    def units(of: IntArray) -> FloatArray:
        return decide(all_questions(flat_values, flat_wrong, flat_length, of)["given_length"]).p_value

    nothing, something = within(flat_values), within(flat_values + world.truth * flat_wrong)
    family = np.stack([decide(within(_flat(each))["given_length"]).p_value for each in values], axis=1)
    sd = np.hypot(_NOISE, world.slope * _LENGTHS) if world.curve == 0 else np.nan
    effect = _holds(decide(something["effect_given_length"]), world.truth / sd)
    decided = {
        "given_length": family[:, 0] <= 0.05,
        "raw": decide(nothing["raw"]).p_value <= 0.05,
        "all_questions": units(question) <= 0.05,
        "chains_as_units": units(np.arange(len(question))) <= 0.05,
        "holm": np.array([(adjust(each, "holm") <= 0.05).any() for each in family]),
        "coverage": _holds(decide(something["given_length"]), world.truth),
        "coverage_of_effect": effect if world.curve == 0 else np.full(size, np.nan),
    }
    return {name: np.asarray(found, dtype=np.float64) for name, found in decided.items()}


def _sizes(world: World, n_questions: int) -> tuple[int, int, int]:
    """Numbers of units that are resampled: questions with both kinds, all questions, chains."""
    n_every = n_questions + n_questions // 2
    return n_questions, n_every, n_every * world.n_chains


def _flat(chains: FloatArray) -> FloatArray:
    """(questions, chains, replications) -> (chains, replications)."""
    return chains.reshape(-1, chains.shape[-1])


def _holds(means: Means, truth: float) -> FloatArray:
    return np.asarray((means.ci_low <= truth) & (truth <= means.ci_high))


if __name__ == "__main__":
    tyro.cli(main)
