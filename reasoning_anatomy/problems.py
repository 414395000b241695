"""Read problems: questions, and the right answers as far as they are known."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from reasoning_anatomy.answers.marks import behind_hashes
from reasoning_anatomy.chains import explained, shown
from reasoning_anatomy.errors import ChainFileError, ProblemFileError, UnusableError
from reasoning_anatomy.questions import question_id_of
from reasoning_anatomy.row_files import read_rows
from reasoning_anatomy.rows import Row, as_text
from reasoning_anatomy.thinking import tag_in
from reasoning_anatomy.types import Text
from reasoning_anatomy.untrusted import HALF_A_PAIR
from reasoning_anatomy.unusable import Unusable, listed

_ID: Final = ("question_id", "problem_id", "unique_id", "id")
_QUESTION: Final = ("question", "problem", "prompt")
_GOLD_ANSWER: Final = ("gold_answer", "expected_answer", "final_answer", "answer")
_SYSTEM_PROMPT: Final = ("system_prompt", "system")
_OPTIONS: Final = ("options", "choices")
_WRITTEN_BY_A_MODEL: Final = "reasoning"
"""Beside this key of chains, ``answer`` is what a model answered."""

_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LETTER: Final = re.compile(r"\(?([A-Za-z])[).]?")


class Problem(BaseModel):
    """A question to sample chains on. Text only, and none of it is trusted.

    Attributes
    ----------
    question_id
        The unit of statistics, unique within a file. A whole number is read as text.
    question
        What the model is asked; options of a multiple choice stand below it.
    gold_answer
        The correct answer, if known; the letter of the correct option in a multiple choice.
    system_prompt
        Goes before the question; the model's own default if absent.
    source
        Numbers and short texts that stand beside it in its file: subject, level, ...
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    question_id: Text = Field(min_length=1)
    question: str
    gold_answer: Text | None = None
    system_prompt: str | None = None
    source: Mapping[str, Any] = Field(default_factory=dict)

    @field_validator("question", "gold_answer")
    @classmethod
    def _has_text(cls, text: str | None) -> str | None:
        if text is not None and not text.strip():
            raise ValueError("is empty")
        return text

    @field_validator("question_id", "question", "gold_answer", "system_prompt", mode="before")
    @classmethod
    def _is_unicode(cls, text: Any) -> Any:
        if isinstance(text, str) and HALF_A_PAIR.search(text):
            raise ValueError("holds half of a surrogate pair, which no tokenizer can read; repair the text")
        return text


@dataclass(frozen=True)
class ProblemFile:
    """What a file of problems holds.

    Attributes
    ----------
    path
        The file.
    problems
        In the order of its rows.
    notes
        What was decided in reading them, in sentences for the user.
    """

    path: Path
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()


def read_problems(path: str | Path) -> list[Problem]:
    """Read a file of problems.

    Parameters
    ----------
    path
        JSON lines, a JSON list, CSV or Parquet, also gzipped; ``-`` is standard input. The id is in ``question_id``,
        ``problem_id``, ``unique_id`` or ``id``, else it is made from the question; the question in ``question``, ``problem``
        or ``prompt``; the answer in ``gold_answer``, ``expected_answer``, ``final_answer`` or ``answer``. The first counts.

    Raises
    ------
    ProblemFileError
        The file cannot be read or is empty, or rows are wrong: the message names file, row, value and remedy of each.
    """
    return list(read_problem_file(path).problems)


def read_problem_file(path: str | Path) -> ProblemFile:
    """Read a file of problems, with what was decided in reading it; as `read_problems`."""
    path = Path(path)
    reader = _Reader()
    try:
        for number, record in read_rows(path, holding="problems"):
            reader.read(path, number, record)
    except ChainFileError as error:
        raise ProblemFileError(str(error)) from error
    if reader.unusable:
        n_rows = len(reader.unusable) + len(reader.problems)
        raise ProblemFileError(
            f"{path}: {len(reader.unusable)} of {n_rows} problems cannot be used; repair them:{listed(reader.unusable)}"
        )
    if not reader.problems:
        raise ProblemFileError(f"{path}: holds no problem; expected one JSON object a line with 'question' and 'answer'")
    return ProblemFile(path, tuple(reader.problems), tuple(reader.notes()))


class _Reader:
    """The problems of a file so far, and what is wrong with the other rows."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.unusable: list[Unusable] = []
        self._row_of: dict[str, int] = {}
        self._n_without_id = self._n_by_a_model = 0

    def read(self, path: Path, number: int, record: Any) -> None:
        try:
            problem = self._problem(record)
            self._expect_new(problem)
        except UnusableError as error:
            self.unusable.append(Unusable(path.name, number, None, str(error), f"row {number}: {error}"))
        else:
            self.problems.append(problem)
            self._row_of[problem.question_id] = number

    def notes(self) -> list[str]:
        notes = []
        if self._n_without_id:
            notes.append(
                f"{self._n_without_id} of {len(self.problems)} problems have no id: each is named after its text, such as "
                f"{next(each for each in self._row_of if each.startswith('question-'))!r}; the keys of ids are {', '.join(_ID)}"
            )
        if self._n_by_a_model:
            notes.append(
                f"{self._n_by_a_model} of {len(self.problems)} problems are chains: 'answer' is what a model answered, so it "
                "is not taken as the correct answer; the correct one goes into 'gold_answer'"
            )
        return notes

    def _problem(self, record: Any) -> Problem:
        if isinstance(record, ChainFileError):
            raise UnusableError(str(record).partition(": ")[2])
        if not isinstance(record, dict):
            raise UnusableError(f"is {shown(record)}, expected an object with 'question' and 'answer'")
        row = Row(record)
        question = _question(row)
        options = _options(row)
        question_id = _first_text(row, _ID)
        if question_id is None:
            self._n_without_id += 1
        fields = {
            "question_id": question_id or question_id_of(_with_options(question, options)),
            "question": _with_options(question, options),
            "gold_answer": _letter(row, options) if options else self._gold_answer(row),
            "system_prompt": _first_text(row, _SYSTEM_PROMPT),
            "source": _source(row),
        }
        try:
            return Problem.model_validate(fields)
        except ValidationError as error:
            raise UnusableError(explained(error)[0]) from None

    def _gold_answer(self, row: Row) -> str | None:
        is_by_a_model = row.get(_WRITTEN_BY_A_MODEL) is not None
        key = next((key for key in _GOLD_ANSWER if row.get(key) is not None), None)
        if key is None or (is_by_a_model and key == "answer"):
            self._n_by_a_model += key is not None
            return None
        answer = row.optional(key)
        return behind_hashes(answer) if answer else answer

    def _expect_new(self, problem: Problem) -> None:
        if problem.question_id in self._row_of:
            raise UnusableError(
                f"its id {problem.question_id!r} is also that of row {self._row_of[problem.question_id]}; give each problem "
                "its own, or leave one of them out"
            )


def _question(row: Row) -> str:
    question = _first_text(row, _QUESTION)
    if question is None:
        keys = ", ".join(sorted(map(str, row.record))[:12]) or "none"
        raise UnusableError(f"has no question (its keys: {keys}); put it into one of {', '.join(_QUESTION)}")
    if tag := tag_in(question):
        raise UnusableError(
            f"its question holds {tag!r}: it is a prompt with the chat template around it, or a transcript; give the question "
            "alone, since the template is added here"
        )
    return question.strip()


def _options(row: Row) -> list[str]:
    key = next((key for key in _OPTIONS if row.get(key) not in (None, [])), None)
    if key is None:
        return []
    options = [as_text(option, key) or "" for option in row.items(key)]
    if len(options) > len(_LETTERS) or not all(option.strip() for option in options):
        raise UnusableError(f"{key!r} is {shown(row.get(key))}: expected at most {len(_LETTERS)} texts that are not empty")
    return options


def _with_options(question: str, options: Sequence[str]) -> str:
    return "\n".join([question, *(f"({letter}) {option}" for letter, option in zip(_LETTERS, options, strict=False))])


def _letter(row: Row, options: Sequence[str]) -> str | None:
    """Letter of the correct option, which is given as a letter, by its text, or by its index from 0 in ``answer_index``."""
    key = next((key for key in _GOLD_ANSWER if row.get(key) is not None), None)
    index = row.get("answer_index")
    if key is None and index is None:
        return None
    letters = _LETTERS[: len(options)]
    by_index = letters[index] if isinstance(index, int) and 0 <= index < len(options) else None
    given = row.get(key) if key else None
    named = _LETTER.fullmatch(given.strip()) if isinstance(given, str) else None
    found = {
        *([by_index] if by_index else []),
        *([named[1].upper()] if named and named[1].upper() in letters else []),
        *(letter for letter, option in zip(letters, options, strict=True) if isinstance(given, str) and option == given),
    }
    if len(found) != 1 or (index is not None and not by_index):
        raise UnusableError(
            f"its answer is {shown(given if given is not None else index)}, expected the letter of one of its {len(options)} "
            f"options: one of {', '.join(letters)}"
        )
    return found.pop()


def _source(row: Row) -> dict[str, Any]:
    used = {*_ID, *_QUESTION, *_GOLD_ANSWER, *_SYSTEM_PROMPT, "answer_index", "chain_id", _WRITTEN_BY_A_MODEL}
    return {key: value for key, value in row.small().items() if key.casefold() not in used}


def _first_text(row: Row, keys: Sequence[str]) -> str | None:
    return next((text for key in keys if (text := row.optional(key)) is not None), None)
