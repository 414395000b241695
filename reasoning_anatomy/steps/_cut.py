"""From the characters where steps begin to the step of every token."""

from collections.abc import Iterable, Sequence

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
    anchors = [start + leading_space(reasoning[start:end]) for start, end in spans]
    return np.searchsorted(begins, np.array(anchors, dtype=np.int64), side="right").astype(np.int64)


def ends_without_short_pieces(ends: Sequence[int], text: str, *, least: int) -> list[int]:
    """Join short pieces of a text to their neighbours.

    Parameters
    ----------
    ends
        End of every piece, ascending; each begins where the one before it ends, the first at 0.
    text
        What is cut.
    least
        A piece with fewer characters, without the white space around it, belongs to the next piece, the last one to the
        piece before it.

    Returns
    -------
    Ends of the pieces after that: the last of ``ends``, and some of the others.
    """
    begin, kept = 0, []
    for end in ends:
        if len(text[begin:end].strip()) >= least:
            kept.append(end)
            begin = end
    if kept and kept[-1] < ends[-1]:
        kept[-1] = ends[-1]
    return kept or list(ends[-1:])


def leading_space(text: str) -> int:
    """Count the characters of white space before the first other one; 0 if there is no other."""
    stripped = text.lstrip()
    return len(text) - len(stripped) if stripped else 0
