"""Answers that are one number, with or without a unit: read exactly, as fractions."""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from reasoning_anatomy.answers.restating import number_word
from reasoning_anatomy.answers.units import unit_of

LONGEST: Final = 1000
"""Digits of a number that is computed; longer whole numbers are compared digit by digit."""
_LARGEST_EXPONENT: Final = 1000

_SCALES: Final = {
    "dozen": 12, "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12,
}  # fmt: skip
_PLAIN: Final = r"(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d{1,3}(?:\x20\d{3})+(?![\d/])(?:\.\d+)?|\d+(?:\.\d*)?|\.\d+)"
_CURRENCY: Final = r"(?:US\s?\$|\$|€|£|¥|₹|USD|EUR|GBP|Rs\.?)"
_NUMBER: Final = re.compile(
    rf"""
    (?:(?:approximately|approx\.?|about|roughly|around|exactly|only|just|nearly|almost|\\approx|\\sim)\s*)*
    (?P<sign>[+-]?)\s*(?P<currency>{_CURRENCY})?\s*(?P<sign2>[+-]?)\s*
    (?:
        (?P<whole>\d+)(?:\s*\\frac\s*\{{\s*(?P<m_top>\d+)\s*\}}\s*\{{\s*(?P<m_bottom>\d+)\s*\}}|(?:\s+|-|\s+and\s+)(?P<n_top>\d+)/(?P<n_bottom>\d+))
      | \\frac\s*\{{\s*(?P<f_top>[+-]?\s*{_PLAIN})\s*\}}\s*\{{\s*(?P<f_bottom>[+-]?\s*{_PLAIN})\s*\}}
      | (?P<s_top>{_PLAIN})\s*/\s*\(?\s*(?P<s_bottom>[+-]?{_PLAIN})\s*\)?
      | (?P<mantissa>{_PLAIN})(?:\s*(?:\\cdot|x|X)\s*10\s*\^\s*[{{(]?\s*(?P<ten>[+-]?\d+)\s*[}})]?|[eE](?P<e>[+-]?\d+)(?![\d.]))
      | (?P<base>\d+)\s*\^\s*[{{(]?\s*(?P<power>\d+)\s*[}})]?
      | (?P<repeating>\d*\.\d*)\\(?:overline|dot|bar)\s*\{{\s*(?P<period>\d+)\s*\}}
      | (?P<plain>{_PLAIN})(?P<dots>\s*\\dots)?
    )
    (?:\s*(?P<scale>{"|".join(_SCALES)})s?(?![A-Za-z]))?
    (?P<unit>.*)
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_DECIMAL_COMMA: Final = re.compile(r"([+-]?(?:\d{1,3}(?:\.\d{3})+|\d+)),(\d+)(.*)", re.DOTALL)
_CHOICE: Final = re.compile(
    r"(?:(?i:(?:the\s+)?(?:option|choice|answer|letter))\s*:?\s*)?"
    r"(?:[(\[]\s*(?P<bracketed>[A-Za-z])\s*[)\]]|(?P<closed>[A-Ja-j])\)|(?P<bare>[A-J])(?=\s*(?:[.:,]|\Z)))[\s.:,;-]*(?P<rest>.*)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Quantity:
    """A number and its unit.

    Attributes
    ----------
    value
        Exact value of the digits that are written; a percent sign is a unit and changes nothing.
    decimals
        Digits behind the decimal point, if it is written as a decimal; else None.
    digits
        Significant digits that are written.
    unit
        What stands with the number, in the normalised way; empty if nothing does.
    cut
        Whether dots say that more digits would follow.
    """

    value: Fraction
    decimals: int | None = None
    digits: int = 0
    unit: str = ""
    cut: bool = False


def quantity(text: str) -> Quantity | None:
    r"""Read a normalised text as one number with at most a unit; None if it is anything else.

    >>> quantity("1,200.50 cm")
    Quantity(value=Fraction(2401, 2), decimals=2, digits=6, unit='cm', cut=False)
    >>> [str(found.value) for text in (r"-\frac{3}{4}", "2 1/2", r"1.5 \cdot 10^3", "$5") if (found := quantity(text))]
    ['-3/4', '5/2', '1500', '5']
    >>> quantity("5x"), quantity("3, 4"), quantity(r"2\sqrt{3}")
    (None, None, None)
    """
    if len(text) > 2 * LONGEST:
        return None
    text = without_brackets(text)
    if (word := number_word(text)) is not None:
        return Quantity(Fraction(word))
    match = _NUMBER.fullmatch(text)
    if match is None or (unit := unit_of(match["unit"], match["currency"])) is None or (value := _value(match)) is None:
        return None
    plain = "" if match["scale"] else (match["plain"] or "").replace(",", "").replace(" ", "")
    value *= _SCALES[match["scale"].lower()] if match["scale"] else 1
    return Quantity(
        value=-value if "-" in (match["sign"], match["sign2"]) else value,
        decimals=len(plain.partition(".")[2]) if "." in plain else None,
        digits=len(plain.replace(".", "").lstrip("0")),
        unit=unit,
        cut=bool(match["dots"]),
    )


def with_decimal_comma(text: str) -> Fraction | None:
    r"""Read ``3,14``, ``1.234,5`` and ``2,5 \cdot 10^3`` as decimals; None for anything else."""
    match = _DECIMAL_COMMA.fullmatch(without_brackets(text))
    if match is None or len(text) > LONGEST:
        return None
    number = quantity(f"{match[1].replace('.', '')}.{match[2]}{match[3]}")
    return None if number is None else number.value


def choice_of(text: str) -> tuple[str, str] | None:
    """Return the letter of a choice, and the text of the option if it is given too; None for anything else.

    >>> choice_of("(b)"), choice_of("C. 12 cm"), choice_of("option D"), choice_of("A triangle")
    (('B', ''), ('C', '12 cm'), ('D', ''), None)
    """
    match = _CHOICE.fullmatch(text)
    if match is None or _CHOICE.fullmatch(match["rest"]):
        return None
    letter = match["bracketed"] or match["closed"] or match["bare"]
    return letter.upper(), match["rest"].strip()


def without_brackets(text: str) -> str:
    """Take off brackets and quotes around one value."""
    text = text.strip()
    while len(text) > 2 and (text[0] + text[-1]) in ("()", "[]", '""', "''", "{}") and not set(text[1:-1]) & set("()[]{},;\"'"):
        text = text[1:-1].strip()
    return text


def long_integer(text: str) -> str | None:
    """Return the digits of a whole number of any length, without separators and leading zeros; None for anything else."""
    match = re.fullmatch(r"([+-]?)0*(\d+(?:,\d{3})*)", text)
    if match is None:
        return None
    digits = match[2].replace(",", "")
    return f"-{digits}" if match[1] == "-" and digits != "0" else digits


def _value(match: re.Match[str]) -> Fraction | None:
    """Exact value without its sign; None if a divisor is zero or the number is too long to compute."""
    if match["whole"]:
        part = _ratio(match["m_top"] or match["n_top"], match["m_bottom"] or match["n_bottom"])
        return part if part is None else int(match["whole"]) + part
    if match["f_top"] or match["s_top"]:
        return _ratio(match["f_top"] or match["s_top"], match["f_bottom"] or match["s_bottom"])
    if match["mantissa"]:
        exponent = match["ten"] or match["e"]
        if len(exponent) > 5 or abs(int(exponent)) > _LARGEST_EXPONENT:
            return None
        return _exact(match["mantissa"]) * Fraction(10) ** int(exponent)
    if match["base"]:
        if len(match["power"]) > 4 or len(match["base"]) * int(match["power"]) > LONGEST:
            return None
        return Fraction(int(match["base"]) ** int(match["power"]))
    if match["repeating"]:
        begun, period = _exact(match["repeating"] + "0"), match["period"]
        scale = 10 ** len(match["repeating"].partition(".")[2])
        return begun + Fraction(int(period), (10 ** len(period) - 1) * scale)
    return _exact(match["plain"])


def _ratio(top: str, bottom: str) -> Fraction | None:
    under = _exact(bottom)
    return _exact(top) / under if under else None


def _exact(digits: str) -> Fraction:
    digits = re.sub(r"[,\s]", "", digits)
    return Fraction(re.sub(r"\A([+-]?)\.", r"\g<1>0.", digits).removesuffix("."))
