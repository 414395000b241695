"""Steps that blank lines separate."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from reasoning_anatomy.steps._cut import cut_at, ends_without_short_pieces
from reasoning_anatomy.types import IntArray, ReasoningChain

_BREAK: Final = r"(?>\r\n|\r|\n)"
_BLANK_LINES: Final = re.compile(rf"{_BREAK}[^\S\r\n]*{_BREAK}\s*")


@dataclass(frozen=True, kw_only=True)
class Paragraphs:
    """A step is a paragraph: it ends at a blank line, which may hold white space.

    Public code for pruning by attention cuts at empty lines and drops what has fewer than 10 characters without the white space
    around it, so that short lines such as ``x = 3`` are deleted at every threshold. ``least_characters=10`` keeps them: a short
    paragraph belongs to the next one, the last to the one before, because steps partition the tokens.

    Attributes
    ----------
    least_characters
        A paragraph with fewer characters, without the white space around it, is no step of its own.
    version
        Of the rule.

    References
    ----------
    github.com/naveenp2708/reasoning-step-pruning, 1bbfb3d.
    """

    least_characters: int = 1
    version: Literal[1] = 1

    def __post_init__(self) -> None:
        if self.least_characters < 1:
            raise ValueError(f"least_characters is {self.least_characters}; give 1 or more")

    def segment(self, chain: ReasoningChain, spans: IntArray) -> IntArray:
        """Find the step of every token; see `Segmenter.segment`."""
        return cut_at(self._starts(chain.reasoning), chain.reasoning, spans)

    def _starts(self, text: str) -> Iterator[int]:
        """Where steps begin, except the first."""
        ends = [*(match.end() for match in _BLANK_LINES.finditer(text)), len(text)]
        kept = ends_without_short_pieces(ends, text, least=self.least_characters)
        return (end for end in kept if end < len(text))
