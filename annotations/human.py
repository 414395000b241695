"""Labels by people: out of a run as a sheet or as tasks, back into it with checks.

``reasoning-anatomy annotations export RUN --to FILE`` and ``annotations import RUN FILE --as NAME``; a ``.json`` file is one of
Label Studio, any other a sheet (CSV). ``docs/human-labels.md`` is the manual.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from annotations._sheets import csv_sheet, label_studio
from annotations._sheets.rows import LabelledRow, Problems
from annotations._text.unit_labels import UnitLabels, from_tokens, to_tokens, units_of
from annotations.token_roles import write_token_roles
from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.chains import shown
from reasoning_anatomy.errors import AnnotationError
from reasoning_anatomy.run.folder import Run

PROVENANCE: Final = "HumanLabels("
_LABEL_STUDIO: Final = ".json"


def export_labels(run: Run, to: str | Path, *, annotator: str | None = None, replace: bool = False) -> list[Path]:
    """Write what is to be labelled.

    Parameters
    ----------
    run
        Whose measured chains.
    to
        A ``.json`` file of tasks for Label Studio, beside which its labelling interface is written as ``.xml``; any other
        name: a sheet.
    annotator
        Name of labels of the run to suggest; None suggests those of the first annotator, nothing where there is none.
    replace
        Replace the files that are there, which somebody may have filled.

    Returns
    -------
    The files.

    Raises
    ------
    AnnotationError
        No chain is measured, the run has no such labels, or a file is there already.
    """
    to = Path(to)
    is_tasks = to.suffix.lower() == _LABEL_STUDIO
    expect_free([to, *([to.with_suffix(".xml")] if is_tasks else [])], replace=replace)
    name = _suggested(run, annotator)
    if not run.measured:
        raise AnnotationError(f"{run.folder}: has no measured chain to label; finish the run first")
    suggestions = _suggestions(run, name)
    chains = [
        (run.chains[chain_id], units_of(run.chains[chain_id].reasoning), suggestions[chain_id]) for chain_id in run.measured
    ]
    if is_tasks:
        return label_studio.write_tasks(to, chains, suggested_by=name)
    return [csv_sheet.write_sheet(to, chains)]


def expect_free(files: Iterable[Path], *, replace: bool) -> None:
    """Raise `AnnotationError` where a file is there, which people may have worked on."""
    for file in files:
        if file.exists() and not replace:
            raise AnnotationError(f"{file}: is there already; choose another name or replace it: --replace")


def import_labels(
    run: Run,
    file: str | Path,
    *,
    name: str,
    partial: bool = False,
    replace: bool = False,
    completed_by: int | None = None,
) -> Path:
    """Read labels of people and write them into a run.

    Parameters
    ----------
    run
        The run that they were exported from.
    file
        A sheet, or a ``.json`` export of Label Studio.
    name
        Of these labels: of the file and of the columns.
    partial
        Accept units without a category; their tokens are missing.
    replace
        Replace labels of this name.
    completed_by
        Id of the annotator in Label Studio, where several have labelled the same tasks.

    Returns
    -------
    ``RUN/annotations/<name>.parquet``

    Raises
    ------
    AnnotationError
        The file does not fit the run; the message lists the first problems with file, line, value and remedy, and nothing
        is written.
    """
    file = Path(file)
    if name in run.annotators and not replace:
        raise AnnotationError(
            f"{run.folder}: already has labels named {name!r}; choose another name or replace them: --replace"
        )
    problems = Problems(file)
    if file.suffix.lower() == _LABEL_STUDIO:
        rows = label_studio.read_tasks(file, problems, completed_by=completed_by)
    else:
        rows = csv_sheet.read_sheet(file, problems)
    labels = _checked(run, rows, problems, partial=partial)
    problems.raise_any()
    annotator = f"{PROVENANCE}{file.name!r})"
    path = run.write_annotations(
        name,
        {
            chain_id: to_tokens(
                run.chains[chain_id].reasoning,
                run.encoded(chain_id).spans,
                UnitLabels(category),
                annotator=annotator,
            )
            for chain_id, category in labels.items()
        },
    )
    write_token_roles(run)
    return path


@dataclass
class _Sheet:
    """The units of one chain as they come in."""

    text: str
    index: dict[tuple[int, int], int]
    category: list[str | None]
    where: dict[int, str] = field(default_factory=dict)


def _checked(run: Run, rows: Iterable[LabelledRow], problems: Problems, *, partial: bool) -> dict[str, list[str | None]]:
    """Category of every unit of every chain that has one, None where there is none."""
    sheets: dict[str, _Sheet] = {}
    for chain_id in run.measured:
        text = run.chains[chain_id].reasoning
        index = {unit: number for number, unit in enumerate(units_of(text))}
        sheets[chain_id] = _Sheet(text, index, [None] * len(index))
    for row in rows:
        _take(row, sheets, problems, partial=partial)
    if not partial:
        for chain_id, sheet in sheets.items():
            _expect_complete(chain_id, sheet, problems)
    labels = {chain_id: sheet.category for chain_id, sheet in sheets.items() if any(sheet.category)}
    if not labels and not problems.found:
        problems.add("the file", "holds no category; fill the column 'category'")
    return labels


def _take(row: LabelledRow, sheets: dict[str, _Sheet], problems: Problems, *, partial: bool) -> None:
    sheet = sheets.get(row.chain_id)
    if sheet is None:
        problems.add(
            row.where, f"chain_id {shown(row.chain_id)} is no measured chain of this run; import into the run of the export"
        )
        return
    index = sheet.index.get((row.start, row.end))
    if index is None:
        problems.add(
            row.where,
            f"{row.start}..{row.end} ({shown(row.text)}) is no unit of chain {shown(row.chain_id)}; keep start and end as "
            "exported, and the run",
        )
        return
    expected = sheet.text[row.start : row.end]
    if row.text != expected:
        problems.add(
            row.where, f"text is {shown(row.text)}, exported was {shown(expected)}; restore it, only 'category' may change"
        )
    elif index in sheet.where:
        problems.add(row.where, f"unit {index} of chain {shown(row.chain_id)} is also on {sheet.where[index]}; keep one")
    elif not row.category and not partial:
        problems.add(row.where, f"{shown(expected)} has no category; label it, or accept missing labels: --partial")
    elif row.category and row.category.upper() not in CATEGORIES:
        problems.add(row.where, f"category {shown(row.category)} is unknown; take one of {', '.join(CATEGORIES)}")
    else:
        sheet.category[index] = row.category.upper() or None
    sheet.where.setdefault(index, row.where)


def _expect_complete(chain_id: str, sheet: _Sheet, problems: Problems) -> None:
    missing = [(unit, index) for unit, index in sheet.index.items() if index not in sheet.where]
    if missing:
        (start, end), first = missing[0]
        problems.add(
            "the file",
            f"chain {shown(chain_id)}: {len(missing)} of {len(sheet.index)} units are not in it, first unit {first} "
            f"({shown(sheet.text[start:end])}); restore the rows, or accept missing labels: --partial",
        )


def _suggested(run: Run, wanted: str | None) -> str | None:
    known = run.annotators
    if wanted is not None and wanted not in known:
        raise AnnotationError(f"{run.folder}: has no labels named {wanted!r}; it has {', '.join(known) or 'none'}")
    return wanted or next(iter(known), None)


def _suggestions(run: Run, name: str | None) -> dict[str, Sequence[str | None]]:
    """Suggested category of every unit by chain_id."""
    by_chain = token_categories(run, name) if name else {}
    found: dict[str, Sequence[str | None]] = {}
    for chain_id in run.measured:
        units = units_of(run.chains[chain_id].reasoning)
        spans = run.encoded(chain_id).spans
        found[chain_id] = from_tokens(units, spans, by_chain[chain_id]) if chain_id in by_chain else [None] * len(units)
    return found


def token_categories(run: Run, name: str) -> dict[str, list[str | None]]:
    """Category of every token by chain_id, None where it has none; chains without any are left out."""
    labels = run.tokens()[["chain_id", f"category_{name}"]]
    column = labels[f"category_{name}"].astype(object).where(labels[f"category_{name}"].notna(), None)
    by_chain = {str(chain_id): list(rows) for chain_id, rows in column.groupby(labels["chain_id"], sort=False)}
    return {chain_id: rows for chain_id, rows in by_chain.items() if any(rows)}
