"""One page that sets runs side by side: what differs in their configuration, in their findings, and on the same chains."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pandas as pd

from reasoning_anatomy.plugin_files import SUBJECTS, PluginInfo
from reasoning_anatomy.plugins import available
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.naming import names_of
from reasoning_anatomy.types import AnalysisResult
from reports._ordering import Group, OrderedView, divided, ordered_view, varying_keys
from reports._page import frame, write_page
from reports._sections import AnalysisView, analysis_view, read_tables
from reports._style import NOT_GIVEN
from reports._summary import run_in_two_lines
from reports._tables import Cell, TableView, table_view


@dataclass(frozen=True)
class Compared:
    """One analysis of several runs: what each found, in the order of the runs, and their tables as one."""

    key: str
    title: str
    views: Sequence[AnalysisView]
    ordered: OrderedView


def write_comparison(runs: Sequence[Run], path: Path, differences: AnalysisResult | str) -> Path:
    """Write one self-contained HTML file that sets runs side by side.

    Parameters
    ----------
    runs
        Two or more.
    path
        Target.
    differences
        Of the runs on the chains that they share, from ``analyses.compare``: a page estimates nothing. Or why there are none.

    Returns
    -------
    The file.
    """
    names = names_of(runs)
    context = {
        **frame(),
        "title": f"Reasoning anatomy: {', '.join(names[:-1])} beside {names[-1]}",
        "names": names,
        "ran": [run_in_two_lines(run, read_tables(run)) for run in runs],
        "configuration": _configurations(runs, names),
        "differences": _differences(differences),
        "levels": TableView() if isinstance(differences, str) else table_view(differences.details["levels"]),
        "compared": list(_compared(runs, names)),
        "parts": ["report"],
    }
    write_page(path, "compare.html.j2", context)
    return path


def _differences(found: AnalysisResult | str) -> AnalysisView:
    if isinstance(found, str):
        return AnalysisView("compare", missing=found)
    return AnalysisView(
        name=found.name,
        finding=found.finding,
        ordered=ordered_view(found.table, {}),
        config=found.config,
        warnings=found.warnings,
    )


def _configurations(runs: Sequence[Run], names: Sequence[str]) -> TableView:
    """Rows of the configuration that are not the same in all runs."""
    facts = [dict(_facts(run)) for run in runs]
    rows = [
        [Cell(name, is_name=True), *(Cell(each.get(name, NOT_GIVEN), is_name=True) for each in facts)]
        for name in dict.fromkeys(chain.from_iterable(facts))
        if len({each.get(name) for each in facts}) > 1
    ]
    return TableView([Cell("", is_name=True), *(Cell(name, is_name=True) for name in names)], rows)


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    """Name and value of everything that a run was made with."""
    manifest = run.manifest
    configuration = manifest.configuration
    if configuration.model is not None:
        for name, value in configuration.model.model_dump().items():
            yield f"model: {name.removeprefix('n_')}", NOT_GIVEN if value is None else str(value)
    yield "encoding", configuration.encoding
    for kind, plugins in (
        ("scorer", configuration.scorers),
        ("strategy", configuration.strategies),
        ("segmenter", configuration.segmenters),
    ):
        for label, plugin in plugins.items():
            yield f"{kind} {label}", plugin
    for annotator in run.annotators:
        yield f"annotator {annotator}", run.annotator(annotator)
    for name in ("answering", "writing"):
        if (value := getattr(configuration, name)) is not None:
            yield name, value
    for label, condition in configuration.conditions.items():
        yield f"sweep: {label}", f"{condition.samples} samples"
    yield "chains", f"{len(run.chains):,}"
    yield "version of reasoning_anatomy", manifest.package


def _compared(runs: Sequence[Run], names: Sequence[str]) -> Iterator[Compared]:
    """Set the results of every analysis that two runs or more have side by side, in the order of their subjects."""
    known = available("analysis")
    infos = {key: known.get(key, PluginInfo(key, "", "", "")) for run in runs for key in run.analyses}
    for key in sorted(infos, key=lambda key: (_place(infos[key]), key)):
        views = [analysis_view(run, key) for run in runs]
        if sum(not view.missing for view in views) > 1:
            tables = [None if view.missing else run.analysis(key).table for run, view in zip(runs, views, strict=True)]
            keys = varying_keys(pd.concat([table for table in tables if table is not None], ignore_index=True))
            ordered = [
                OrderedView() if table is None else ordered_view(table, infos[key].terms, keys=keys, most_measures=1)
                for table in tables
            ]
            yield Compared(key, infos[key].title or key.replace("_", " "), views, _beside(ordered, names))


def _place(info: PluginInfo) -> int:
    return SUBJECTS.index(info.subject) if info.subject else len(SUBJECTS)


def _beside(views: Sequence[OrderedView], names: Sequence[str]) -> OrderedView:
    """Join ordered results: rows of the same name, in the order of the first run, with the columns of every run in a group."""
    first = next(view for view in views if view.headers)
    n_names = sum(header.is_name for header in first.headers)
    values = [[header for header in view.headers if not header.is_name] for view in views]
    headers = [
        *first.headers[:n_names],
        *(Cell(f"{name}: {header.text}") for name, of_run in zip(names, values, strict=True) for header in of_run),
    ]
    joined: dict[tuple[bool, str], dict[tuple[str, ...], list[list[Cell]]]] = {}
    for place, view in enumerate(views):
        for group in (*view.groups, *view.more):
            rows = joined.setdefault((group.is_apart, group.title), {})
            for row in group.rows:
                name, cells = tuple(cell.text for cell in row if cell.is_name), [cell for cell in row if not cell.is_name]
                rows.setdefault(name, [[Cell(NOT_GIVEN)] * len(of_run) for of_run in values])[place] = cells
    groups = [
        Group(
            [[*(Cell(each, is_name=True) for each in name), *chain.from_iterable(cells)] for name, cells in rows.items()],
            title,
            is_apart,
        )
        for (is_apart, title), rows in sorted(joined.items(), key=lambda item: item[0][0])
    ]
    shown, more = divided(groups)
    return OrderedView(headers, shown, more, [], first.notes)
