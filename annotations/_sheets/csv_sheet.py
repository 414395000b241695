"""A labelling sheet: CSV that spreadsheet programs read, one unit per row."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from annotations._sheets.rows import LabelledRow, Problems
from reasoning_anatomy.errors import AnnotationError
from reasoning_anatomy.files import write_atomic
from reasoning_anatomy.types import ReasoningChain

COLUMNS: Final = ("chain_id", "unit", "start", "end", "before", "text", "after", "suggested", "category")
_NEEDED: Final = ("chain_id", "start", "end", "text", "category")
_CONTEXT: Final = 40
_GUARD: Final = "'"
_DATE: Final = re.compile(r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*[\s./-]*\d", re.IGNORECASE)

LabelTask = tuple[ReasoningChain, Sequence[tuple[int, int]], Sequence[str | None]]
"""A chain, its units, and a suggested category for each."""


def write_sheet(path: Path, chains: Sequence[LabelTask]) -> Path:
    """Write the sheet: UTF-8 with a byte-order mark, by which spreadsheet programs recognise it."""
    content = io.StringIO(newline="")
    writer = csv.writer(content)
    writer.writerow(COLUMNS)
    for chain, units, suggested in chains:
        for index, ((start, end), suggestion) in enumerate(zip(units, suggested, strict=True)):
            before = _in_one_line(chain.reasoning[max(0, start - _CONTEXT) : start])
            after = _in_one_line(chain.reasoning[end : end + _CONTEXT])
            text = chain.reasoning[start:end]
            cells = [guarded(cell) for cell in (before, text, after)]
            writer.writerow([guarded(chain.chain_id), index, start, end, *cells, suggestion or "", ""])
    write_atomic(path, content.getvalue().encode("utf-8-sig"))
    return path


def read_sheet(path: Path, problems: Problems) -> Iterator[LabelledRow]:
    """Read a sheet that comes back: with commas, semicolons or tabs between cells, and the line ends of any system."""
    text = _decoded(path)
    header = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count), strict=True)
    try:
        columns = [name.strip() for name in next(reader, [])]
        if missing := [name for name in _NEEDED if name not in columns]:
            problems.add(
                "line 1", f"has no column {', '.join(missing)}; keep the header of the exported sheet: {','.join(COLUMNS)}"
            )
            return
        line = reader.line_num + 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                row = _row(f"line {line}", dict(zip(columns, cells, strict=False)), problems)
                if row is not None:
                    yield row
            line = reader.line_num + 1
    except csv.Error as error:
        problems.add(f"line {reader.line_num}", f"is not CSV ({error}); save the sheet as CSV in UTF-8")


def guarded(cell: str) -> str:
    """Put an apostrophe before what a spreadsheet program might calculate, convert or cut; `unguarded` removes it.

    A formula could be planted in a chain (``=HYPERLINK(…)``); ``1/2`` and ``mar-3`` would come back as dates, ``3.50`` as 3.5.

    >>> guarded("=SUM(A1)"), guarded("3.50"), guarded("'s"), guarded("mar-3"), guarded("pump")
    ("'=SUM(A1)", "'3.50", "''s", "'mar-3", 'pump')
    """
    is_plain = cell[:1].isalpha() and cell.lower() not in ("true", "false") and not _DATE.match(cell)
    return cell if is_plain or not cell else _GUARD + cell


def unguarded(cell: str) -> str:
    """Remove the apostrophe that `guarded` put there; a spreadsheet program may already have removed it."""
    return cell[1:] if cell.startswith(_GUARD) and guarded(cell[1:]) == cell else cell


def _row(where: str, cells: dict[str, str], problems: Problems) -> LabelledRow | None:
    if missing := [name for name in _NEEDED if name not in cells]:
        problems.add(where, f"has no cell {', '.join(missing)}; restore the row")
        return None
    for name in ("start", "end"):
        if not (cells[name].strip().isascii() and cells[name].strip().isdigit()):
            problems.add(where, f"{name} is {cells[name]!r}, expected a character offset; restore the exported value")
            return None
    start, end = int(cells["start"]), int(cells["end"])
    return LabelledRow(where, unguarded(cells["chain_id"]), start, end, unguarded(cells["text"]), cells["category"].strip())


def _decoded(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise AnnotationError(f"{path}: {error.strerror}; give a sheet that 'annotations export' wrote") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path}: is not UTF-8 ({error.reason} at byte {error.start}); save it as 'CSV UTF-8'") from error


def _in_one_line(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", " ⏎ ")
