"""Read and write chains: one JSON object a line."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from reasoning_anatomy.errors import ChainFileError
from reasoning_anatomy.files import write_atomic
from reasoning_anatomy.thinking import end_of_turn_in, tag_in
from reasoning_anatomy.types import ReasoningChain
from reasoning_anatomy.unusable import Unusable, listed

_FIELDS: Final = tuple(ReasoningChain.model_fields)
STANDARD_INPUT: Final = "-"
"""Stands for standard input in place of a file."""


@dataclass(frozen=True)
class ChainFile:
    """What a file of chains holds, read once.

    Attributes
    ----------
    path
        The file; None if the chains did not come from one.
    chains
        Those that can be used, in order.
    lines
        Line of each in the file, by chain_id.
    unusable
        The lines that cannot be used.
    """

    path: Path | None
    chains: tuple[ReasoningChain, ...]
    lines: Mapping[str, int]
    unusable: tuple[Unusable, ...] = ()

    def expect_usable(self) -> None:
        """Raise `ChainFileError` if any line cannot be used; the message names them all, up to the first twenty."""
        if len(self.unusable) == 1:
            raise ChainFileError(f"{self.path}, {self.unusable[0].message}", reason=self.unusable[0].reason)
        if self.unusable:
            n_chains = len(self.unusable) + len(self.chains)
            raise ChainFileError(
                f"{self.path}: {len(self.unusable)} of {n_chains} chains cannot be used; repair them, or go on without them: "
                f"--skip-unusable{listed(self.unusable)}"
            )


def read_chains(path: str | Path) -> list[ReasoningChain]:
    """Read a JSONL file of chains.

    Every line is an object with the fields of `ReasoningChain`; further fields are kept in ``source``. Empty
    lines are skipped.

    Parameters
    ----------
    path
        The file, or ``-`` for standard input. It is read once, so a pipe will do.

    Raises
    ------
    ChainFileError
        The file is absent or empty, or lines are wrong: the message names file, line, field, value and remedy of each. A chain
        whose thinking was not taken apart is wrong, too.
    """
    file = read_chain_file(path)
    file.expect_usable()
    return list(file.chains)


def read_chain_file(path: str | Path, *, may_hold_tags: bool = False) -> ChainFile:
    """Read a JSONL file of chains, and what is wrong with each line that cannot be used.

    Parameters
    ----------
    path
        As for `read_chains`.
    may_hold_tags
        Whether thinking that was not taken apart is accepted, as in a run that measured it before it was refused.

    Raises
    ------
    ChainFileError
        The file is absent, or no line of it holds anything.
    """
    path = Path(path)
    chains: dict[str, ReasoningChain] = {}
    line_of: dict[str, int] = {}
    unusable = []
    for number, raw in lines(read_bytes(path)):
        record: Mapping[str, Any] = {}
        try:
            record = _record(path, number, raw)
            chain = _chain(path, number, record)
            _expect_new(path, number, chain, line_of)
            if not may_hold_tags:
                expect_taken_apart(chain, place=f"{path}, line {number}: ", file=path)
        except ChainFileError as error:
            message, chain_id = str(error).removeprefix(f"{path}, "), record.get("chain_id")
            is_named = isinstance(chain_id, str) and chain_id not in line_of
            named = (chain_id, *_question_and_verdict(record)) if is_named else (None, None, None)
            unusable.append(Unusable(path.name, number, named[0], error.reason, message, *named[1:]))
        else:
            chains[chain.chain_id], line_of[chain.chain_id] = chain, number
    if not chains and not unusable:
        raise ChainFileError(f"{path}: holds no chain; expected one JSON object a line with {', '.join(_FIELDS[:5])}")
    return ChainFile(path, tuple(chains.values()), line_of, tuple(unusable))


def expect_taken_apart(chain: ReasoningChain, *, place: str = "", file: Path | str = "FILE") -> None:
    """Raise `ChainFileError` for tags of thinking, or for the end of a turn, with the command that takes them away."""
    for field in ("reasoning", "answer"):
        text = getattr(chain, field)
        if tag := tag_in(text):
            raise ChainFileError(
                f"{place}{field!r} of chain {chain.chain_id!r} holds {tag!r} at character {text.index(tag)}: its thinking was "
                f"not taken apart; do it with: reasoning-anatomy chains {file} --out chains.jsonl (if the text only speaks of "
                "the tag, spell it another way)",
                reason=f"{field!r} holds {tag!r}: its thinking was not taken apart",
            )
    if end := end_of_turn_in(chain.answer):
        raise ChainFileError(
            f"{place}'answer' of chain {chain.chain_id!r} ends in {end!r}, which the chat template writes itself; take it away "
            f"with: reasoning-anatomy chains {file} --out chains.jsonl",
            reason=f"'answer' ends in {end!r}, which the chat template writes itself",
        )


def write_chains(path: str | Path, chains: Iterable[ReasoningChain]) -> None:
    """Write chains as JSONL, atomically; `read_chains` returns the same."""
    write_atomic(Path(path), "".join(chain.model_dump_json(exclude_none=True) + "\n" for chain in chains))


def read_bytes(path: Path, *, holding: str = "chains") -> bytes:
    """Read a file, or standard input if it is called ``-``, once; `ChainFileError` if it cannot be read."""
    try:
        return sys.stdin.buffer.read() if str(path) == STANDARD_INPUT else path.read_bytes()
    except OSError as error:
        raise ChainFileError(f"{path}: {error.strerror}; give a JSONL file of {holding}") from error


def lines(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and bytes of every line of a file's content that is not blank."""
    for number, line in enumerate(content.split(b"\n"), start=1):
        line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if line.strip():
            yield number, line


def text_of(path: Path, number: int, line: bytes) -> str:
    """Decode a line; `ChainFileError` if it is not UTF-8."""
    try:
        return line.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ChainFileError(
            f"{path}, line {number}: is not UTF-8 ({error.reason} at byte {error.start}); convert it", reason="is not UTF-8"
        ) from error


def decode(path: Path, number: int, text: str) -> Any:
    """Parse the JSON that begins at line ``number`` of a file; `ChainFileError` if it is not JSON."""
    where = f"{path}, line {number}"
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        where = f"{path}, line {number + error.lineno - 1}"
        raise ChainFileError(
            f"{where}, column {error.colno}: is not JSON ({error.msg}); expected one object a line", reason="is not JSON"
        ) from error
    except RecursionError:
        raise ChainFileError(f"{where}: is nested too deeply to be a chain", reason="is nested too deeply") from None
    except ValueError as error:
        raise ChainFileError(f"{where}: {error}", reason="is not JSON") from None


def shown(value: Any) -> str:
    """Value as a message shows it: JSON, cut after 60 characters."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    text = text.encode(errors="backslashreplace").decode()
    return text if len(text) <= 60 else text[:57] + "..."


def _record(path: Path, number: int, line: bytes) -> dict[str, Any]:
    record = decode(path, number, text_of(path, number, line))
    if not isinstance(record, dict):
        raise ChainFileError(
            f"{path}, line {number}: is {shown(record)}, expected a JSON object with {', '.join(_FIELDS[:5])}",
            reason="is not a JSON object",
        )
    return record


def _question_and_verdict(record: Mapping[str, Any]) -> tuple[str | None, bool | None]:
    """Read the question of a sample that cannot be used, and whether it is correct; one that came to no answer is not."""
    question_id, is_correct, source = (record.get(name) for name in ("question_id", "is_correct", "source"))
    is_marked = isinstance(source, Mapping) and "unusable" in source
    if is_correct is None and is_marked and record.get("gold_answer") is not None and not record.get("answer"):
        is_correct = False
    known = bool(is_correct) if is_correct in (False, True) else None
    return (str(question_id), known) if isinstance(question_id, str | int) else (None, None)


def _chain(path: Path, number: int, record: Mapping[str, Any]) -> ReasoningChain:
    where = f"{path}, line {number}"
    try:
        return ReasoningChain.model_validate(_with_further_fields_in_source(where, record))
    except ValidationError as error:
        message, reason = explained(error)
        source = record.get("source")
        if isinstance(source, Mapping) and (marked := source.get("unusable")):  # as `generate` marks a sample
            message = (
                f"was sampled, but cannot be measured: {shown(marked)}; leave it out, or go on without it: --skip-unusable"
            )
            reason = f"was sampled without reasoning or answer: {shown(marked)}"
        raise ChainFileError(f"{where}: {message}", reason=reason) from None


def _expect_new(path: Path, number: int, chain: ReasoningChain, line_of: Mapping[str, int]) -> None:
    if chain.chain_id in line_of:
        raise ChainFileError(
            f"{path}, line {number}: chain_id {chain.chain_id!r} is also on line {line_of[chain.chain_id]}; give each chain "
            "its own",
            reason="its chain_id is that of an earlier chain",
        )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"holds {name}, which is not JSON; write null or leave it out")


def _with_further_fields_in_source(where: str, record: Mapping[str, Any]) -> Mapping[str, Any]:
    further = {name: value for name, value in record.items() if name not in _FIELDS}
    source = record.get("source")
    if not further or not isinstance(source, dict | None):
        return record
    if clash := sorted(further.keys() & (source or {}).keys()):
        message = f"{clash[0]!r} is given both beside and inside 'source'; keep one"
        raise ChainFileError(f"{where}: {message}", reason=message)
    fields = {name: value for name, value in record.items() if name in _FIELDS}
    return fields | {"source": (source or {}) | further}


def explained(error: ValidationError) -> tuple[str, str]:
    """Say what is wrong with the fields of a chain: with the value, and without it."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        needed = f"every chain needs {', '.join(_FIELDS[:5])}; if the file has another format: reasoning-anatomy chains FILE"
        return f"has no field {name!r}; {needed}", f"has no field {name!r}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "string_type" and isinstance(first["input"], float):
        message += "; write the number in quotes"
    return f"{name!r} is {shown(first['input'])}: {message}", f"{name!r}: {message.partition(';')[0]}"
