"""Steps that are items of a list."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from reasoning_anatomy.steps._cut import cut_at, leading_space
from reasoning_anatomy.types import IntArray, ReasoningChain

_LINE: Final = re.compile(r"[^\r\n]+")
_FENCE: Final = re.compile(r"[ \t]*(?:```|~~~)")
_NUMBER: Final = r"\d{1,3}+(?:\.\d{1,3})*+"
_OPENS_ITEM: Final = re.compile(
    rf"""
    \s*
    (?: [-*•‣◦▪][ \t]
      | \#{{1,6}}[ \t]
      | (?P<bold> \*\*|__ ) (?: (?!(?P=bold)). )+ (?P=bold) \s* :? \s* $
      | (?: \*\*|__ )? (?: {_NUMBER}[.)] | \((?: {_NUMBER} | [A-Za-z] | [ivx]{{2,5}} )\) ) (?= [ \t]|\*\*|__ )
      | (?: \*\*|__ )? (?i:step) [ ] {_NUMBER} (?= \s*(?: [:.)—-]|\*\*|__|$ ) )
      | {_NUMBER}、
      | [①-⑳]
    )
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, kw_only=True)
class ListItems:
    """A step is an item of a list, or what stands below a heading.

    It begins at a line that opens with a bullet (``-``, ``*``, ``•``), a number or letter (``1.``, ``2)``, ``3.1.``, ``(a)``,
    ``(iii)``, ``1、``, ``①``) or ``Step 4:``, in bold or not, at a heading of Markdown (``## Check``), and at a line all in
    bold. Items within items are steps of their own. All that follows belongs to an item until the next begins, paragraphs
    behind the list too; what stands before the first is a step. Lines of fenced code open nothing. A line that begins with a
    minus and a space is taken for an item.

    Attributes
    ----------
    version
        Of the rule.
    """

    version: Literal[1] = 1

    def segment(self, chain: ReasoningChain, spans: IntArray) -> IntArray:
        """Find the step of every token; see `Segmenter.segment`."""
        return cut_at(_starts(chain.reasoning), chain.reasoning, spans)


def _starts(text: str) -> Iterator[int]:
    """Where steps begin, except the first."""
    begin, is_code = leading_space(text), False
    for line in _LINE.finditer(text):
        if _FENCE.match(line[0]):
            is_code = not is_code
        elif not is_code and line.start() > begin and _OPENS_ITEM.match(line[0]):
            yield line.start()
