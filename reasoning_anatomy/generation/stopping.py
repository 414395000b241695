"""When a sample ends, and why."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from reasoning_anatomy.generation.completion import FinishReason

_LONGEST_PERIOD: Final = 128
_LOOKED_FOR_EVERY: Final = 16


@dataclass(frozen=True, kw_only=True)
class StopRules:
    """When a sample ends.

    Attributes
    ----------
    ends_of_turn
        Ids each of which ends the model's turn.
    strings
        Texts behind which a sample ends, wherever in a token they end.
    closing
        Ids in a row that close the thinking, if the sample ends there; else empty.
    loop_tokens
        A sample ends that has only repeated a piece of at most 128 tokens over this many tokens; 0 lets it go on.
    """

    ends_of_turn: frozenset[int]
    strings: tuple[str, ...] = ()
    closing: tuple[int, ...] = ()
    loop_tokens: int = 512

    def reason(self, ids: Sequence[int], text: Callable[[], str], *, max_tokens: int) -> FinishReason | None:
        """Say why a sample ends with the last of its ids; None if it goes on.

        Parameters
        ----------
        ids
            All that has been written, one or more.
        text
            Gives it as text; called only if there are stop strings.
        max_tokens
            Largest number of them.
        """
        if ids[-1] in self.ends_of_turn:
            return "eos"
        if self.closing and tuple(ids[-len(self.closing) :]) == self.closing:
            return "think_closed"
        if self.strings and any(string in text() for string in self.strings):
            return "stop_string"
        if len(ids) >= max_tokens:
            return "length"
        if self.loop_tokens and len(ids) % _LOOKED_FOR_EVERY == 0 and is_loop(ids, self.loop_tokens):
            return "loop"
        return None


def is_loop(ids: Sequence[int], n_tokens: int) -> bool:
    """Whether the last ``n_tokens`` ids are one piece again and again, at least twice; pieces have 128 ids at most."""
    if len(ids) < n_tokens:
        return False
    last = np.array(ids[-n_tokens:])
    periods = range(1, min(_LONGEST_PERIOD, n_tokens // 2) + 1)
    return any(bool((last[period:] == last[:-period]).all()) for period in periods)
