"""How often max-T finds a head that is not there, if questions are skewed: ``python -m benchmarks.skewed_heads``.

Values of 12 independent heads are drawn for a few questions from a gamma distribution around a mean of zero: some questions lie
far above the others. Random signs take the values to be symmetric, so a share above 5 % is what skewness costs.
"""

import sys

import numpy as np
import tyro

from analyses._statistics.families import max_t, random_signs

N_HEADS = 12
SKEWNESS = (0.0, 0.7, 1.0, 1.5, 2.0)
QUESTIONS = (8, 12, 30)


def main(samples: int = 500, seed: int = 0) -> None:
    """Print the share of samples in which some head is found, by skewness and number of questions.

    Parameters
    ----------
    samples
        For each number; its standard error is about 1 % for 500.
    seed
        Of the samples.
    """
    _say(f"{samples} samples of {N_HEADS} heads without a mean; share in which max-T finds some head at 5 %")
    _say("skewness  " + "".join(f"{n_questions:>4} questions" for n_questions in QUESTIONS))
    for skewness in SKEWNESS:
        shares = [any_head_found(n_questions, samples, skewness=skewness, seed=seed) for n_questions in QUESTIONS]
        _say(f"{skewness:<10}" + "".join(f"{share:>14.1%}" for share in shares))


def any_head_found(n_questions: int, samples: int, *, skewness: float, seed: int) -> float:
    """Share of samples in which max-T finds one of the heads at 5 %, where none has a mean; 0 skewness is normal."""
    rng = np.random.default_rng(seed)
    signs = random_signs(n_questions, draws=999, rng=np.random.default_rng(0))
    size, shape = (n_questions, N_HEADS), 4 / skewness**2 if skewness else np.inf
    found = 0
    for _ in range(samples):
        values = (rng.gamma(shape, size=size) - shape) / np.sqrt(shape) if skewness else rng.standard_normal(size)
        found += bool((max_t(0.2 * values, signs) <= 0.05).any())
    return found / samples


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    tyro.cli(main)
