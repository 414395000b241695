"""Steps of a text while it is written."""

from typing import Any, Final

import numpy as np
from transformers import PreTrainedTokenizerBase

from reasoning_anatomy.steps import Segmenter
from reasoning_anatomy.types import IntArray, ReasoningChain

_LOOKING_BACK: Final = 4
_BYTES_OF_A_CHARACTER: Final = 4
_UNSETTLED: Final = 32
"""So many tokens before the end, a step that has begun may still turn out to be none: ``So`` may become ``Some``."""
_MOST_CONTEXT: Final = 128
"""So many tokens before those are read again at most, if no step begins among them."""


class WrittenSteps:
    """Cuts what a sample writes, as it grows.

    What has been read is cut but for its last 32 tokens, in which a step may still turn out to be none. New text is cut from
    the last step before these on, but with at most 160 tokens before it, so that it takes no longer the longer the text or a
    step is.

    Parameters
    ----------
    tokenizer
        The model's.
    segmenter
        Cuts the text.
    before
        (T,) ids behind which it is written.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, segmenter: Segmenter, before: IntArray) -> None:
        self._tokenizer: Any = tokenizer
        self._segmenter = segmenter
        self._before = before[-_LOOKING_BACK:].tolist()
        self._ids: list[int] = []
        self._pieces: list[str] = []
        self._starts = [0]
        self._n_settled = 0

    def cut(self, ids: list[int]) -> IntArray:
        """(n,) step of every one of ``ids`` (n,), numbered from 0; they begin with those of the last call."""
        self._ids = ids
        if self._read():
            self._cut_end()
        return np.searchsorted(self._starts, np.arange(len(ids)), side="right").astype(np.int64) - 1

    def token_ends(self) -> IntArray:
        """(n,) end of every token in the text, in characters; nothing more can be written then."""
        self._read(is_over=True)
        return np.cumsum([len(piece) for piece in self._pieces], dtype=np.int64)

    def text(self) -> str:
        """Text of all tokens, in which they end at `token_ends`; nothing more can be written then."""
        self._read(is_over=True)
        return "".join(self._pieces)

    def _read(self, *, is_over: bool = False) -> bool:
        """Find the text of new tokens, as far as their characters are whole, and tell whether there was any.

        Of a character that several tokens spell, the last one has it all.
        """
        n_before = len(self._pieces)
        while (first := len(self._pieces)) < len(self._ids):
            known = self._text(first - _LOOKING_BACK, first)
            most = min(len(self._ids), first + _BYTES_OF_A_CHARACTER)
            ends = ((end, self._text(first - _LOOKING_BACK, end)) for end in range(first + 1, most + 1))
            end, text = next(((end, text) for end, text in ends if not text.endswith("\ufffd")), (most, None))
            if text is None and not is_over and most == len(self._ids) and most < first + _BYTES_OF_A_CHARACTER:
                break
            if text is None:
                end, text = first + 1, self._text(first - _LOOKING_BACK, first + 1)
            new = text[len(known) :] if text.startswith(known) else self._text(first, end)
            self._pieces += [*[""] * (end - first - 1), new]
        return len(self._pieces) > n_before

    def _cut_end(self) -> None:
        """Cut what is not settled yet."""
        settled = [start for start in self._starts if start <= self._n_settled]
        first = max(settled[-1], self._n_settled - _MOST_CONTEXT)
        pieces = self._pieces[first:]
        self._starts = settled
        text = "".join(pieces)
        if text.strip():
            ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
            spans = np.stack([ends - [len(piece) for piece in pieces], ends], axis=1)
            chain = ReasoningChain(chain_id="written", question_id="-", question="-", reasoning=text, answer="-")
            steps = self._segmenter.segment(chain, spans)
            found = first + 1 + np.flatnonzero(np.diff(steps))
            self._starts = [*settled, *found[found > self._n_settled].tolist()]
        self._n_settled = max(0, len(self._pieces) - _UNSETTLED)

    def _text(self, first: int, end: int) -> str:
        """Text of tokens from ``first`` to ``end``, counted in what is written; negative ones are before it."""
        before = self._before[max(0, len(self._before) + first) :] if first < 0 else []
        text: str = self._tokenizer.decode([*before, *self._ids[max(0, first) : end]], clean_up_tokenization_spaces=False)
        return text
