"""What a converter makes of a row of a file."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from reasoning_anatomy.plugins import Plugin
from reasoning_anatomy.rows import Row as Row


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
