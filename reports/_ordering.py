"""Results as a hurried reader wants them: what was found first, one row per signal, competitors apart, at most a dozen rows.

The rules, for any result:

- A term and the same term with position (or length) held constant stand side by side, with the interval below each.
- If the analysis explains its terms, a row is a scorer, strategy or annotator, and its columns are the first term, raw and held
  constant; without such a pair, the first terms. Otherwise the terms are what is compared, and each has a row.
- Rows that were tested come first, the largest value first, whatever its sign. The others keep the order of the analysis, or
  ascend if their terms are what is compared. What is read under several conditions, such as restatements kept and stripped,
  keeps the order of the analysis, too, with a heading for what is read.
- Competitors and baselines stand apart, below a heading.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pandas as pd

from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.types import RESULT_COLUMNS
from reports._style import p_value, whole
from reports._tables import Cell, category_cell, value_cell, with_minus

LEVEL: Final = 0.05
"""Adjusted p-values below it make a value bold."""

_GIVEN: Final = re.compile(r"(.+?)[ _]given[ _]([a-z_ ]+)")
_ROLES: Final = ("kind", "role")
_MAIN_ROLES: Final = ("independent signal", "strategy")
_HEADINGS: Final = {
    "trivial competitor": "For comparison: what position, length, frequency, category or chance say alone",
    "own first step": "For comparison: what the strategy itself looked at before its first deletion",
    "baseline": "For comparison: baselines",
}
_MOST_ROWS: Final = 12
_MOST_BESIDE: Final = 8
"""Rows if others stand apart."""
_MOST_APART: Final = 4


@dataclass(frozen=True)
class Group:
    """Rows below a heading; ``is_apart``: they are there for comparison only."""

    rows: list[list[Cell]]
    title: str = ""
    is_apart: bool = False


@dataclass(frozen=True)
class OrderedView:
    """A result in the order of what was found.

    Attributes
    ----------
    headers
        Of the columns, as cells.
    groups
        Of the rows that are seen at once.
    more
        Of the others.
    about
        Name and value of what all rows are about.
    notes
        How to read it.
    """

    headers: list[Cell] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    more: list[Group] = field(default_factory=list)
    about: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def n_more(self) -> int:
        """Number of rows that are not seen at once."""
        return sum(len(group.rows) for group in self.more)


@dataclass(frozen=True)
class _Row:
    """What becomes a row of the view: its names, whether it is apart and below which heading, the rows behind its values."""

    names: tuple[Cell, ...]
    place: tuple[bool, str]
    estimates: Sequence[Mapping[str, Any] | None]
    is_pair: bool

    @property
    def deciding(self) -> Mapping[str, Any]:
        """Return the value that it is sorted by: that with the first control held constant, if there is one."""
        first = self.estimates[: 2 if self.is_pair else 1]
        of_pair = [value for value in first if value is not None and pd.notna(value["estimate"])]
        return of_pair[-1] if of_pair else dict.fromkeys(RESULT_COLUMNS, float("nan"))

    @property
    def is_tested(self) -> bool:
        """Whether that value has a p-value."""
        return bool(pd.notna(self.deciding["p_value"]))


@dataclass(frozen=True)
class _Layout:
    """Columns of a result that name the rows of the view, those that stand in headings, and whether terms become columns."""

    names: list[str]
    above: list[str]
    has_measures: bool


def without_control(term: str) -> tuple[str, str]:
    """Split a term into what is estimated and what is held constant, if anything.

    >>> without_control("spearman_given_position"), without_control("wrong - correct")
    (('spearman', 'position'), ('wrong - correct', ''))
    """
    match = _GIVEN.fullmatch(term)
    return (match[1], match[2]) if match else (term, "")


def varying_keys(table: pd.DataFrame) -> list[str]:
    """Columns of a result that say what its rows are about and are not the same in all of them."""
    keys = [str(name) for name in table.columns if name not in (*RESULT_COLUMNS, *_ROLES)]
    return [name for name in keys if len(set(map(_text, table[name]))) > 1]


def ordered_view(
    table: pd.DataFrame, terms: Mapping[str, str], *, keys: Sequence[str] | None = None, most_measures: int = 6
) -> OrderedView:
    """Order the table of a result.

    Parameters
    ----------
    table
        Of a result.
    terms
        What its terms mean, by term, as the analysis explains them.
    keys
        Columns that tell its rows apart; None = its `varying_keys`.
    most_measures
        Terms that become columns, if none of them has a control beside it.
    """
    if table.empty:
        return OrderedView()
    varying = varying_keys(table) if keys is None else [name for name in keys if name in table]
    split = [without_control(term) for term in table["term"]]
    if table["term"].iloc[0] in terms and varying:
        layout = _Layout(varying, [], True)
    elif varying and all(len(set(map(_text, rows))) > 1 for _, rows in table.groupby("term")[varying[-1]]):
        layout = _Layout(varying[-1:], [*varying[:-1], "term"], False)
    else:
        layout = _Layout(["term"], varying, False)
    controls = list(dict.fromkeys(held for base, held in split if base == split[0][0] or not layout.has_measures))
    bases = list(dict.fromkeys(base for base, held in split if held in controls)) if layout.has_measures else [split[0][0]]
    bases = bases[: 1 if len(controls) > 1 else most_measures]
    columns = [(base, held) for base in bases for held in controls]
    found = list(_rows(table, split, columns, layout))
    places = list(dict.fromkeys(row.place for row in found))
    if layout.has_measures or layout.names == ["term"]:
        found = _sorted(found, keep_order=layout.has_measures)
    questions = {int(row.deciding["n_questions"]) for row in found if pd.notna(row.deciding["n_questions"])}
    is_tested = len(bases) == 1 and any(pd.notna(row.deciding["p_adjusted"]) for row in found)
    headers = [
        *(Cell(name, is_name=True) for name in layout.names),
        *(_header(base, held, terms, is_measure=layout.has_measures) for base, held in columns),
        *([Cell("p adjusted")] if is_tested else []),
        *([Cell("questions")] if len(questions) > 1 else []),
    ]
    groups = [
        Group(
            [_cells(row, is_tested=is_tested, with_questions=len(questions) > 1) for row in found if row.place == place],
            title=place[1],
            is_apart=place[0],
        )
        for place in sorted(places, key=lambda each: each[0])
    ]
    shown, more = divided(groups)
    shared = [str(name) for name in table.columns[: -len(RESULT_COLUMNS)] if name not in (*varying, *_ROLES)]
    about = [(name, str(table[name].iloc[0])) for name in shared if pd.notna(table[name].iloc[0])]
    if len(questions) == 1:
        about.append(("questions", whole(questions.pop())))
    return OrderedView(headers, shown, more, about, _notes(found, controls, is_tested=is_tested))


def _rows(
    table: pd.DataFrame, split: Sequence[tuple[str, str]], columns: Sequence[tuple[str, str]], layout: "_Layout"
) -> Iterator[_Row]:
    role = next((name for name in _ROLES if name in table), None)
    found: dict[tuple[tuple[str, ...], str, tuple[str, ...]], dict[tuple[str, str], Mapping[str, Any]]] = {}
    for row, (base, held) in zip(table.to_dict("records"), split, strict=True):
        texts = {str(name): _text(value) for name, value in row.items()} | {"term": base}
        key = (
            tuple(texts[name] for name in layout.names),
            texts[role] if role else "",
            tuple(texts[name] for name in layout.above),
        )
        found.setdefault(key, {})[base if layout.has_measures else columns[0][0], held] = {
            str(name): value for name, value in row.items()
        }
    everything_apart = role is not None and not set(table[role]) & set(_MAIN_ROLES)
    for (names, of_role, above), values in found.items():
        is_apart = bool(of_role) and of_role not in _MAIN_ROLES and not everything_apart
        heading = (
            _HEADINGS.get(of_role, f"For comparison: {of_role}") if is_apart else with_minus(", ".join(filter(None, above)))
        )
        cells = tuple(category_cell(name) if name in CATEGORIES else Cell(with_minus(name), is_name=True) for name in names)
        yield _Row(cells, (is_apart, heading), [values.get(column) for column in columns], columns[0][0] == columns[-1][0])


def _sorted(rows: list[_Row], *, keep_order: bool) -> list[_Row]:
    def place(item: tuple[int, _Row]) -> tuple[bool, bool, float]:
        number, row = item
        estimate = row.deciding["estimate"]
        if row.is_tested:
            return False, False, -abs(estimate)
        return True, pd.isna(estimate), number if keep_order or pd.isna(estimate) else estimate

    return [row for _, row in sorted(enumerate(rows), key=place)]


def _cells(row: _Row, *, is_tested: bool, with_questions: bool) -> list[Cell]:
    adjusted = row.deciding["p_adjusted"]
    return [
        *row.names,
        *(value_cell(value, is_strong=value is not None and value["p_adjusted"] < LEVEL) for value in row.estimates),
        *([Cell(p_value(adjusted))] if is_tested else []),
        *([Cell(whole(row.deciding["n_questions"]))] if with_questions else []),
    ]


def divided(groups: Sequence[Group]) -> tuple[list[Group], list[Group]]:
    """Divide the groups into the rows that are seen at once and the others; two rows are not worth a click."""
    if sum(len(group.rows) for group in groups) <= _MOST_ROWS + 2:
        return list(groups), []
    shown: list[Group] = []
    more: list[Group] = []
    room = _MOST_BESIDE if any(group.is_apart for group in groups) else _MOST_ROWS
    for group in groups:
        n_shown = _MOST_APART if group.is_apart else max(0, room)
        if not group.is_apart:
            room -= len(group.rows)
        for part, rows in ((shown, group.rows[:n_shown]), (more, group.rows[n_shown:])):
            if rows:
                part.append(Group(rows, group.title, group.is_apart))
    return shown, more


def _notes(rows: Sequence[_Row], controls: Sequence[str], *, is_tested: bool) -> list[str]:
    notes = ["Intervals stand below their values."]
    held = f" with {controls[1]} held constant" if len(controls) > 1 else ""
    if any(row.is_tested for row in rows):
        notes.append(f"Rows that were tested come first, the largest value{held} first, whatever its sign.")
    if is_tested:
        notes.append(f"The adjusted p is of the value{held}, if there is one.")
    if any(value is not None and pd.notna(value["p_adjusted"]) for row in rows for value in row.estimates):
        notes.append(f"Bold: adjusted p below {LEVEL:g}.")
    return notes


def _header(base: str, held: str, terms: Mapping[str, str], *, is_measure: bool) -> Cell:
    if held:
        return Cell(f"{held.replace('_', ' ')} held constant")
    return Cell(terms.get(base, base)) if is_measure else Cell("estimate")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if pd.isna(value) else str(value)
