"""Labels by people: exported from a run as a sheet or as tasks, checked and imported again.

``reasoning-anatomy annotations export RUN --to FILE`` and ``annotations import RUN FILE --as NAME``; a ``.json`` file belongs
to Label Studio, any other is a sheet (CSV). ``docs/human-labels.md`` is the manual.
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
    """Write the units of a run's measured chains for people to label.

    Parameters
    ----------
    run
        The run.
    to
        A ``.json`` file of tasks for Label Studio, beside which the labelling interface is written as ``.xml``; with any
        other name, a sheet.
    annotator
        Name of the run's labels to suggest. If None, the first of the run, or nothing if it has none.
    replace
        Replace existing files, which somebody may have filled in.

    Returns
    -------
    The files.

    Raises
    ------
    AnnotationError
        No chain is measured, or a file exists already.
    RunError
        The run has no labels of this name.
    """
    to = Path(to)
    is_tasks = to.suffix.lower() == _LABEL_STUDIO
    expect_free([to, *([to.with_suffix(".xml")] if is_tasks else [])], replace=replace)
    name = run.annotator_named(annotator) if annotator or run.annotators else None
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
    """Raise `AnnotationError` if a file exists, because people may have worked on it."""
    for file in files:
        if file.exists() and not replace:
            raise AnnotationError(f"{file}: exists already; choose another name, or replace it with --replace")


def import_labels(
    run: Run,
    file: str | Path,
    *,
    name: str,
    partial: bool = False,
    replace: bool = False,
    completed_by: int | None = None,
) -> Path:
    """Read labels by people and write them into a run.

    Parameters
    ----------
    run
        The run that the units were exported from.
    file
        A sheet, or a ``.json`` export of Label Studio.
    name
        Name of the labels: of their file in the run and of their columns.
    partial
        Accept units without a category; their tokens have none.
    replace
        Replace labels of this name.
    completed_by
        Id of the person in Label Studio, if several have labelled the same tasks.

    Returns
    -------
    ``RUN/annotations/<name>.parquet``

    Raises
    ------
    AnnotationError
        The file does not fit the run. The message lists the first problems with file, line, value and remedy; nothing is
        written.
    """
    file = Path(file)
    if name in run.annotators and not replace:
        raise AnnotationError(
            f"{run.folder}: already has labels named {name!r}; choose another name, or replace them with --replace"
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
class _ImportedChain:
    """One chain of the run, and what the file says about its units."""

    text: str
    index: dict[tuple[int, int], int]
    category: list[str | None]
    where: dict[int, str] = field(default_factory=dict)


def _checked(run: Run, rows: Iterable[LabelledRow], problems: Problems, *, partial: bool) -> dict[str, list[str | None]]:
    """Category of every unit, None if it has none, by chain_id; chains without any category are left out."""
    imported: dict[str, _ImportedChain] = {}
    for chain_id in run.measured:
        text = run.chains[chain_id].reasoning
        index = {unit: number for number, unit in enumerate(units_of(text))}
        imported[chain_id] = _ImportedChain(text, index, [None] * len(index))
    for row in rows:
        _take(row, imported, problems, partial=partial)
    if not partial:
        for chain_id, chain in imported.items():
            _expect_complete(chain_id, chain, problems)
    labels = {chain_id: chain.category for chain_id, chain in imported.items() if any(chain.category)}
    if not labels and not problems.found:
        problems.add("the file", "has no category; fill in the column 'category'")
    return labels


def _take(row: LabelledRow, imported: dict[str, _ImportedChain], problems: Problems, *, partial: bool) -> None:
    chain = imported.get(row.chain_id)
    if chain is None:
        problems.add(
            row.where, f"chain_id {shown(row.chain_id)} is not a measured chain of this run; import into the run of the export"
        )
        return
    index = chain.index.get((row.start, row.end))
    if index is None:
        problems.add(
            row.where,
            f"{row.start}..{row.end} ({shown(row.text)}) is not a unit of chain {shown(row.chain_id)}; keep start and end as "
            "exported, and import into the run of the export",
        )
        return
    expected = chain.text[row.start : row.end]
    if row.text != expected:
        problems.add(
            row.where,
            f"text is {shown(row.text)} but was exported as {shown(expected)}; restore it, only 'category' may change",
        )
    elif index in chain.where:
        problems.add(row.where, f"unit {index} of chain {shown(row.chain_id)} is also on {chain.where[index]}; keep one")
    elif not row.category and not partial:
        problems.add(row.where, f"{shown(expected)} has no category; label it, or accept missing labels with --partial")
    elif row.category and row.category.upper() not in CATEGORIES:
        problems.add(row.where, f"category {shown(row.category)} is unknown; choose one of {', '.join(CATEGORIES)}")
    else:
        chain.category[index] = row.category.upper() or None
    chain.where.setdefault(index, row.where)


def _expect_complete(chain_id: str, chain: _ImportedChain, problems: Problems) -> None:
    missing = [(unit, index) for unit, index in chain.index.items() if index not in chain.where]
    if missing:
        (start, end), first = missing[0]
        problems.add(
            "the file",
            f"chain {shown(chain_id)}: {len(missing)} of {len(chain.index)} units are not in it, first unit {first} "
            f"({shown(chain.text[start:end])}); restore the rows, or accept missing labels with --partial",
        )


def _suggestions(run: Run, name: str | None) -> dict[str, Sequence[str | None]]:
    """Suggested category of every unit by chain_id."""
    by_chain = token_categories(run, name) if name else {}
    suggestions: dict[str, Sequence[str | None]] = {}
    for chain_id in run.measured:
        units = units_of(run.chains[chain_id].reasoning)
        spans = run.encoded(chain_id).spans
        suggestions[chain_id] = from_tokens(units, spans, by_chain[chain_id]) if chain_id in by_chain else [None] * len(units)
    return suggestions


def token_categories(run: Run, name: str) -> dict[str, list[str | None]]:
    """Category of every token, None if it has none, by chain_id; chains without any category are left out."""
    labels = run.tokens(columns=["chain_id", f"category_{name}"])
    column = labels[f"category_{name}"].astype(object).where(labels[f"category_{name}"].notna(), None)
    by_chain = {str(chain_id): list(rows) for chain_id, rows in column.groupby(labels["chain_id"], sort=False)}
    return {chain_id: rows for chain_id, rows in by_chain.items() if any(rows)}
