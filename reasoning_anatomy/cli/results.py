"""The commands that read runs: ``analyse``, ``report``, ``list``, and ``python -m analyses[.NAME] RUN``."""

import dataclasses
import inspect
import re
import textwrap
from dataclasses import field, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import tyro
from tyro.conf import OmitArgPrefixes, Positional, arg

from reasoning_anatomy.cli._app import (
    OnlyOption,
    PluginsOption,
    RunArgument,
    analyse_and_write,
    app,
    errors_as_one_line,
    print_result,
    say,
    unchecked,
    use_plugins,
)
from reasoning_anatomy.errors import AnalysisError, MissingError, PluginError
from reasoning_anatomy.plugins import KINDS, available, load_class, options_of

if TYPE_CHECKING:
    from analyses import Analysis
    from reasoning_anatomy.run import Run

_SECTION: Final = re.compile(r"\n\n\w+\n-+\n")
_RunFolder = Annotated[Positional[Path | None], arg(help="Folder of the run; the newest below runs/.", metavar="RUN")]


@app.command
def analyse(
    run: RunArgument,
    analyses: Annotated[
        tuple[str, ...], arg(help="KEY or KEY:option=value; see `list`. By default all that the run allows.")
    ] = (),
    only: OnlyOption = (),
    plugins: PluginsOption = None,
) -> None:
    """Run analyses on a run, by default all that it allows; those that ship are also programs: python -m analyses.KEY RUN."""
    from reasoning_anatomy.run.folder import open_run

    use_plugins(plugins)
    opened = open_run(run, only=only)
    for spec in analyses:
        print_result(analyse_and_write(opened, spec))
    if not analyses:
        _analyse_all(opened)


def _analyse_all(run: "Run") -> None:
    """Run every analysis; what the run does not allow is skipped, with the reason."""
    keys, skipped = list(available("analysis")), {}
    for key in keys:
        try:
            print_result(analyse_and_write(run, key))
        except (AnalysisError, MissingError) as error:
            skipped[key] = str(error)
    reasons = [f"{key}: {reason}" for key, reason in skipped.items()]
    if len(skipped) == len(keys):
        raise AnalysisError(f"{run.folder}: no analysis can be run; {'; '.join(reasons)}")
    say("\n" + "\n".join(f"skipped {reason}" for reason in reasons) if skipped else "\nnothing was skipped")


@app.command
def report(
    run: RunArgument,
    max_chains: Annotated[int, arg(help="Chains in the token viewer.")] = 50,
    only: OnlyOption = (),
    plugins: PluginsOption = None,
) -> None:
    """Write RUN/report.html, one file to send; analyses that are missing, or older than the run, are run first."""
    from reasoning_anatomy.run.folder import open_run
    from reports import needed_analyses, write_report

    use_plugins(plugins)
    opened = open_run(run, only=only)
    for name in needed_analyses(opened):
        if not opened.is_current(name):
            try:
                print_result(analyse_and_write(opened, name))
            except (AnalysisError, MissingError) as error:
                say(f"note: {name} is not in the report: {error}")
    say(f"Open the report: {write_report(opened, max_chains=max_chains)}")


@app.command(name="list")
def list_plugins(
    kind: Annotated[
        Positional[
            Literal[
                "scorers", "strategies", "annotators", "analyses", "figures", "formats", "segmenters", "converters", "policies"
            ]
            | None
        ],
        arg(
            help="scorers, strategies, annotators, analyses, figures, formats, segmenters, converters, policies; or all.",
            metavar="KIND",
        ),
    ] = None,
    key: Annotated[Positional[str | None], arg(help="Show this one, with its options.", metavar="KEY")] = None,
    plugins: PluginsOption = None,
) -> None:
    """List what can be measured, with one line and the source of each; or one plugin with its options."""
    use_plugins(plugins)
    for singular, room in KINDS.items():
        if kind in (None, room.plural):
            if key is None:
                _list(singular)
            else:
                _describe(singular, key)


def _list(kind: str) -> None:
    say(f"{KINDS[kind].plural}:")
    for info in available(kind).values():
        say(f"  {info.key:<28} {info.summary}")
        for line in filter(None, (info.source, info.needs and f"Needs {info.needs}")):
            say(f"  {'':<28} {line}")


def _describe(kind: str, key: str) -> None:
    plugin_class = load_class(kind, key)
    say(_SECTION.split(inspect.getdoc(plugin_class) or "")[0])
    if source := available(kind)[key].source:
        say(f"\nSource: {source}")
    if options := options_of(kind, key):
        say(f"\nOptions with their defaults, to be written {key}:name=value,name=value")
    for option in options:
        say(f"\n  {option.name}={option.default!r}\n{textwrap.indent(textwrap.fill(option.text, 100), '    ')}")


def analyses_main() -> None:
    """Entry point of ``python -m analyses RUN``: the command ``analyse``."""
    with errors_as_one_line():
        tyro.cli(analyse, prog="python -m analyses")


def analysis_main(module: str) -> None:
    """Entry point of ``python -m analyses.NAME [RUN]``: the fields of the analysis are its options."""
    key = module.rpartition(".")[2]
    with errors_as_one_line():
        plugin_class = load_class("analysis", key)
        chosen = _parse_analysis(module, plugin_class)
        try:
            analysis: Analysis = plugin_class(**dataclasses.asdict(chosen.options))
        except ValueError as error:
            raise PluginError(f"{key}: {error}") from None
        opened = _open_or_newest(chosen.run, chosen.only)
        result = analysis.analyse(opened)
        written = opened.write_analysis(result)
        print_result(result)
        say(f"Wrote {written}")


def _parse_analysis(module: str, plugin_class: type[Any]) -> Any:
    """Read ``run`` and ``options`` from the command line; the caller checks the options, to report a mistake in one line."""
    options = unchecked(plugin_class)
    fields: list[Any] = [
        ("run", _RunFolder, None),
        ("only", OnlyOption, ()),
        ("options", options, field(default_factory=options)),
    ]
    arguments = make_dataclass("Arguments", fields)
    return tyro.cli(arguments, prog=f"python -m {module}", description=plugin_class.__doc__, config=(OmitArgPrefixes,))


def _open_or_newest(folder: Path | None, only: tuple[str, ...]) -> "Run":
    from reasoning_anatomy.run.folder import newest_run, open_run

    if folder is not None:
        return open_run(folder, only=only)
    newest = newest_run().folder
    say(f"No run was named; this is the newest below runs/: {newest}")
    return open_run(newest, only=only)
