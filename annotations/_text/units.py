# ruff: noqa: RUF001 - look-alike symbols are the subject of this file
"""From text to units: words, numbers, LaTeX commands and single symbols. Every visible character is in exactly one."""

import re
from enum import Enum
from typing import Final, NamedTuple


class Kind(Enum):
    """What a unit is made of."""

    WORD = "word"
    NUMBER = "number"
    COMMAND = "command"
    SYMBOL = "symbol"


class Unit(NamedTuple):
    """A unit and its half-open character span."""

    start: int
    end: int
    kind: Kind
    text: str

    @property
    def lower(self) -> str:
        """Lower case, with a straight apostrophe."""
        return self.text.lower().replace("’", "'")


_SCRIPTS: Final = r"²³¹¼-¾\u2070-\u209c\u2150-\u218b\u2460-\u24ff"
"""Raised and lowered letters and digits, fractions, circled numbers: letters in Unicode, symbols of mathematics here."""
_LETTER: Final = rf"[^\W\d_{_SCRIPTS}][\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0903\u093a-\u094f]*"
_PATTERN: Final = re.compile(
    rf"""
    (?P<command> \\[A-Za-z]+\*? | \\[^\sA-Za-z\d] )
  | (?P<number>  \d+(?:st|nd|rd|th)\b | \d{{1,3}}(?:(?:,|\{{,\}})\d{{3}})+(?!\d)(?:\.\d+)? | \d+(?:\.\d+)? | (?<![\w.])\.\d+ )
  | (?P<word>    [ap]\.m\.(?!\w) | e\.g\.(?!\w) | i\.e\.(?!\w)
               | (?<=[^\W\d_])n['’]t\b | (?<=[^\W\d_])['’](?:s|re|ve|ll|d|m)\b
               | (?:{_LETTER})+?(?=n['’]t\b) | (?:{_LETTER})+ )
  | (?P<symbol>  \$\$ | \*{{2,3}} | __ | ```+ | ~~~+ | \#{{1,6}} | -{{2,}} | ={{2,}} | \.{{2,}} | [<>!]= | ->|=>|<-
               | </?[A-Za-z][^<>\n]{{0,60}}> | << | >> | \S )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_KINDS: Final = {kind.value: kind for kind in Kind}


def scan(text: str) -> list[Unit]:
    """Units of the text from left to right, with nothing but whitespace between them.

    >>> [unit.text for unit in scan("It doesn't cost $1,200.50: 3x = 9")]
    ['It', 'does', "n't", 'cost', '$', '1,200.50', ':', '3', 'x', '=', '9']
    """
    return [
        Unit(match.start(), match.end(), _KINDS[match.lastgroup or "symbol"], match.group())
        for match in _PATTERN.finditer(text)
    ]
