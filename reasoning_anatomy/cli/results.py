"""The commands that read runs: ``analyse``, ``report``, ``list``, and ``python -m analyses.NAME RUN``."""

import dataclasses
from dataclasses import field, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import OmitArgPrefixes, Positional, arg

from reasoning_anatomy import plugins
from reasoning_anatomy.cli._app import (
    RunArgument,
    analyse_and_write,
    app,
    errors_as_one_line,
    print_result,
    say,
)
from reasoning_anatomy.errors import AnalysisError, MissingError, PluginError

if TYPE_CHECKING:
    from analyses import Analysis
    from reasoning_anatomy.run import Run

_RunFolder = Annotated[Positional[Path | None], arg(help="Folder of the run; the newest below runs/.", metavar="RUN")]


@app.command
def analyse(
    run: RunArgument,
    analyses: Annotated[tuple[str, ...], arg(help="KEY or KEY:option=value; see `list`. By default those of the report.")] = (),
) -> None:
    """Run analyses on a run; each is also a program: python -m analyses.KEY RUN."""
    from reasoning_anatomy.run.folder import open_run
    from reports import needed_analyses

    opened = open_run(run)
    for spec in analyses:
        print_result(analyse_and_write(opened, spec))
    for name in () if analyses else needed_analyses():
        try:
            print_result(analyse_and_write(opened, name))
        except MissingError as error:
            say(f"note: left out {name}: {error}")


@app.command
def report(
    run: RunArgument,
    max_chains: Annotated[int, arg(help="Chains in the token viewer.")] = 50,
) -> None:
    """Write RUN/report.html, one file to send; analyses that are missing are run first."""
    from reasoning_anatomy.run.folder import open_run
    from reports import needed_analyses, write_report

    opened = open_run(run)
    for name in needed_analyses():
        if name not in opened.analyses:
            try:
                print_result(analyse_and_write(opened, name))
            except (AnalysisError, MissingError) as error:
                say(f"note: {name} is not in the report: {error}")
    say(f"Open the report: {write_report(opened, max_chains=max_chains)}")


@app.command(name="list")
def list_plugins(
    kind: Annotated[
        Positional[Literal["scorers", "strategies", "annotators", "analyses", "figures", "formats"] | None],
        arg(help="scorers, strategies, annotators, analyses, figures or formats; all, where left out.", metavar="KIND"),
    ] = None,
) -> None:
    """List what can be measured, with one line and the source of each."""
    singular = {
        "scorers": "scorer",
        "strategies": "strategy",
        "annotators": "annotator",
        "analyses": "analysis",
        "figures": "figure",
        "formats": "format",
    }
    for plural in [kind] if kind else singular:
        say(f"{plural}:")
        for info in plugins.available(singular[plural]).values():
            say(f"  {info.key:<28} {info.summary}")
            for line in filter(None, (info.source, info.needs and f"Needs {info.needs}")):
                say(f"  {'':<28} {line}")


def analysis_main(module: str) -> None:
    """Entry point of ``python -m analyses.NAME [RUN]``: the fields of the analysis are its options."""
    key = module.rpartition(".")[2]
    with errors_as_one_line():
        plugin_class = plugins.load_class("analysis", key)
        chosen = _parse_analysis(module, plugin_class)
        try:
            analysis: Analysis = plugin_class(**dataclasses.asdict(chosen.options))
        except ValueError as error:
            raise PluginError(f"{key}: {error}") from None
        opened = _open_or_newest(chosen.run)
        result = analysis.analyse(opened)
        written = opened.write_analysis(result)
        print_result(result)
        say(f"Wrote {written}")


def _parse_analysis(module: str, plugin_class: type[Any]) -> Any:
    """Read ``run`` and ``options`` from the command line; the caller checks the options, to tell of them in one line."""
    unchecked = {"__post_init__": lambda self: None, "__doc__": plugin_class.__doc__}
    options = type(plugin_class.__name__, (plugin_class,), unchecked)
    fields: list[Any] = [("run", _RunFolder, None), ("options", options, field(default_factory=options))]
    arguments = make_dataclass("Arguments", fields)
    return tyro.cli(arguments, prog=f"python -m {module}", description=plugin_class.__doc__, config=(OmitArgPrefixes,))


def _open_or_newest(folder: Path | None) -> "Run":
    from reasoning_anatomy.run.folder import newest_run, open_run

    if folder is not None:
        return open_run(folder)
    newest = newest_run()
    say(f"No run was named; this is the newest below runs/: {newest.folder}")
    return newest
