"""When a sample ends, and why."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from reasoning_anatomy.generation.completion import LOOP_TOKENS, FinishReason

_LONGEST_PERIOD: Final = 128
_LOOKED_FOR_EVERY: Final = 16
_MORE_TOKENS: Final = 4
"""That are decoded beside those that may spell a stop string, since some tokenizers drop the space before the first."""


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
    loop_tokens: int = LOOP_TOKENS

    def reason(self, ids: Sequence[int], decode: Callable[[Sequence[int]], str], *, max_tokens: int) -> FinishReason | None:
        """Say why a sample ends with the last of its ids; None if it goes on.

        Parameters
        ----------
        ids
            All that has been written, one or more.
        decode
            Gives some of it as text; called only if there are stop strings.
        max_tokens
            Largest number of them.
        """
        if ids[-1] in self.ends_of_turn:
            return "eos"
        if self.closing and tuple(ids[-len(self.closing) :]) == self.closing:
            return "think_closed"
        if self._ends_in_string(ids, decode):
            return "stop_string"
        if len(ids) >= max_tokens:
            return "length"
        if self.loop_tokens and len(ids) % _LOOKED_FOR_EVERY == 0 and is_loop(ids, self.loop_tokens):
            return "loop"
        return None

    def _ends_in_string(self, ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> bool:
        """Whether the last tokens, each of which is a byte at least, spell a stop string."""
        if not self.strings:
            return False
        text = decode(ids[-max(len(string.encode()) for string in self.strings) - _MORE_TOKENS :])
        return any(string in text for string in self.strings)


def is_loop(ids: Sequence[int], n_tokens: int) -> bool:
    """Whether the last ``n_tokens`` ids are one piece again and again, at least twice; pieces have 128 ids at most."""
    if len(ids) < n_tokens:
        return False
    last = np.array(ids[-n_tokens:])
    periods = range(1, min(_LONGEST_PERIOD, n_tokens // 2) + 1)
    return any(bool((last[period:] == last[:-period]).all()) for period in periods)
