"""From the characters where steps begin to the step of every token."""

from collections.abc import Iterable

import numpy as np

from reasoning_anatomy.types import IntArray


def cut_at(starts: Iterable[int], reasoning: str, spans: IntArray) -> IntArray:
    """Find the step of every token.

    Parameters
    ----------
    starts
        First character of every step but the first, ascending.
    reasoning, spans
        The text, and (n, 2) half-open character spans of its tokens.

    Returns
    -------
    (n,) steps, 0-based. A token belongs to the step of its first character that is not white space (of its first character,
    if it has no other).
    """
    begins = np.fromiter(starts, dtype=np.int64)
    anchors = [start + _leading_space(reasoning[start:end]) for start, end in spans]
    return np.searchsorted(begins, np.array(anchors, dtype=np.int64), side="right").astype(np.int64)


def _leading_space(text: str) -> int:
    stripped = text.lstrip()
    return len(text) - len(stripped) if stripped else 0
