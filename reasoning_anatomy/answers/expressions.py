# ruff: noqa: RUF001 - look-alike symbols are the subject of this file
r"""Answers that are expressions, such as ``x^2 + 1`` and ``3\sqrt{2}``: how to tell them from numbers, and to find them."""

import re
from typing import Final

_CHOICE: Final = re.compile(r"\(?[A-Z]\)[:.]?\s*(?=\S)")  # the (B) of "(B) 12"
_NOT_A_FUNCTION: Final = r"(?!(?:sin|cos|tan|cot|sec|csc|log|ln|exp|sqrt|pi|mod|max|min|gcd|lcm)\b)"
_WORD: Final = re.compile(rf"(?<![\\A-Za-z]){_NOT_A_FUNCTION}[A-Za-z]{{2,}}")
_MEASURE: Final = re.compile(r"(?<=\d)\s*[msghlLNJWVK]\s*\Z")
_OF_NUMBERS: Final = r"[dt]?frac|circ|degree|pm|left|right|quad|qquad|ldots|dots"
_OF_EXPRESSIONS: Final = re.compile(
    rf"""
    (?<![A-Za-z\\])[A-Za-z]                                  # a variable or a function
  | \\(?!(?:{_OF_NUMBERS})(?![A-Za-z]))[A-Za-z]+             # \sqrt, \pi, \infty
  | \^ (?!\s*\{{?\s*(?:\\circ|°)) | [√π∞²³]                  # a power, not a degree
  | (?<=[\d)\}}\]])\s*[+*×·⋅−:-]\s*(?=[\d(\{{\\])             # two operands; 3:4
  | \d\s*\\[dt]?frac                                         # a mixed number
    """,
    re.VERBOSE,
)
_PART: Final = re.compile(r"\\[A-Za-z]+|\\.|\d+(?:\.\d+)?|[^\s{}]", re.DOTALL)
_SPACING: Final = re.compile(r"\\(?:[,;:! ]|left|right|quad|qquad)")
_BETWEEN: Final = r"(?:[\s{}]|\\[,;:! ]|\\(?:left|right|quad|qquad)(?![A-Za-z]))*"


def value_side(stated: str) -> str:
    """Return the value that an answer without words states: ``5`` for ``x = 5``, ``2, 3`` for ``x = 2, y = 3``.

    >>> value_side("x = 1,200"), value_side("x = 2, y = 3"), value_side("12 pens")
    ('1,200', '2, 3', '12 pens')
    """
    stated = _CHOICE.sub("", stated.strip(), count=1)
    if _WORD.search(stated):
        return stated
    if stated.count("=") == 1:
        return stated.partition("=")[2].strip()
    return re.sub(r"(?:[^,;=]|(?<=\d),(?=\d))*=\s*", " ", stated).replace(" ,", ",").strip()


def is_expression(stated: str) -> bool:
    r"""Whether an answer has variables, operators or functions, so that none of its numbers is the answer.

    >>> [is_expression(text) for text in ("x^2 + 1", r"3\sqrt{2}", "12 pens", "5 m", r"90^\circ", r"\frac{1}{2}", "(3, 4)")]
    [True, True, False, False, False, False, False]
    """
    return not _WORD.search(stated) and bool(_OF_EXPRESSIONS.search(_MEASURE.sub("", stated)))


def expression_pattern(expression: str) -> re.Pattern[str]:
    r"""Match an expression in a text, whatever its spaces, braces and ``\left``: group 1.

    >>> bool(expression_pattern("x^2+1").search(r"so x^{2} + 1.")), bool(expression_pattern("x^2+1").search("3x^2 + 10"))
    (True, False)
    """
    parts = [part for part in _PART.findall(expression) if not _SPACING.fullmatch(part)]
    body = _BETWEEN.join(map(_pattern_of_part, parts))
    closing = r"\}*" if expression.rstrip().endswith("}") else ""
    return re.compile(rf"(?:(?<![\w\\^.])|(?<=\\left))({body}{closing})(?![\w^]|\.\d)")


def _pattern_of_part(part: str) -> str:
    fraction = re.fullmatch(r"\\[dt]?frac", part)
    return r"\\[dt]?frac" if fraction else re.escape(part)
