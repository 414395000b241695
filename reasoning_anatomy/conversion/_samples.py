"""What a row of a file says, and what a converter makes of it."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Protocol

from reasoning_anatomy.errors import UnusableError
from reasoning_anatomy.plugins import Plugin

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


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What a row says about one chain. Tags, white space and ids are seen to afterwards, in the same way for all formats.

    Attributes
    ----------
    question, answer
        The answer may be a whole transcript, thinking and tags included, if ``reasoning`` is None.
    reasoning
        The reasoning, with or without tags.
    gold_answer, is_correct, system_prompt
        As in `ReasoningChain`.
    step_starts
        As the row has it: characters of ``reasoning`` as that stands in the row, white space around it included.
    chain_id, question_id
        Only if the row says that these are ids in our sense. Otherwise the chain is named after its place, and the question
        after its text.
    part
        Which of several chains of one row it is.
    source
        Provenance that the row states in other words, such as the model.
    did
        What was done beyond reading, in words.
    fault
        Why this chain cannot be used although others of its row can.
    """

    question: str
    answer: str
    reasoning: str | None = None
    gold_answer: str | None = None
    is_correct: bool | None = None
    system_prompt: str | None = None
    step_starts: Any = None
    chain_id: str | None = None
    question_id: str | None = None
    part: str = ""
    source: Mapping[str, Any] = field(default_factory=dict)
    did: tuple[str, ...] = ()
    fault: str = ""


class Converter(Plugin, Protocol):
    """What a plugin of the kind ``converter`` is: a frozen dataclass with this method.

    Attributes
    ----------
    keys
        Sets of keys, in small letters, that tell the format: a row that has all keys of one set can be in it. If several
        formats fit, that with the larger set is taken; if the sets are of one size, the format must be named.

    A class variable ``only_file_in_folders`` names the only file of a folder that is read, a class variable ``reads_beside``
    the JSON files of the same folder that go into `Row.beside`.
    """

    keys: ClassVar[tuple[tuple[str, ...], ...]]

    def convert(self, row: Row) -> Iterator[Sample]:
        """Say what chains a row holds.

        Raises
        ------
        UnusableError
            The row cannot become a chain, or could become one in several ways; the message is the same for all such rows.
        """


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
