"""Reasoning to steps: contiguous pieces that partition its tokens."""

import re
from typing import Final

import numpy as np

from reasoning_anatomy.types import IntArray

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


def _leading_space(text: str) -> int:
    stripped = text.lstrip()
    return len(text) - len(stripped) if stripped else 0
