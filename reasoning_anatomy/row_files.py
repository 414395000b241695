"""The rows of a file, whatever it is packed in: JSON, JSON lines, CSV, Parquet, gzip; told by its content."""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from reasoning_anatomy.chains import decode, lines, read_bytes, text_of
from reasoning_anatomy.errors import ChainFileError

Numbered = tuple[int, Any]
"""The number of a row, from 1, and the row; or the error that says why it cannot be read."""

_GZIP: Final = b"\x1f\x8b"
_PARQUET: Final = b"PAR1"
_CELLS: Final = "has another number of cells than the head of the table"
_LONGEST_FIELD: Final = 2**31 - 1


def read_rows(file: Path, *, holding: str = "chains") -> Iterator[Numbered]:
    """Read a file of chains, or of what it is said to hold, and yield its rows; a line that is not JSON as its error."""
    content = _unzipped(file, read_bytes(file, holding=holding))
    if content.startswith(_PARQUET):
        return _parquet(file, content)
    start = content.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start:
        raise ChainFileError(f"{file}: is empty; give a file with rows")
    if start[:1] == b"[" or (start[:1] == b"{" and not any(map(_is_json, start.split(b"\n", 2)[:2]))):
        return _document(file, content)
    if start[:1] == b"{":
        return _json_lines(file, content)
    return _csv(file, content)


def _unzipped(file: Path, content: bytes) -> bytes:
    try:
        return gzip.decompress(content) if content.startswith(_GZIP) else content
    except (OSError, EOFError, zlib.error) as error:
        raise ChainFileError(f"{file}: cannot be unzipped ({error}); copy it again") from error


def _parquet(file: Path, content: bytes) -> Iterator[Numbered]:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        table = pq.ParquetFile(pa.BufferReader(content))
        rows = (row for batch in table.iter_batches(batch_size=256) for row in batch.to_pylist())
        yield from enumerate(rows, start=1)
    except pa.ArrowException as error:
        raise ChainFileError(f"{file}: cannot be read as Parquet ({str(error).splitlines()[0]}); copy it again") from error


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _document(file: Path, content: bytes) -> Iterator[Numbered]:
    """One JSON value: a list of rows, or a single row."""
    try:
        value = decode(file, 1, content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ChainFileError(f"{file}: is not UTF-8 ({error.reason} at byte {error.start}); convert it") from error
    yield from enumerate(value if isinstance(value, list) else [value], start=1)


def _json_lines(file: Path, content: bytes) -> Iterator[Numbered]:
    for number, line in lines(content):
        try:
            yield number, decode(file, number, text_of(file, number, line))
        except ChainFileError as error:
            yield number, error


def _csv(file: Path, content: bytes) -> Iterator[Numbered]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ChainFileError(f"{file}: is not UTF-8 ({error.reason} at byte {error.start}); convert it") from error
    csv.field_size_limit(_LONGEST_FIELD)
    table = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if "\t" in text.partition("\n")[0] else ",")
    try:
        for number, row in enumerate(table, start=1):
            if None in row or None in row.values():
                yield number, ChainFileError(f"{file}, row {number}: has another number of cells than its head", reason=_CELLS)
            else:
                yield number, row
    except csv.Error as error:
        raise ChainFileError(f"{file}, line {table.line_num}: cannot be read as CSV ({error}); repair it") from error
