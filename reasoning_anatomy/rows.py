"""What a row of a file says: its values, by key, as text or as yes and no."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from reasoning_anatomy.errors import UnusableError

_TRUE: Final = frozenset({"true", "yes", "correct", "1", "1.0"})
_FALSE: Final = frozenset({"false", "no", "incorrect", "wrong", "0", "0.0"})


@dataclass(frozen=True)
class Row:
    """One object of a file: an item, a line or a row. Keys are found whether or not they begin with a capital letter.

    Attributes
    ----------
    record
        As it stands in the file.
    beside
        What stands in JSON files of the same folder, by the names that the converter asks for in ``reads_beside``.
    """

    record: Mapping[str, Any]
    beside: Mapping[str, Any] = field(default_factory=dict)

    def get(self, key: str) -> Any:
        """Return a value; None if it is missing, null or empty. Dots lead into objects and lists: ``choices.0.text``."""
        value = _within(self.record, key)
        return None if value == "" else value

    def text(self, key: str) -> str:
        """Return a value that must be there and be text; whole numbers are read as text."""
        text = self.optional(key)
        if text is None:
            raise UnusableError(f"has no {key!r}")
        return text

    def optional(self, key: str) -> str | None:
        """Return a value that must be text or a number if it is there."""
        return as_text(self.get(key), key)

    def items(self, key: str) -> list[Any]:
        """Return a list that must be there and not be empty."""
        value = self.get(key)
        if not isinstance(value, list) or not value:
            raise UnusableError(f"{key!r} is not a list with items")
        return value

    def verdict(self, key: str) -> bool | None:
        """Whether a data set says that the answer is right; None if it does not say."""
        return as_truth(self.get(key), key)

    def small(self) -> dict[str, Any]:
        """Numbers and short texts, which are kept as provenance."""
        return {
            key: value
            for key, value in self.record.items()
            if (isinstance(value, int | float) and math.isfinite(value)) or (isinstance(value, str) and 0 < len(value) <= 200)
        }


def as_text(value: Any, key: str) -> str | None:
    """Read text, or a whole number as text; None stays None, and so does NaN, which tables have for it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if not value.is_integer():
            raise UnusableError(f"{key!r} is a number with a fraction: write it as text")
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise UnusableError(f"{key!r} is not text")


def as_truth(value: Any, key: str) -> bool | None:
    """Read yes or no in the ways in which data sets write it; None stays None."""
    word = str(value).strip().lower()
    if value is None or word in _TRUE | _FALSE:
        return None if value is None else word in _TRUE
    raise UnusableError(f"{key!r} is neither yes nor no")


def _within(record: Any, key: str) -> Any:
    if isinstance(record, Mapping):
        if key in record:
            return record[key]
        same = [name for name in record if isinstance(name, str) and name.casefold() == key.casefold()]
        if len(same) == 1:
            return record[same[0]]
    first, dot, rest = key.partition(".")
    if not dot:
        return record[int(key)] if isinstance(record, list) and key.isdecimal() and int(key) < len(record) else None
    return _within(_within(record, first), rest)
