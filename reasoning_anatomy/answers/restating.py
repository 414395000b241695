# ruff: noqa: RUF001 - look-alike symbols are the subject of this file
"""Where a text states the value that the chain ends with."""

import re
from fractions import Fraction
from typing import Final, NamedTuple

from reasoning_anatomy.answers.expressions import expression_pattern, is_expression, value_side
from reasoning_anatomy.answers.marks import boxes, declared
from reasoning_anatomy.types import CharacterSpan

_LONGEST_VALUE: Final = 100  # characters; a longer number is compared as text, and a longer text does not count as an answer
_WRAPPING: Final = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}|\\[()\[\]]|[$*]")
_CHOICE: Final = re.compile(r"\(?([A-Za-z])\)?\.?")

_SMALL: Final = {
    word: number
    for number, word in enumerate(
        (
            "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
            "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
        )
    )
}  # fmt: skip
_TENS: Final = {
    word: 10 * number
    for number, word in enumerate(("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"), 2)
}
_NUMBER_WORD: Final = re.compile(rf"({'|'.join(_TENS)})(?:[- ]({'|'.join(list(_SMALL)[1:10])}))?|({'|'.join(_SMALL)})")
_ALONE: Final = "|".join(word for word in _SMALL if word != "one")  # "one" is a pronoun more often than a number
_DIGITS: Final = r"\d{1,3}(?:(?:,|\{,\}|\\,)\d{3})+(?![\d])(?:\.\d+)?|\d+(?:\.\d+)?|(?<![\w.])\.\d+"
_VALUE: Final = re.compile(
    rf"""
    (?P<list> ^[ \t]*\d+[.)](?=\s) )
  | (?P<sign> (?<![\w)\]}}$%.])[-−]\s? )?
    (?: \\[dt]?frac\s*(?:\{{\s*(?P<top>\d+)\s*\}}|(?P<top1>\d))\s*(?:\{{\s*(?P<bottom>\d+)\s*\}}|(?P<bottom1>\d))
      | (?<![\d/.])(?P<over>\d+)/(?P<under>\d+)(?![\d/]|\.\d)
      | (?P<digits>{_DIGITS})(?![A-Za-z](?![A-Za-z]))  # the 5 of 5x is a coefficient
      | \b(?P<tens>{"|".join(_TENS)})(?:[- ](?P<unit>{"|".join(list(_SMALL)[1:10])}))?\b
      | \b(?P<small>{_ALONE})\b
    )
    """,
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)

Value = Fraction | str


class _Stated(NamedTuple):
    """A value and the characters that state it."""

    value: Value
    span: CharacterSpan


def answer_values(answer: str) -> frozenset[Value]:
    r"""Values that an answer gives: its numbers, or its text if it has none or is an expression; empty if it says nothing.

    The answer is what the last ``\boxed{…}`` holds, else what follows the last "answer is" or ``####`` in its
    sentence, else the last number or the whole text. For ``x = 5`` it is the ``5``.

    >>> sorted(answer_values(r"The answer is: \boxed{1,200.0}")), sorted(answer_values("So it is 3 + 4 = 7."))
    ([Fraction(1200, 1)], [Fraction(7, 1)])
    >>> answer_values(r"\boxed{x^2 + 1}")
    frozenset({'x^2 + 1'})
    """
    announced = _announced(answer)
    if announced is None:
        return frozenset([number.value for number in _numbers(answer)][-1:]) or _words_of(answer)
    stated = value_side(_unwrapped(announced))
    if is_expression(stated) and not _CHOICE.fullmatch(stated) and len(stated) <= _LONGEST_VALUE:
        return frozenset({stated})
    return frozenset(number.value for number in _numbers(stated)) or _words_of(stated)


def restatements(text: str, values: frozenset[Value]) -> list[CharacterSpan]:
    r"""Half-open spans in which a text states one of these values, in whatever form.

    Numbers are compared as exact fractions: ``1,200``, ``1200.0`` and ``1{,}200`` are one value, and so are ``0.5``,
    ``1/2`` and ``\frac12``. A quotient that can be computed, such as ``180/15``, states only its two numbers; list numbers
    and the 5 of ``5x`` state nothing. An expression is found as a whole, however it is spaced; its parts state nothing. Other
    answers are compared as words; a single letter counts if it is written as a choice: ``(B)``, ``\boxed{B}``, ``option B``.

    >>> text = r"1200 / 2 = 600, and 1,200.00 = 1{,}200"
    >>> [text[start:end] for start, end in restatements(text, frozenset({Fraction(1200)}))]
    ['1200', '1,200.00', '1{,}200']
    """
    spans = [number.span for number in _numbers(text) if number.value in values]
    for words in (value for value in values if isinstance(value, str) and not value.isdigit()):
        spans += [match.span(1) for match in _pattern(words).finditer(text)]
    return spans


def stated_numbers(text: str) -> list[Value]:
    """Return the values of the numbers that a text states, from left to right.

    >>> stated_numbers("she has twelve of 30 left")
    [Fraction(12, 1), Fraction(30, 1)]
    """
    return [number.value for number in _numbers(text)]


def last_number(text: str) -> str | None:
    """Return the last number that a text states, as it is written; None if there is none."""
    spans = [number.span for number in _numbers(text)]
    return text[slice(*spans[-1])] if spans else None


def number_word(text: str) -> int | None:
    """Return the number that a word below a hundred names; None for any other text.

    >>> number_word("Forty-two"), number_word("many")
    (42, None)
    """
    match = _NUMBER_WORD.fullmatch(text.casefold())
    if match is None:
        return None
    return _SMALL[match[3]] if match[3] else _TENS[match[1]] + (_SMALL[match[2]] if match[2] else 0)


def _announced(answer: str) -> str | None:
    """Cut out what is marked as the answer; None if nothing is."""
    if found := boxes(answer):
        last = found[-1]
        return answer[last.start :].partition("{")[2] if last.inside is None else last.inside
    statement = declared(answer)
    return statement and statement.text


def _words_of(text: str) -> frozenset[Value]:
    words = _unwrapped(text).casefold()
    return frozenset({words} if 0 < len(words) <= _LONGEST_VALUE and any(map(str.isalnum, words)) else ())


def _unwrapped(text: str) -> str:
    return _WRAPPING.sub(lambda match: match[1] or "", text).strip(" \t\n\r.:,;")


def _numbers(text: str) -> list[_Stated]:
    """Every number that a text states, from left to right."""
    stated: list[_Stated] = []
    for match in _VALUE.finditer(text):
        top, bottom = match["top"] or match["top1"], match["bottom"] or match["bottom1"]
        if match["list"]:
            continue
        if match["over"]:
            stated += _quotient(match)
        elif top:
            stated += [_Stated(value, match.span()) for value in _ratio(top, bottom, negative=bool(match["sign"]))]
        else:
            stated.append(_Stated(_signed(_single(match), negative=bool(match["sign"])), match.span()))
    return stated


def _quotient(match: re.Match[str]) -> list[_Stated]:
    """``1/2`` states a half; ``180/15`` states 180 and 15."""
    over, under, negative = match["over"], match["under"], bool(match["sign"])
    for ratio in _ratio(over, under, negative=negative):
        if (
            isinstance(ratio, Fraction)
            and ratio.denominator > 1
            and (str(abs(ratio.numerator)), str(ratio.denominator)) == (over, under)
        ):
            return [_Stated(ratio, match.span())]
    return [
        _Stated(_signed(_exact(over), negative=negative), (match.start(), match.end("over"))),
        _Stated(_exact(under), match.span("under")),
    ]


def _ratio(top: str, bottom: str, *, negative: bool) -> list[Value]:
    """Quotient of two integers; empty if one of them is too long to compute or the divisor is zero."""
    over, under = _exact(top), _exact(bottom)
    if isinstance(over, str) or isinstance(under, str) or under == 0:
        return []
    return [_signed(over / under, negative=negative)]


def _single(match: re.Match[str]) -> Value:
    if match["digits"]:
        return _exact(re.sub(r"[,{}\\]", "", match["digits"]))
    if match["small"]:
        return Fraction(_SMALL[match["small"].lower()])
    return Fraction(_TENS[match["tens"].lower()] + (_SMALL[match["unit"].lower()] if match["unit"] else 0))


def _exact(digits: str) -> Value:
    return Fraction(digits if not digits.startswith(".") else "0" + digits) if len(digits) <= _LONGEST_VALUE else digits


def _signed(value: Value, *, negative: bool) -> Value:
    if isinstance(value, str):
        return f"-{value}" if negative else value
    return -value if negative else value


def _pattern(words: str) -> re.Pattern[str]:
    """Match a statement of an answer that is not a number: group 1."""
    if is_expression(words) and not _CHOICE.fullmatch(words):
        return expression_pattern(words)
    if choice := _CHOICE.fullmatch(words):
        letter = re.escape(choice[1].upper())
        return re.compile(rf"(?:(?i:option|choice|answer(?:\s+is)?:?)\s+|\\(?:boxed|text)\{{|\()({letter})(?![\w'’])")
    body = r"\s+".join(re.escape(word) for word in words.split())
    return re.compile(rf"(?<!\w)({body})(?!\w)" if words[0].isalnum() and words[-1].isalnum() else rf"({body})", re.IGNORECASE)
