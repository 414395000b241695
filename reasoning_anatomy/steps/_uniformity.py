"""How alike the scores of steps are."""

import numpy as np

from reasoning_anatomy.types import FloatArray


def uniformity(importance: FloatArray) -> float:
    """Entropy of the scores of steps (s,), as shares of their sum, by that of equal shares: 0..1.

    Negative scores count as 0. One step, or a sum of 0, is uniform: 1.

    References
    ----------
    TRAAC, arXiv:2510.01581; the public repository, commit 0bfea0a.
    """
    positive = np.maximum(importance, 0)
    if len(importance) <= 1 or positive.sum() == 0:
        return 1.0
    share = positive / positive.sum()
    return float(-(share * np.log(share + 1e-12)).sum() / np.log(len(share)))
