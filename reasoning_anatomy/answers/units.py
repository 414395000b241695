# ruff: noqa: RUF001 - look-alike marks are the subject of this file
"""Units: what stands behind a number or a formula and does not change its value."""

import re
from collections.abc import Mapping
from typing import Final

_UNIT: Final = re.compile(
    r"""
    \s*(?: % | \^\\circ\s*[CFK]? | _\{?\d+\}?
      | (?P<space>\s)?\s*
        (?P<words>[^\W\d_](?:[^\W\d_]|[\s'’.,/()-]|\^\s*\{?-?\d\}?|(?<=[a-z])[23](?!\d)|\\cdot\s)*)
    )?\s*
    """,
    re.VERBOSE,
)
_NO_UNIT: Final = re.compile(r"(?:and|or|to|is|are|but|if|when|mod|than|plus|minus|times|over)\b", re.IGNORECASE)
_BEHIND_FORMULA: Final = re.compile(
    r"(.*?(?:[\d})\]]|\\pi))(\s*)((?:square|sq\.?|cubic)?\s*[A-Za-z/]+\.?(?:\s*\^\s*\{?[23]\}?)?)", re.DOTALL
)
_POWER: Final = re.compile(r"\A(?:square|sq|cubic)\s*|\s*\^.*\Z", re.DOTALL)
_ONE_LETTER: Final = "msghlLNJWVK"

_SPELLINGS: Final[Mapping[str, str]] = {
    "dollar": "$ us$ usd dollar buck", "euro": "€ eur euro", "£": "£ gbp", "rupee": "₹ rs rupee", "yen": "¥ yen yuan",
    "cent": "cent ¢", "percent": "%", "degree": r"^\circ", "mm": "mm millimeter millimetre", "cm": "cm centimeter centimetre",
    "m": "m meter metre", "km": "km kilometer kilometre", "in": "in inch inches", "ft": "ft foot feet", "yd": "yd yard",
    "mile": "mi mile", "mg": "mg milligram", "g": "g gram", "kg": "kg kilogram kilo", "lb": "lb pound", "oz": "oz ounce",
    "ml": "ml milliliter millilitre", "l": "l liter litre", "s": "s sec second", "min": "min minute", "h": "h hr hour",
    "day": "day", "week": "week wk", "month": "month", "year": "year yr", "mph": "mph", "km/h": "km/h kph kmh", "m/s": "m/s",
    "unit": "unit",
}  # fmt: skip
_NAME_OF: Final = {spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings.split()}


def unit_of(rest: str, currency: str | None) -> str | None:
    """Return the name of the unit behind a number, empty if there is none; None if it is no unit, as the x of 5x.

    Parameters
    ----------
    rest
        What stands behind the number, normalised.
    currency
        What stands before it.
    """
    match = _UNIT.fullmatch(rest)
    if match is None:
        return None
    words = (match["words"] or "").strip(" .,")
    name = _name(words or rest.strip())
    if words and name not in _SPELLINGS and (_NO_UNIT.match(words) or _is_variable(words, spaced=bool(match["space"]))):
        return None
    return " ".join(filter(None, (_NAME_OF.get((currency or "").casefold(), ""), name)))


def without_unit(text: str) -> tuple[str, str]:
    r"""Divide a formula and the name of the unit behind it; the name is empty if there is none.

    >>> without_unit(r"2\sqrt{3} cm^2"), without_unit("2xy"), without_unit(r"4\pi square units")
    (('2\\sqrt{3}', 'cm^2'), ('2xy', ''), ('4\\pi', 'square unit'))
    """
    match = _BEHIND_FORMULA.fullmatch(text)
    if match is None:
        return text, ""
    plain = _POWER.sub("", match[3].casefold())
    known = _name(plain) in _SPELLINGS and (len(plain) > 1 or bool(match[2]))
    return (match[1], _name(match[3])) if known else (text, "")


def same_unit(one: str, other: str) -> bool:
    """Whether the words of one unit are among the words of the other."""
    words = set(re.split(r"[\s/]+", one)), set(re.split(r"[\s/]+", other))
    return words[0] <= words[1] or words[1] <= words[0]


def _is_variable(words: str, *, spaced: bool) -> bool:
    """Whether letters behind a number are more likely to be variables: x, xy; but not m, and not pens."""
    if not words.isascii():
        return False
    return len(words) < (3 if spaced else 4) and (len(words) > 1 or words not in _ONE_LETTER)


def _name(unit: str) -> str:
    plain = re.sub(r"\s+", " ", unit.casefold().strip(" ."))
    singular = " ".join(word.removesuffix("s") for word in plain.split())
    return _NAME_OF.get(plain) or _NAME_OF.get(singular) or singular
