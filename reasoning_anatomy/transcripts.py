"""What was evicted while a sample was written: when, why, and whether it was written again."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_LENGTH: Final = 8
"""Tokens in a row that are compared with evicted ones."""


@dataclass(frozen=True)
class EvictionEvent:
    """One eviction.

    Attributes
    ----------
    n_written
        Tokens that had been written; the newest was not in the cache yet.
    evicted
        Tokens that are in no head any more and were in one before: number among those written, from 0; below 0 for those of the
        prompt, the last of which is -1.
    n_before, n_after
        Tokens in the cache of one head.
    step_starts
        First token of every step that was known.
    step_scores
        Score of every step at this moment, higher = more important, None for those without a token in the cache; empty if the
        policy does not score steps.
    """

    n_written: int
    evicted: tuple[int, ...]
    n_before: int
    n_after: int
    step_starts: tuple[int, ...] = ()
    step_scores: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class Transcript:
    """How a sample was written under an eviction policy.

    Attributes
    ----------
    policy
        Its ``repr``.
    n_prompt, n_written
        Tokens of the prompt, and tokens that were written.
    token_ends
        (n_written,) end of every written token in the text, in characters; the text as it was written, tags included.
    events
        In order.
    n_skipped
        Evictions that were left out because the probe did not fit into the context.
    peak_tokens, peak_bytes
        Largest number of tokens in the cache, those of a probe included, and the bytes of their keys and values.
    n_rewritten
        Tokens written after an eviction in a row of 8 that was evicted before, and stood nowhere in the cache.
    """

    policy: str
    n_prompt: int
    n_written: int
    token_ends: tuple[int, ...]
    events: tuple[EvictionEvent, ...]
    n_skipped: int
    peak_tokens: int
    peak_bytes: int
    n_rewritten: int


def n_rewritten(ids: Sequence[int], events: Sequence[EvictionEvent], *, length: int = _LENGTH) -> int:
    """Count the tokens that were written again after their eviction.

    Parameters
    ----------
    ids
        All that was written.
    events
        What was evicted of it.
    length
        A token counts if it is in a row of so many tokens that had all been evicted, in a row, before the first of them was
        written again, while the same row stood nowhere in what was left.

    Examples
    --------
    >>> n_rewritten([5, 6, 7, 1, 5, 6, 7], [EvictionEvent(4, (0, 1, 2), 4, 1)], length=3)
    3
    """
    gone_at = [math.inf] * len(ids)
    for event in events:
        for token in event.evicted:
            if token >= 0:
                gone_at[token] = event.n_written
    rewritten = set[int]()
    known: dict[tuple[int, ...], tuple[float, float]] = {}  # when one of its rows was gone, when all of them were touched
    for first in range(len(ids) - length + 1):
        if (earlier := first - length) >= 0:
            row, times = tuple(ids[earlier:first]), gone_at[earlier:first]
            gone, touched = known.get(row, (math.inf, -math.inf))
            known[row] = min(gone, max(times)), max(touched, min(times))
        gone, touched = known.get(tuple(ids[first : first + length]), (math.inf, math.inf))
        if max(gone, touched) <= first:
            rewritten.update(range(first, first + length))
    return len(rewritten)
