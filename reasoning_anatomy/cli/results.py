"""The commands that read runs: ``analyse``, ``report``, ``view``, ``list``, and ``python -m analyses[.NAME] RUN``."""

import dataclasses
import inspect
import re
import sys
import textwrap
import webbrowser
from dataclasses import field, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import tyro
from tyro.conf import OmitArgPrefixes, Positional, arg

from reasoning_anatomy.cli._app import (
    FolderArgument,
    OnlyOption,
    PluginsOption,
    RunArgument,
    analyse_and_write,
    app,
    errors_as_one_line,
    expect_to_read,
    open_folder,
    print_result,
    say,
    unchecked,
    use_plugins,
)
from reasoning_anatomy.cli._places import Folder
from reasoning_anatomy.errors import AnalysisError, MissingError, PluginError, RunError
from reasoning_anatomy.plugins import KINDS, available, load_class, options_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analyses import Analysis
    from analyses.compare import RunComparison
    from reasoning_anatomy.run import Run
    from reasoning_anatomy.run.students import Students
    from reasoning_anatomy.types import AnalysisResult

_SECTION: Final = re.compile(r"\n\n\w+\n-+\n")
_RunFolder = Annotated[
    Positional[Folder | None], arg(help="Folder of the run, or of students; the newest run below runs/.", metavar="RUN")
]


@app.command
def analyse(
    run: FolderArgument,
    analyses: Annotated[
        tuple[str, ...], arg(help="KEY or KEY:option=value; see `list`. By default all that the folder allows.")
    ] = (),
    only: OnlyOption = (),
    plugins: PluginsOption = None,
) -> None:
    """Run analyses on a run, by default all that it allows; those that ship are also programs: python -m analyses.KEY RUN."""
    use_plugins(plugins)
    opened = open_folder(run, only)
    for spec in analyses:
        print_result(analyse_and_write(opened, spec))
    if not analyses:
        _analyse_all(opened)


def _analyse_all(opened: "Run | Students") -> None:
    """Run every analysis; what the folder does not allow is skipped, with the reason."""
    keys, skipped = list(available("analysis")), {}
    for key in keys:
        try:
            print_result(analyse_and_write(opened, key))
        except (AnalysisError, MissingError) as error:
            skipped[key] = str(error)
    reasons = [f"{key}: {reason}" for key, reason in skipped.items()]
    if len(skipped) == len(keys):
        raise AnalysisError(f"{opened.folder}: no analysis can be run; {'; '.join(reasons)}")
    say("\n" + "\n".join(f"skipped {reason}" for reason in reasons) if skipped else "\nnothing was skipped")


@app.command
def report(
    run: FolderArgument,
    others: Annotated[
        Positional[tuple[Folder, ...]], arg(help="Folders of further runs, to be set beside the first.", metavar="[RUN ...]")
    ] = (),
    out: Annotated[
        Path | None,
        arg(help="The page. RUN/report.html if left out, or compare.html of several runs; what goes with it stands beside it."),
    ] = None,
    max_chains: Annotated[
        int, arg(help="Chains in the token viewer of the page; each of the others gets a page of its own.")
    ] = 50,
    single_file: Annotated[bool, arg(help="Leave out the other chains: one file to send.")] = False,
    only: OnlyOption = (),
    plugins: PluginsOption = None,
) -> None:
    """Write RUN/report.html; analyses that are missing, or older than the run, are run first. Several runs are compared."""
    from reasoning_anatomy.run.folder import Run, open_run
    from reports import needed_analyses, write_report, write_students_report

    use_plugins(plugins)
    if others:
        _compare([open_run(each, only=only) for each in (run, *others)], out or Path("compare.html"))
        return
    opened = open_folder(run, only)
    if isinstance(opened, Run):
        skipped = _run_what_is_needed(opened, needed_analyses(opened))
        written = write_report(opened, out, max_chains=max_chains, single_file=single_file, skipped=skipped)
    else:
        of_students = [name for name, info in available("analysis").items() if info.opens == "students"]
        written = write_students_report(opened, out, skipped=_run_what_is_needed(opened, of_students))
    say(f"Open the report: {written}")


@app.command
def view(
    run: RunArgument,
    port: Annotated[int, arg(help="Of 127.0.0.1; 0 = one that is free.")] = 8765,
    no_browser: Annotated[bool, arg(help="Print the address alone.")] = False,
    only: OnlyOption = (),
    plugins: PluginsOption = None,
) -> None:
    """Show a run of any size in the browser of this machine; every chain is a page that is made when it is opened."""
    from reasoning_anatomy.run.folder import open_run
    from reports import serve

    def ready(address: str) -> None:
        say(f"Open the report: {address}\nIt is there until you press Ctrl-C.")
        sys.stdout.flush()
        if not no_browser:
            webbrowser.open(address)

    use_plugins(plugins)
    serve(open_run(run, only=only), port=port, ready=ready)


def _run_what_is_needed(run: "Run | Students", names: "Sequence[str]") -> dict[str, str]:
    """Run those analyses that are not current; return why some could not be run, by name."""
    skipped = {}
    for name in names:
        if not run.is_current(name):
            try:
                print_result(analyse_and_write(run, name))
            except (AnalysisError, MissingError) as error:
                skipped[name] = str(error)
                say(f"note: {name} is not in the report: {error}")
    return skipped


def _compare(runs: "Sequence[Run]", page: Path) -> None:
    """Write what differs between runs, and the page that shows it."""
    from analyses.compare import RunComparison
    from reports import write_comparison

    if not page.suffix:
        raise RunError(f"{page}: the folder of the result gets this name; call the page {page}.html")
    try:
        differences: AnalysisResult | str = _compare_and_write(runs, RunComparison(), page.with_suffix(""))
    except AnalysisError as error:
        differences = str(error)
        say(f"note: no difference is estimated: {error}")
    say(f"Open the comparison: {write_comparison(runs, page, differences)}")


def _compare_and_write(runs: "Sequence[Run]", comparison: "RunComparison", folder: Path) -> "AnalysisResult":
    from reasoning_anatomy.run.results import write_result

    result = comparison.compare(runs)
    write_result(folder, result, data="")
    print_result(result)
    say(f"Wrote {folder}")
    return result


def comparison_main() -> None:
    """Entry point of ``python -m analyses.compare RUN RUN``: the fields of the comparison are its options."""
    from reasoning_anatomy.run.folder import open_run

    with errors_as_one_line():
        from analyses.compare import KEY, RunComparison

        of_runs = ("runs", Annotated[Positional[tuple[Folder, ...]], arg(help="Folders.", metavar="RUN RUN [RUN ...]")])
        of_folder = ("out", Annotated[Path, arg(help="Folder of the result.")], Path("compare"))
        chosen = _parse("analyses.compare", RunComparison, [of_runs, ("only", OnlyOption, ()), of_folder])
        comparison = _checked(KEY, RunComparison, chosen.options)
        _compare_and_write([open_run(run, only=chosen.only) for run in chosen.runs], comparison, chosen.out)


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
        chosen = _parse(module, plugin_class, [("run", _RunFolder, None), ("only", OnlyOption, ())])
        analysis: Analysis = _checked(key, plugin_class, chosen.options)
        opened: Any = _open_or_newest(chosen.run, chosen.only)
        expect_to_read(opened, key)
        result = analysis.analyse(opened)
        written = opened.write_analysis(result)
        print_result(result)
        say(f"Wrote {written}")


def _parse(module: str, plugin_class: type[Any], fields: "Sequence[Any]") -> Any:
    """Read ``fields`` and ``options`` from the command line; `_checked` checks the options, to report a mistake in one line."""
    options = unchecked(plugin_class)
    arguments = make_dataclass("Arguments", [*fields, ("options", options, field(default_factory=options))])
    return tyro.cli(arguments, prog=f"python -m {module}", description=plugin_class.__doc__, config=(OmitArgPrefixes,))


def _checked(key: str, plugin_class: type[Any], options: Any) -> Any:
    try:
        return plugin_class(**dataclasses.asdict(options))
    except ValueError as error:
        raise PluginError(f"{key}: {error}") from None


def _open_or_newest(folder: Path | None, only: tuple[str, ...]) -> "Run | Students":
    from reasoning_anatomy.run.folder import newest_run, open_run

    if folder is not None:
        return open_folder(folder, only)
    newest = newest_run().folder
    say(f"No run was named; this is the newest below runs/: {newest}")
    return open_run(newest, only=only)
