"""``attention_sparsity``: the world of `benchmarks.sparsity_simulation` in which length matters."""

from typing import Final

from benchmarks._validity import Rate
from benchmarks.sparsity_simulation import WORLDS, rates

_DRAWS: Final = 999


def simulate(n_questions: int, samples: int, seed: int) -> list[Rate]:
    """Compare wrong and correct chains of different lengths, on questions of different difficulty."""
    (world,) = (world for world in WORLDS if world.name == "length matters")
    found = rates(world, n_questions, replications=samples, draws=_DRAWS, seed=seed)
    return [
        Rate("difference given length", "false positives", found["given_length"], samples),
        Rate("any of 8 measures, Holm", "false positives", found["holm"], samples, note="Related measures: Holm is careful."),
        Rate("difference given length", "coverage", found["coverage"], samples),
        Rate("effect size given length", "coverage", found["coverage_of_effect"], samples),
    ]
