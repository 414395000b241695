"""Steps as Thought Anchors cuts them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from reasoning_anatomy.steps._cut import cut_at
from reasoning_anatomy.types import IntArray, ReasoningChain

_STEP_END: Final = re.compile(r"[.?!](?=[ \n])|\n\n")
_LEAST_CHARACTERS: Final = 10


@dataclass(frozen=True, kw_only=True)
class ThoughtAnchors:
    """The published steps: they end after ``.``, ``?`` or ``!`` before a space or line break, and at blank lines.

    Of English alone, and without regard to abbreviations, as published. A piece of fewer than 10 characters, without the white
    space around it, belongs to the next one, the last piece to the one before. The publication drops what follows the last
    end; here it is a step of its own, because steps partition the tokens.

    References
    ----------
    Bogdan et al., Thought Anchors: Which LLM Reasoning Steps Matter?, arXiv:2506.19143.
    """

    def segment(self, chain: ReasoningChain, spans: IntArray) -> IntArray:
        """Find the step of every token; see `Segmenter.segment`."""
        return cut_at(_starts(chain.reasoning), chain.reasoning, spans)


def _starts(text: str) -> Iterator[int]:
    """Where steps begin, except the first."""
    ends = [match.end() for match in _STEP_END.finditer(text)]
    begin, kept = 0, []
    for end in ends:
        if len(text[begin:end].strip()) >= _LEAST_CHARACTERS:
            kept.append(end)
            begin = end
    if ends and kept and kept[-1] < ends[-1]:  # the last piece is short
        kept[-1] = ends[-1]
    return (end for end in kept or ends[-1:] if text[end:].strip())
