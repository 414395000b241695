"""Steps as Thought Anchors cuts them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from reasoning_anatomy.steps._cut import cut_at, ends_without_short_pieces
from reasoning_anatomy.types import IntArray, ReasoningChain

_STEP_END: Final = re.compile(r"[.?!](?=[ \n])|\n\n")
_LEAST_CHARACTERS: Final = 10


@dataclass(frozen=True, kw_only=True)
class ThoughtAnchors:
    """The published steps: they end after ``.``, ``?`` or ``!`` before a space or line break, and at blank lines.

    Of English alone, and without regard to abbreviations, as published. A piece of fewer than 10 characters, without the white
    space around it, belongs to the next one, the last piece to the one before. The publication drops what follows the last
    end, and so the last sentence if nothing stands behind its full stop; here it is a step of its own, because steps partition
    the tokens.

    Attributes
    ----------
    version
        Of the rule.

    References
    ----------
    Bogdan et al., Thought Anchors: Which LLM Reasoning Steps Matter?, arXiv:2506.19143.
    """

    version: Literal[1] = 1

    def segment(self, chain: ReasoningChain, spans: IntArray) -> IntArray:
        """Find the step of every token; see `Segmenter.segment`."""
        return cut_at(_starts(chain.reasoning), chain.reasoning, spans)


def _starts(text: str) -> Iterator[int]:
    """Where steps begin, except the first."""
    ends = [match.end() for match in _STEP_END.finditer(text)]
    kept = ends_without_short_pieces(ends, text, least=_LEAST_CHARACTERS)
    return (end for end in kept if text[end:].strip())
