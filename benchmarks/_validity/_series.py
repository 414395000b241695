"""Series that resemble the tokens of a chain."""

from typing import Final

import numpy as np
from scipy.signal import lfilter

from reasoning_anatomy.types import FloatArray

CHAINS: Final = 3
"""Of every question."""
TOKENS: Final = 40
"""Of every chain."""
AUTOCORRELATION: Final = 0.7
"""Of neighbouring tokens."""


def autocorrelated(rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
    """Draw series of unit variance along the last axis, whose neighbours correlate: AR(1)."""
    steps = rng.standard_normal(shape)
    steps[..., 0] /= np.sqrt(1 - AUTOCORRELATION**2)
    return np.asarray(lfilter([1], [1, -AUTOCORRELATION], steps, axis=-1) * np.sqrt(1 - AUTOCORRELATION**2))
