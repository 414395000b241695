"""Steps that end with a sentence or a line."""

import re
from dataclasses import dataclass
from typing import Final

import numpy as np

from reasoning_anatomy.types import IntArray

_STEP_END: Final = re.compile(r"\n+\s*|(?<=[.?!])[ \t]+(?=\S)")


@dataclass(frozen=True, kw_only=True)
class Sentences:
    """A step ends at a line break, or after ``.``, ``?`` or ``!`` followed by white space.

    White space belongs to the step before it. A token belongs to the step of its first character that is not white space (of
    its first character, if it has no other).
    """

    def segment(self, reasoning: str, spans: IntArray) -> IntArray:
        """Find the step of every token; see `Segmenter.segment`."""
        ends = (match.end() for match in _STEP_END.finditer(reasoning))
        starts = np.array([end for end in ends if end < len(reasoning)], dtype=np.int64)
        anchors = [start + _leading_space(reasoning[start:end]) for start, end in spans]
        return np.searchsorted(starts, np.array(anchors, dtype=np.int64), side="right").astype(np.int64)


def step_of_token(reasoning: str, spans: IntArray) -> IntArray:
    """Find the step of every token by `Sentences`, the segmenter of every table: (n, 2) spans -> (n,) steps."""
    return Sentences().segment(reasoning, spans)


def _leading_space(text: str) -> int:
    stripped = text.lstrip()
    return len(text) - len(stripped) if stripped else 0
