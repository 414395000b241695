"""From values of simulated questions to how often something is found, or held."""

from typing import Final

import numpy as np

from analyses._statistics.bootstrap import Means, bootstrap_means, resample_counts
from analyses._statistics.families import adjust
from reasoning_anatomy.types import FloatArray

DRAWS: Final = 999
"""Bootstrap resamples of every sample."""
FEW: Final = "With few questions the bootstrap errs on the careful side."
"""A note for a `Rate`."""


def combined(values: FloatArray) -> Means:
    """Mean of every sample with its interval; (samples, questions) -> (samples,)."""
    counts = resample_counts(values.shape[1], draws=DRAWS, rng=np.random.default_rng(0))
    return bootstrap_means(values.T, counts, confidence=0.95)


def finding(means: Means) -> float:
    """Share of samples with p <= 0.05."""
    return float((means.p_value <= 0.05).mean())


def holding(means: Means, truth: FloatArray | float) -> float:
    """Share of intervals that hold the truth."""
    held = np.asarray((means.ci_low <= truth) & (truth <= means.ci_high))
    return float(held.mean())


def any_found(p_values: FloatArray) -> float:
    """Share of samples in which Holm finds some member of a family; (samples, family)."""
    return float(np.mean([(adjust(family, "holm") <= 0.05).any() for family in p_values]))
