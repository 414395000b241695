# ruff: noqa: RUF001 - look-alike symbols are the subject of this file
"""Where a text has numbers and operators, by its characters alone."""

import re
from typing import Final

from reasoning_anatomy.types import CharacterSpan

NUMBER: Final = re.compile(r"(?:(?<![\d.])[.,])?\d+(?:(?:[.,]|\{,\}|\\,)\d+)*|[¼-¾⅐-⅞]")
"""Digits of any script with the separators inside a number, and vulgar fractions; not number words."""

_BEFORE: Final = r"(?<=[\d)\]}$!'°²³])[ \t]*"  # what a term may end with
_AFTER: Final = r"(?=[ \t]*(?:[\d.(\[{$√−+-]|\\[A-Za-z(]|[A-Za-z](?![A-Za-z])))"  # what a term may begin with
_COMMANDS: Final = (
    r"times|div|cdot|ast|star|pm|mp|[dt]?frac|[dt]?binom|sqrt|sum|prod|int|lim|leq?|geq?|neq?|lt|gt|approx|equiv|cong|sim|"
    r"propto|p?mod|bmod|cup|cap|setminus|in|notin|subset(?:eq)?|to|mapsto|implies|iff"
)
_OPERATOR: Final = re.compile(
    rf"""
    \\(?:{_COMMANDS})(?![A-Za-z])
  | </?[A-Za-z][^<>\n]{{0,60}}> (?P<tag>)                 # a tag, not two comparisons
  | (?:<{{2,}} | >{{2,}} | ={{3,}} | -{{2,}}>?) (?P<mark>)  # calculator marks, rulings, dashes
  | ^[ \t]*(?:>|[-*+][ \t]) (?P<bullet>)                  # quotation and list marks
  | [×÷·∗∙=≠≈≡≅∝≤≥±∓√∛^∑∏∫∈∉∪∩→⇒⇔<>+−⁄]
  | {_BEFORE}\*{{1,2}}{_AFTER}                            # a product or a power, not emphasis
  | (?:(?<=[\d)\]}}$]) | (?<=[\d)\]}}$][ ]))/ | /(?=[ ]?[\d(\[{{\\$])   # a quotient, not km/h
  | (?<![A-Za-z]{{2}})(?<![A-Za-z]{{2}}[ ])-{_AFTER} | (?<=[\d)\]}}$])[ \t]-(?=[ \t])  # a minus, not a hyphen
    """,
    re.VERBOSE | re.MULTILINE,
)
_NOT_OPERATORS: Final = ("tag", "mark", "bullet")


def numbers(text: str) -> list[CharacterSpan]:
    """Half-open spans of the numbers of a text.

    >>> [text[start:end] for text in ["It costs $1,200.50 for 3x, not x1"] for start, end in numbers(text)]
    ['1,200.50', '3', '1']
    """
    return [match.span() for match in NUMBER.finditer(text)]


def operators(text: str) -> list[CharacterSpan]:
    r"""Half-open spans of the operators and relations of a text, LaTeX commands such as ``\frac`` among them.

    Hyphens, dashes, list marks, emphasis, tags and the slash of ``km/h`` do not count.

    >>> text = "- So 48 / 2 = 24 well-known km/h, **x** is 3*4 - 1"
    >>> [text[start:end].strip() for start, end in operators(text)]
    ['/', '=', '*', '-']
    """
    matches = _OPERATOR.finditer(text)
    return [match.span() for match in matches if all(match[name] is None for name in _NOT_OPERATORS)]
