"""Answers that are a time of day or a date."""

import re
from typing import Final

from reasoning_anatomy.answers.rulings import Ruling

_TIME: Final = re.compile(
    r"(?:at\s+)?(\d{1,2})(?:[:.](\d{2}))?(?::(\d{2}))?\s*(?:([ap])\.?\s?m\.?)?(?:\s+o'?clock)?", re.IGNORECASE
)
_MONTHS: Final = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_DIGITS: Final = re.compile(r"\d{1,4}([/.-])\d{1,2}\1\d{1,4}")


def same_moment(gold: str, answer: str) -> Ruling | None:
    """Compare two times or two dates; None if either is neither.

    >>> for pair in (("3:45 pm", "15:45"), ("May 5, 2024", "5th May 2024"), ("3:45", "3:45 pm"), ("3:45", "3:50")):
    ...     print(same_moment(*pair))
    Ruling(verdict='correct', rule='time')
    Ruling(verdict='correct', rule='date')
    Ruling(verdict='undecided', rule='half of the day not said')
    Ruling(verdict='wrong', rule='time')
    """
    if (time := _time(gold)) and (other := _time(answer)):
        return _compare_times(time, other)
    if (date := _date(gold)) and (day := _date(answer)):
        if date == day:
            return Ruling("correct", "date")
        return Ruling("undecided", "date in part") if date < day or day < date else Ruling("wrong", "date")
    if _DIGITS.fullmatch(gold) and _DIGITS.fullmatch(answer):
        return Ruling("undecided", "date in digits")
    return None


def _compare_times(gold: tuple[int, str], answer: tuple[int, str]) -> Ruling:
    (gold_second, gold_half), (second, half) = gold, answer
    ambiguous = bool(gold_half) != bool(half) and (second if half == "" else gold_second) < 13 * 3600
    if ambiguous and (gold_second - second) % (12 * 3600) == 0:
        return Ruling("undecided", "half of the day not said")
    return Ruling("correct" if gold_second == second else "wrong", "time")


def _time(text: str) -> tuple[int, str] | None:
    """Seconds since midnight, and the half of the day if it is said; None for anything else."""
    match = _TIME.fullmatch(text.strip())
    if match is None or not (match[2] or match[4]) or ("." in text and not match[4]):
        return None
    hour, minute, second = int(match[1]), int(match[2] or 0), int(match[3] or 0)
    half = (match[4] or "").lower()
    if hour > 24 or minute > 59 or second > 59 or (half and not 1 <= hour <= 12):
        return None
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    return hour * 3600 + minute * 60 + second, half


def _date(text: str) -> frozenset[str] | None:
    """Return month, day and year, in whatever order; None if no month is named or there are other words."""
    words = re.findall(r"[^\W\d_]+|\d+", re.sub(r"(?<=\d)(?:st|nd|rd|th)\b", "", text.casefold()))
    months = {spelling: month for month in _MONTHS for spelling in (month, month[:3])}
    parts = [months.get(word, word) for word in words if word not in ("of", "the")]
    if len(parts) < 2 or not set(parts) & set(_MONTHS) or not all(part.isdecimal() or part in _MONTHS for part in parts):
        return None
    return frozenset(part.lstrip("0") for part in parts)
