"""``annotator_agreement``: two annotators, of whom the second errs more in some questions than in others."""

from typing import Final

import numpy as np

from analyses._statistics.agreement import cohen_kappa, confusion, krippendorff_alpha, observed_agreement
from analyses._statistics.bootstrap import bootstrap_means, resample_counts
from analyses._statistics.questions import pseudo_values
from benchmarks._validity import Rate
from reasoning_anatomy.types import FloatArray

_DRAWS: Final = 999
_CATEGORIES: Final = 6


def simulate(n_questions: int, samples: int, seed: int) -> list[Rate]:
    """Label tokens twice; no hypothesis is tested, so that intervals are all there is to try."""
    shares = {error: coverage(n_questions, error, samples, seed=seed) for error in (0.03, 0.2)}
    return [
        Rate(measure, "coverage", share, samples, f"{100 * error:.0f} % of the labels drawn anew")
        for error, found in shares.items()
        for measure, share in found.items()
    ]


def coverage(n_questions: int, error: float, samples: int, *, seed: int) -> dict[str, float]:
    """Share of intervals that hold the value of all questions that there could be, by measure.

    A label is drawn anew from all six categories with a chance that has the mean ``error``, so that one in six of these is the
    same as before. Kappa is therefore what is left, and alpha, which takes the two annotators for one, almost the same.
    """
    truths = {"kappa": 1 - error, "alpha": 1 - error, "agreement": 1 - error * (1 - 1 / _CATEGORIES)}
    rng = np.random.default_rng(seed)
    resamples = resample_counts(n_questions, draws=_DRAWS, rng=np.random.default_rng(0))
    held = np.zeros((samples, len(truths)), dtype=bool)
    for sample in range(samples):
        means = bootstrap_means(pseudo_values(_draw(rng, n_questions, error), _measures), resamples, confidence=0.95)
        truth = np.array(list(truths.values()))
        held[sample] = (means.ci_low <= truth) & (truth <= means.ci_high)
    return dict(zip(truths, held.mean(axis=0).tolist(), strict=True))


def _draw(rng: np.random.Generator, n_questions: int, error: float) -> FloatArray:
    """Confusions of questions that differ in their categories, their length and in how hard they are to label."""
    found = []
    for _question in range(n_questions):
        first = rng.choice(_CATEGORIES, size=rng.integers(60, 180), p=rng.dirichlet(np.full(_CATEGORIES, 3.0)))
        is_new = rng.random(first.size) < rng.beta(1.5, 1.5 / error - 1.5)
        second = np.where(is_new, rng.integers(0, _CATEGORIES, first.size), first)
        found.append(confusion(first, second, _CATEGORIES))
    return np.stack(found)


def _measures(confusions: FloatArray) -> FloatArray:
    coincidences = confusions + np.swapaxes(confusions, -2, -1)
    return np.stack([cohen_kappa(confusions), krippendorff_alpha(coincidences), observed_agreement(confusions)], axis=-1)
