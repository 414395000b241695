"""False positives and coverage of ``distillation`` by seeds, questions, arms, and how far trainings differ.

``python -m benchmarks.distillation_simulation`` prints the table of docs/analyses/distillation.md.
"""

import sys
from dataclasses import dataclass

import numpy as np
import tyro

from analyses._distillation.comparisons import difference
from benchmarks._validity.distillation import LEVEL, accuracy, drawn

_SHIFT = 0.3


@dataclass(frozen=True)
class Options:
    """Rates of the difference of two arms, in per cent."""

    samples: int = 1000
    """Of each cell."""
    questions: tuple[int, ...] = (30, 100, 200)
    """In a sample."""
    seeds: tuple[int, ...] = (2, 3, 5)
    """Trainings of each arm."""
    arms: tuple[int, ...] = (2, 3, 6)
    """Trained in a sample, over which the variance between trainings is pooled."""
    training: tuple[float, ...] = (0.0, 0.1, 0.2, 0.4)
    """Standard deviations between trainings on the latent scale."""


def rates(n_questions: int, n_seeds: int, n_arms: int, training: float, *, samples: int, seed: int) -> tuple[float, float]:
    """Share of p <= 0.05 between arms that are alike, and of 95 % intervals that hold a difference."""
    rng = np.random.default_rng(seed)
    found = held = 0
    truth = accuracy(LEVEL + _SHIFT, training) - accuracy(LEVEL, training)
    for _ in range(samples):
        for shift in (0.0, _SHIFT):
            levels = [LEVEL + shift, *[LEVEL] * (n_arms - 1)]
            evidence = drawn(rng, levels, n_questions, n_seeds=n_seeds, training=training)
            correct = evidence.outcomes["correct"]
            row = difference(evidence, correct[0] - correct[1], 2, margin=None, confidence=0.95)
            if shift:
                held += row["ci_low"] <= truth <= row["ci_high"]
            else:
                found += row["p_value"] <= 0.05
    return found / samples, held / samples


def main(options: Options) -> None:
    """Print a table in Markdown: false positives / coverage."""
    heads = [f"{n_seeds} seeds, {n_questions} questions" for n_seeds in options.seeds for n_questions in options.questions]
    sys.stdout.write(f"| arms | between trainings | {' | '.join(heads)} |\n|---|---|{'---|' * len(heads)}\n")
    for n_arms in options.arms:
        for training in options.training:
            cells = [
                rates(n_questions, n_seeds, n_arms, training, samples=options.samples, seed=n_seeds * n_questions)
                for n_seeds in options.seeds
                for n_questions in options.questions
            ]
            shown = " | ".join(f"{100 * found:.1f} / {100 * held:.1f}" for found, held in cells)
            sys.stdout.write(f"| {n_arms} | {training:g} | {shown} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(tyro.cli(Options))
