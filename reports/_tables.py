"""Tables of results as the page shows them: named, rounded, and without columns that say the same in every row."""

import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pandas as pd

from reasoning_anatomy.verdicts import says_nothing
from reports._style import NOT_GIVEN, category_index, category_name, number, p_value, whole

_DIFFERENCE: Final = re.compile(r"(?<=\w) - (?=\w)")

SHORT: Final = 12
"""Rows up to which a table is open when the page opens."""

_HEADERS: Final = {
    "p_value": "p", "p_adjusted": "p adjusted", "p_max_t": "p max-T", "n_questions": "questions", "n_chains": "chains",
    "n_texts": "texts", "n_tokens": "tokens", "n_censored": "never deleted",
}  # fmt: skip
_SHARED: Final = ("annotator", "strategy", "scorer", "kind", "term")
"""Columns that stand above a table rather than in it if all rows have the same value."""


@dataclass(frozen=True)
class Cell:
    """One cell: its text, words that stand below it, the place of a category that it names; a name, or else a number.

    ``href`` makes it a link, ``is_strong`` bold.
    """

    text: str
    words: str = ""
    chip: int | None = None
    is_name: bool = False
    is_strong: bool = False
    href: str = ""


@dataclass(frozen=True)
class TableView:
    """A table ready for the template.

    Attributes
    ----------
    headers
        Of the columns, as cells.
    rows
        As many cells each.
    about
        Name and value of what all rows are about.
    title
        What stands above it.
    """

    headers: list[Cell] = field(default_factory=list)
    rows: list[list[Cell]] = field(default_factory=list)
    about: list[tuple[str, str]] = field(default_factory=list)
    title: str = ""

    @property
    def is_short(self) -> bool:
        """Whether it is shown at once."""
        return len(self.rows) <= SHORT


def table_view(table: pd.DataFrame, words: Mapping[str, str] | None = None) -> TableView:
    """Make the view of a table.

    Parameters
    ----------
    table
        Of a result or a detail: text columns become names, two columns ``<name>_low, <name>_high`` one interval.
    words
        What a term means, by term.
    """
    shared = [name for name in _SHARED if name in table and len(table) > 1 and len(set(table[name])) == 1]
    columns = _columns(table.drop(columns=shared), words or {})
    return TableView(
        headers=[header for header, _ in columns],
        rows=[list(cells) for cells in zip(*(cells for _, cells in columns), strict=True)],
        about=[(name, str(table[name].iloc[0])) for name in shared],
    )


def stacked_view(table: pd.DataFrame) -> TableView:
    """Make the view of a table of a summary: the intervals and notes of a value stand below it, so that there are few columns.

    Parameters
    ----------
    table
        As `reports.HasSummary` says.
    """
    below = [f"{name}_{what}" for name in table.columns for what in ("low", "high", "note")]
    values = table.drop(columns=[name for name in below if name in table])
    columns = [
        (header, [replace(cell, words=_below(row, name)) for cell, row in zip(cells, table.to_dict("records"), strict=True)])
        for name, (header, cells) in zip(values.columns, _columns(values, {}), strict=True)
    ]
    labels = table.attrs.get("labels", ())
    return TableView(
        headers=[Cell(name) if name in labels else header for name, (header, _) in zip(values.columns, columns, strict=True)],
        rows=[list(cells) for cells in zip(*(cells for _, cells in columns), strict=True)],
        title=table.attrs.get("title", ""),
    )


def value_cell(row: Mapping[str, Any] | None, *, is_strong: bool = False) -> Cell:
    """Cell with the estimate of a row of a result, and its interval below; a dash if there is no row."""
    if row is None or pd.isna(row["estimate"]):
        return Cell(NOT_GIVEN)
    interval = "" if pd.isna(row["ci_low"]) else _interval(row["ci_low"], row["ci_high"]).text
    return Cell(number(row["estimate"]), interval, is_strong=is_strong)


def _below(row: Mapping[Hashable, Any], name: str) -> str:
    """Interval and note of one value."""
    words = [] if pd.isna(row.get(f"{name}_low")) else [_interval(row[f"{name}_low"], row[f"{name}_high"]).text]
    note = row.get(f"{name}_note")
    return "; ".join([*words, *([note] if isinstance(note, str) and note else [])])


def _columns(table: pd.DataFrame, words: Mapping[str, str]) -> list[tuple[Cell, list[Cell]]]:
    """Header and cells of every column."""
    columns = []
    for name in map(str, table.columns):
        stem = name.removesuffix("_low")
        if name.removesuffix("_high") + "_low" in table and name.endswith("_high"):
            continue
        if stem != name and f"{stem}_high" in table:
            header = "interval" if stem == "ci" else f"{stem.replace('_', ' ')} interval"
            cells = [_interval(low, high) for low, high in zip(table[name], table[f"{stem}_high"], strict=True)]
            columns.append((Cell(header), cells))
        elif pd.api.types.is_numeric_dtype(table[name]):
            shown = _rounding(name, table[name])
            columns.append((Cell(_header(name)), [Cell(shown(value)) for value in table[name]]))
        else:
            cells = [category_cell(value) if name.startswith("category") else _name(value, words) for value in table[name]]
            columns.append((Cell(_header(name), is_name=True), cells))
    return columns


def _header(name: str) -> str:
    return _HEADERS.get(name, name.replace("_", " "))


def _rounding(name: str, column: "pd.Series[Any]") -> Callable[[Any], str]:
    if name == "threshold":
        return "{:g}".format
    if name.startswith("p_") or name.endswith("_p_adjusted"):
        return p_value
    return whole if name.startswith("n_") or pd.api.types.is_integer_dtype(column) else number


def _name(value: Any, words: Mapping[str, str]) -> Cell:
    return (
        Cell(with_minus(value), words.get(value, ""), is_name=True) if isinstance(value, str) else Cell(NOT_GIVEN, is_name=True)
    )


def category_cell(value: str) -> Cell:
    """Cell with the name of a category, in its colour."""
    return Cell(category_name(value), chip=category_index(value), is_name=True)


def _interval(low: Any, high: Any) -> Cell:
    ends = number(low), number(high)
    if says_nothing(low, high):
        return Cell("says nothing")
    return Cell(NOT_GIVEN if NOT_GIVEN in ends else f"{ends[0]} to {ends[1]}")


def with_minus(text: str) -> str:
    r"""Write the hyphen of a difference, such as ``a - b``, as a minus sign.

    >>> with_minus("a - b, co-reference") == "a \N{MINUS SIGN} b, co-reference"
    True
    """
    return _DIFFERENCE.sub(" \N{MINUS SIGN} ", text)
