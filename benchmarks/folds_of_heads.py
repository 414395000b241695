"""How often the best of many heads is found where none has a mean: ``python -m benchmarks.folds_of_heads``.

Values of 200 heads, half of whose variance is shared, are drawn for a few questions around a mean of zero. The head is chosen
on all questions and judged on the same; chosen without the questions of a fold and judged on these, the judgements of all folds
taken for a sample of questions; or, as `analyses.best_head` does it, chosen and judged on many random halves.
"""

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import numpy as np
import tyro

from analyses._statistics.bootstrap import bootstrap_means, resample_counts
from analyses._statistics.halves import judge, random_halves
from reasoning_anatomy.types import FloatArray

N_HEADS: Final = 200
QUESTIONS: Final = (8, 30, 100)
_DRAWS: Final = 999
_HALVINGS: Final = 50

Judge = Callable[[FloatArray], FloatArray]
"""(questions, heads) to one number per question."""


def on_the_same(values: FloatArray) -> FloatArray:
    """Choose and judge on all questions."""
    return np.asarray(values[:, values.mean(axis=0).argmax()])


def in_folds(values: FloatArray, *, folds: int | None) -> FloatArray:
    """Choose without the questions of a fold, and judge on them; a fold for every question if None."""
    n_questions = len(values)
    fold = np.arange(n_questions) % (folds or n_questions)
    chosen = np.array([values[fold != number].mean(axis=0).argmax() for number in range(fold.max() + 1)])
    return np.asarray(values[np.arange(n_questions), chosen[fold]])


def in_halves(values: FloatArray) -> FloatArray:
    """Choose and judge on random halves, as the analysis does."""
    halves = random_halves(len(values), halvings=_HALVINGS, rng=np.random.default_rng(0))
    return judge(values, halves).for_inference


JUDGES: Final[Mapping[str, Judge]] = {
    "on the same questions": on_the_same,
    "one question left out": partial(in_folds, folds=None),
    "ten folds": partial(in_folds, folds=10),
    "five folds": partial(in_folds, folds=5),
    "two folds": partial(in_folds, folds=2),
    "random halves": in_halves,
}


def main(samples: int = 1000, seed: int = 0) -> None:
    """Print the share of samples in which the mean differs from zero at 5 %, by number of questions.

    Parameters
    ----------
    samples
        For each number; its standard error is about 1 % for 500.
    seed
        Of the samples.
    """
    sys.stdout.write(f"{samples} samples of {N_HEADS} heads without a mean; share in which the best one is found at 5 %\n")
    sys.stdout.write(f"{'':<24}" + "".join(f"{n_questions:>4} questions" for n_questions in QUESTIONS) + "\n")
    for name, way in JUDGES.items():
        shares = [found(way, n_questions, samples, seed=seed) for n_questions in QUESTIONS]
        sys.stdout.write(f"{name:<24}" + "".join(f"{share:>14.1%}" for share in shares) + "\n")


def found(way: Judge, n_questions: int, samples: int, *, seed: int) -> float:
    """Share of samples in which a way of judging finds a mean that is not there."""
    rng = np.random.default_rng(seed)
    judged = np.empty((n_questions, samples))
    for sample in range(samples):
        values = rng.standard_normal((n_questions, 1)) + rng.standard_normal((n_questions, N_HEADS))
        judged[:, sample] = way(0.2 * values)
    resamples = resample_counts(n_questions, draws=_DRAWS, rng=np.random.default_rng(0))
    return float((bootstrap_means(judged, resamples, confidence=0.95).p_value <= 0.05).mean())


if __name__ == "__main__":
    tyro.cli(main)
