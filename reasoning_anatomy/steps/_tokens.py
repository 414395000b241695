"""Reasoning to steps: contiguous pieces that partition its tokens."""

import re
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from reasoning_anatomy.types import FloatArray, IntArray

_STEP_END: Final = re.compile(r"\n+\s*|(?<=[.?!])[ \t]+(?=\S)")


def step_of_token(reasoning: str, spans: IntArray) -> IntArray:
    """Index of the step of every reasoning token, 0-based.

    A step ends at a line break or after ``.``, ``?`` or ``!`` followed by white space; white space belongs to
    the step before it. A token belongs to the step of its first character that is not white space (of its
    first character, where it has no other).

    Parameters
    ----------
    reasoning
        Text of the reasoning.
    spans
        (n, 2) half-open character spans.

    Returns
    -------
    (n,) steps, never decreasing.
    """
    starts = np.array([match.end() for match in _STEP_END.finditer(reasoning) if match.end() < len(reasoning)], dtype=np.int64)
    anchors = [start + _leading_space(reasoning[start:end]) for start, end in spans]
    return np.searchsorted(starts, np.array(anchors, dtype=np.int64), side="right").astype(np.int64)


def aggregate(score: npt.NDArray[Any], step: IntArray, *, how: Literal["mean", "sum"]) -> FloatArray:
    """Combine the scores of tokens to scores of their steps.

    Parameters
    ----------
    score
        (..., n) higher = more important.
    step
        (n,) never decreasing, as `step_of_token` gives it.
    how
        ``"mean"`` over the tokens of a step: how important its tokens are. ``"sum"``: how important the step is, where
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


def _leading_space(text: str) -> int:
    stripped = text.lstrip()
    return len(text) - len(stripped) if stripped else 0
