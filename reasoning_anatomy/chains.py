"""Read and write chains: one JSON object a line."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from reasoning_anatomy.errors import ChainFileError
from reasoning_anatomy.files import write_atomic
from reasoning_anatomy.types import ReasoningChain

_FIELDS: Final = tuple(ReasoningChain.model_fields)


def read_chains(path: str | Path) -> list[ReasoningChain]:
    """Read a JSONL file of chains.

    Every line is an object with the fields of `ReasoningChain`; further fields are kept in ``source``. Empty
    lines are skipped.

    Raises
    ------
    ChainFileError
        The file is absent or empty, or a line is wrong: the message names file, line, field, value and remedy.
    """
    path = Path(path)
    chains: list[ReasoningChain] = []
    first_line: dict[str, int] = {}
    for number, line in lines(path):
        chain = _parse(path, number, line)
        if chain.chain_id in first_line:
            raise ChainFileError(
                f"{path}, line {number}: chain_id {chain.chain_id!r} is also on line {first_line[chain.chain_id]}; "
                "give each chain its own"
            )
        first_line[chain.chain_id] = number
        chains.append(chain)
    if not chains:
        raise ChainFileError(f"{path}: holds no chain; expected one JSON object a line with {', '.join(_FIELDS[:5])}")
    return chains


def write_chains(path: str | Path, chains: Iterable[ReasoningChain]) -> None:
    """Write chains as JSONL, atomically; `read_chains` returns the same."""
    write_atomic(Path(path), "".join(chain.model_dump_json(exclude_none=True) + "\n" for chain in chains))


def line_of_chain(path: Path, chain_id: str) -> int:
    """Line number of a chain in a file that `read_chains` accepts."""
    return next(number for number, line in lines(path) if json.loads(line)["chain_id"] == chain_id)


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of every line that is not blank; `ChainFileError` if the file cannot be read."""
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                try:
                    line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise ChainFileError(
                        f"{path}, line {number}: is not UTF-8 ({error.reason} at byte {error.start}); convert it"
                    ) from error
                if line.strip():
                    yield number, line.rstrip("\r\n")
    except OSError as error:
        raise ChainFileError(f"{path}: {error.strerror}; give a JSONL file of chains") from error


def decode(path: Path, number: int, text: str) -> Any:
    """Parse the JSON that begins at line ``number`` of a file; `ChainFileError` if it is not JSON."""
    where = f"{path}, line {number}"
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        where = f"{path}, line {number + error.lineno - 1}"
        raise ChainFileError(f"{where}, column {error.colno}: is not JSON ({error.msg}); expected one object a line") from error
    except RecursionError:
        raise ChainFileError(f"{where}: is nested too deeply to be a chain") from None
    except ValueError as error:
        raise ChainFileError(f"{where}: {error}") from None


def shown(value: Any) -> str:
    """Value as a message shows it: JSON, cut after 60 characters."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    text = text.encode(errors="backslashreplace").decode()
    return text if len(text) <= 60 else text[:57] + "..."


def _parse(path: Path, number: int, line: str) -> ReasoningChain:
    where = f"{path}, line {number}"
    record = decode(path, number, line)
    if not isinstance(record, dict):
        raise ChainFileError(f"{where}: is {shown(record)}, expected a JSON object with {', '.join(_FIELDS[:5])}")
    try:
        return ReasoningChain.model_validate(_with_further_fields_in_source(where, record))
    except ValidationError as error:
        raise ChainFileError(f"{where}: {_explain(error)}") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"holds {name}, which is not JSON; write null or leave it out")


def _with_further_fields_in_source(where: str, record: dict[str, Any]) -> dict[str, Any]:
    further = {name: value for name, value in record.items() if name not in _FIELDS}
    source = record.get("source")
    if not further or not isinstance(source, dict | None):
        return record
    if clash := sorted(further.keys() & (source or {}).keys()):
        raise ChainFileError(f"{where}: {clash[0]!r} is given both beside and inside 'source'; keep one")
    fields = {name: value for name, value in record.items() if name in _FIELDS}
    return fields | {"source": (source or {}) | further}


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"has no field {name!r}; every chain needs {', '.join(_FIELDS[:5])}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{name!r} is {shown(first['input'])}: {message}"
