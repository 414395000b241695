"""From scores of tokens to scores of their steps."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from reasoning_anatomy.types import FloatArray, IntArray


def aggregate(score: npt.NDArray[Any], step: IntArray, *, how: Literal["mean", "sum"]) -> FloatArray:
    """Combine the scores of tokens into scores of their steps.

    Parameters
    ----------
    score
        (..., n) higher = more important.
    step
        (n,) never decreasing, as a segmenter gives it.
    how
        ``"mean"`` over the tokens of a step: how important its tokens are. ``"sum"``: how important the step is, if
        scores add up; longer steps have more.

    Returns
    -------
    (..., k) float64, one column for each of the k steps that have a token, in order: those of ``np.unique(step)``.
    """
    if how not in ("mean", "sum"):
        raise ValueError(f"how is {how!r}, expected 'mean' or 'sum'")
    _, starts, counts = np.unique(step, return_index=True, return_counts=True)
    sums: FloatArray = np.add.reduceat(np.asarray(score, dtype=np.float64), starts, axis=-1)
    return sums / counts if how == "mean" else sums
