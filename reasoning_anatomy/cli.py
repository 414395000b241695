"""The command line: ``reasoning-anatomy COMMAND`` and ``python -m analyses.NAME RUN``.

Everything heavy is imported by the command that needs it, so that ``--help`` is there at once.
"""

import dataclasses
import os
import sys
from contextlib import contextmanager
from dataclasses import field, make_dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import tyro
from rich.console import Console
from tyro.conf import OmitArgPrefixes, Positional, arg
from tyro.extras import SubcommandApp

from reasoning_anatomy import plugins
from reasoning_anatomy.errors import AnalysisError, PluginError, ReasoningAnatomyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reasoning_anatomy.run.folder import Run

EXIT_BAD_INPUT: Final = 2
_DEFAULT_ANALYSES: Final = ("rank_correlation",)
_DEMO_SCORERS: Final = ("answer_attention", "all")

_Run = Annotated[Positional[Path], arg(help="Folder of the run.", metavar="RUN")]
_Dtype = Annotated[
    Literal["float32", "bfloat16", "float16"], arg(help="Of weights and activations; orders are exact in float32.")
]
_Device = Annotated[str, arg(help="auto, cpu, cuda or cuda:N.")]
_Quantize = Annotated[Literal["4bit", "8bit"] | None, arg(help="Through bitsandbytes, on CPU too.")]
_Revision = Annotated[str | None, arg(help="Commit, tag or branch on the hub.")]
_TrustRemoteCode = Annotated[bool, arg(help="Run code that ships with the model.")]
_BeforeReasoning = Annotated[
    str, arg(help=r"Joins prompt and reasoning; \n is a line break. <think>\n for models that think in tags.")
]
_BeforeAnswer = Annotated[str, arg(help=r"Joins reasoning and answer. \n</think>\n\n likewise.")]
_RunFolder = Annotated[Positional[Path | None], arg(help="Folder of the run; the newest below runs/.", metavar="RUN")]

app = SubcommandApp()


@app.command
def demo(
    out: Annotated[Path, arg(help="Folder of the run.")] = Path("runs/demo"),
    chains: Annotated[int, arg(help="How many of the shipped example chains to measure, shortest first.")] = 8,
    model: Annotated[str, arg(help="As for `run`.")] = "smollm2-135m",
) -> None:
    """Measure the shipped example chains with a small model and write a report: the whole job in a few minutes."""
    from reasoning_anatomy.chains import read_chains
    from reasoning_anatomy.errors import ChainFileError

    examples = read_chains(Path(str(files("reasoning_anatomy") / "data" / "example_chains.jsonl")))
    if not 1 <= chains <= len(examples):
        raise ChainFileError(f"--chains {chains}: expected 1..{len(examples)}, the number of example chains")
    import annotations  # what is heavy comes after the check
    from reasoning_anatomy.pipeline.measuring import measure
    from reasoning_anatomy.progress import Stages
    from reports import write_report

    with Stages(show=True) as stages:
        run = measure(examples[:chains], out=out, model=model, scorers=_named(_DEMO_SCORERS), stages=stages)
        stage = stages.add("annotate", len(run.measured))
        annotations.annotate_run(run, progress=stage.each)
        with stages.add("analyse", 1) as stage:
            results = [_analyse(run, name) for name in _DEFAULT_ANALYSES]
            stage.advance()
        with stages.add("report", 1) as stage:
            report = write_report(run)
            stage.advance()
    for result in results:
        _print_result(result)
    _say(" · ".join(f"{name} {seconds:.1f} s" for name, seconds in stages.seconds.items()))
    _say(f"Open the report: {report}")


@app.command
def run(
    chains: Annotated[Positional[Path], arg(help="JSONL file, one chain a line.", metavar="CHAINS.jsonl")],
    out: Annotated[Path, arg(help="Folder of the run; begun runs are finished.")],
    model: Annotated[str, arg(help="Hub id, local folder, GGUF file, or smollm2-135m.")] = "smollm2-135m",
    dtype: _Dtype = "float32",
    device: _Device = "auto",
    quantize: _Quantize = None,
    revision: _Revision = None,
    trust_remote_code: _TrustRemoteCode = False,
    scorers: Annotated[
        tuple[str, ...], arg(help="KEY or KEY:option=value, see `list scorers`; all takes every one that needs nothing else.")
    ] = ("answer_attention",),
    strategies: Annotated[tuple[str, ...], arg(help="KEY or KEY:option=value, such as greedy:objective=joint; see `list`.")] = (
        "greedy",
    ),
    workers: Annotated[int | None, arg(help="Chains measured at the same time; up to 4 on a CPU where left out.")] = None,
    before_reasoning: _BeforeReasoning = "",
    before_answer: _BeforeAnswer = r"\n",
) -> None:
    """Measure chains with a model: attention scores and pruning paths, into a run folder."""
    from reasoning_anatomy.chains import read_chains

    read_chains(chains)  # a mistake in the file is told before anything heavy is imported
    from reasoning_anatomy.models.encoding import EncodingOptions
    from reasoning_anatomy.models.loading import ModelSpec
    from reasoning_anatomy.pipeline.measuring import measure
    from reasoning_anatomy.progress import Stages

    spec = ModelSpec(model, dtype, device, quantize, revision, trust_remote_code)
    encoding = EncodingOptions(_with_line_breaks(before_reasoning), _with_line_breaks(before_answer))
    with Stages(show=True) as stages:
        measured = measure(
            chains,
            out=out,
            model=spec,
            scorers=_named(scorers),
            strategies=strategies,
            encoding=encoding,
            workers=workers,
            stages=stages,
        )
    _say_measured(measured)


@app.command(name="import")
def import_run(
    file: Annotated[Positional[Path], arg(help="Published file: one JSON object a line, or a list.", metavar="FILE")],
    out: Annotated[Path, arg(help="Folder of the run; begun imports are finished.")],
    format: Annotated[str | None, arg(help="KEY, see `list`; told from the first item where left out.")] = None,
    model: Annotated[
        str | None, arg(help="The model that pruned: as for `run`. Finds the text of ids, and scores the tokens.")
    ] = None,
    dtype: _Dtype = "float32",
    device: _Device = "auto",
    quantize: _Quantize = None,
    revision: _Revision = None,
    trust_remote_code: _TrustRemoteCode = False,
    scorers: Annotated[
        tuple[str, ...],
        arg(help="KEY or KEY:option=value, or all; answer_attention where left out, recency and random without a model."),
    ] = (),
    before_reasoning: _BeforeReasoning = "",
    before_answer: _BeforeAnswer = r"\n",
) -> None:
    """Make a run of a published file of pruned chains, for every analysis and the report."""
    from reasoning_anatomy import interchange
    from reasoning_anatomy.progress import Stages

    spec, encoding = None, None
    if model is not None:
        from reasoning_anatomy.models.encoding import EncodingOptions
        from reasoning_anatomy.models.loading import ModelSpec

        spec = ModelSpec(model, dtype, device, quantize, revision, trust_remote_code)
        encoding = EncodingOptions(_with_line_breaks(before_reasoning), _with_line_breaks(before_answer))
    with Stages(show=True) as stages:
        imported = interchange.import_run(
            file, out=out, format=format, model=spec, scorers=_named(scorers), encoding=encoding, stages=stages
        )
    _say_measured(imported)


@app.command(name="export")
def export_run(
    run: _Run,
    format: Annotated[str, arg(help="KEY; see `list`.")],
    out: Annotated[Path | None, arg(help="The file; RUN/exports/FORMAT.jsonl where left out.")] = None,
    strategy: Annotated[str | None, arg(help="Label of the strategy; the first of the run where left out.")] = None,
    annotator: Annotated[str | None, arg(help="Whose categories; the only one of the run where left out.")] = None,
) -> None:
    """Write the chains of a run with their deletion orders for other programs."""
    from reasoning_anatomy import interchange
    from reasoning_anatomy.run.folder import open_run

    opened = open_run(run)
    written = interchange.export_run(opened, format=format, out=out, strategy=strategy, annotator=annotator)
    _say(f"Wrote {len(opened.measured)} of {opened.manifest.n_chains} chains to {written}")


@app.command
def annotate(
    run: _Run,
    annotator: Annotated[str, arg(help="KEY or KEY:option=value; see `list`.")] = "spacy",
    name: Annotated[str | None, arg(name="as", help="Name of the labels; the annotator's own where left out.")] = None,
) -> None:
    """Give every reasoning token of a run its functional category."""
    import annotations
    from reasoning_anatomy.progress import Stages
    from reasoning_anatomy.run.folder import open_run

    opened = open_run(run)
    with Stages(show=True) as stages:
        stage = stages.add("annotate", len(opened.measured))
        written = annotations.annotate_run(opened, annotator=annotator, name=name, progress=stage.each)
    _say(f"Wrote {written}")


labels_app = SubcommandApp()
app.command(labels_app, name="annotations", help="Labels of people: sheets to fill, votes to count.")


@labels_app.command(name="export")
def export_labels(
    run: _Run,
    to: Annotated[Path, arg(help="sheet.csv for a spreadsheet program, tasks.json for Label Studio.")],
    annotator: Annotated[str | None, arg(help="Whose labels to suggest; the first of the run where left out.")] = None,
    replace: Annotated[bool, arg(help="Replace the files that are there.")] = False,
) -> None:
    """Write the units of a run for people to label."""
    from annotations import human
    from reasoning_anatomy.run.folder import open_run

    for written in human.export_labels(open_run(run), to, annotator=annotator, replace=replace):
        _say(f"Wrote {written}")


@labels_app.command(name="import")
def import_labels(
    run: _Run,
    file: Annotated[Positional[Path], arg(help="The sheet, or the JSON export of Label Studio.", metavar="FILE")],
    name: Annotated[str, arg(name="as", help="Name of these labels.")],
    partial: Annotated[bool, arg(help="Accept units without a category.")] = False,
    replace: Annotated[bool, arg(help="Replace labels of this name.")] = False,
    completed_by: Annotated[int | None, arg(help="Id of the annotator in Label Studio, where there are several.")] = None,
) -> None:
    """Read labels of people, check them, and write them into a run."""
    from annotations import human
    from reasoning_anatomy.run.folder import open_run

    written = human.import_labels(open_run(run), file, name=name, partial=partial, replace=replace, completed_by=completed_by)
    _say(f"Wrote {written}")


@labels_app.command
def adjudicate(
    run: _Run,
    annotators: Annotated[tuple[str, ...], arg(help="Names of two or more annotators of the run.")],
    name: Annotated[str, arg(name="as", help="Name of the labels that win.")],
    ties: Annotated[Literal["rule_10", "open"], arg(help="The order of rule 10, or no label.")] = "rule_10",
    gold: Annotated[Path | None, arg(help="Also write the units as gold labels: gold.jsonl.")] = None,
    replace: Annotated[bool, arg(help="Replace labels of this name, and the gold file.")] = False,
) -> None:
    """Give every unit the category that most annotators chose."""
    from annotations.adjudication import adjudicate as count
    from reasoning_anatomy.run.folder import open_run

    counted = count(open_run(run), annotators, name=name, ties=ties, gold=gold, replace=replace)
    for tie in counted.ties:
        _say(f"Tie: {tie.chain_id}, {tie.start}..{tie.end} {tie.text!r}: {', '.join(tie.categories)}")
    _say(f"{counted.n_units} units have a label, {len(counted.ties)} were tied. Wrote {counted.path}")


@app.command
def analyse(
    run: _Run,
    analyses: Annotated[tuple[str, ...], arg(help="KEY or KEY:option=value; see `list`.")] = _DEFAULT_ANALYSES,
) -> None:
    """Run analyses on a run; each is also a program: python -m analyses.KEY RUN."""
    from reasoning_anatomy.run.folder import open_run

    opened = open_run(run)
    for spec in analyses:
        _print_result(_analyse(opened, spec))


@app.command
def report(
    run: _Run,
    max_chains: Annotated[int, arg(help="Chains in the token viewer.")] = 50,
) -> None:
    """Write RUN/report.html, one file to send; analyses that are missing are run first."""
    from reasoning_anatomy.run.folder import open_run
    from reports import write_report

    opened = open_run(run)
    for name in _DEFAULT_ANALYSES:
        if name not in opened.analyses:
            try:
                _print_result(_analyse(opened, name))
            except AnalysisError as error:
                _say(f"note: {name} is not in the report: {error}")
    _say(f"Open the report: {write_report(opened, max_chains=max_chains)}")


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
        _say(f"{plural}:")
        for info in plugins.available(singular[plural]).values():
            _say(f"  {info.key:<28} {info.summary}")
            for line in filter(None, (info.source, info.needs and f"Needs {info.needs}")):
                _say(f"  {'':<28} {line}")


def main() -> None:
    """Entry point of ``reasoning-anatomy``."""
    with _errors_as_one_line():
        app.cli(prog="reasoning-anatomy", description="Dissect the reasoning chains of language models.")


def analysis_main(module: str) -> None:
    """Entry point of ``python -m analyses.NAME [RUN]``: the fields of the analysis are its options."""
    key = module.rpartition(".")[2]
    with _errors_as_one_line():
        plugin_class = plugins.load_class("analysis", key)
        chosen = _parse_analysis(module, plugin_class)
        try:
            analysis = plugin_class(**dataclasses.asdict(chosen.options))
        except ValueError as error:
            raise PluginError(f"{key}: {error}") from None
        opened = _open_or_newest(chosen.run)
        result = analysis.analyse(opened)
        written = opened.write_analysis(result)
        _print_result(result)
        _say(f"Wrote {written}")


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
    _say(f"No run was named; this is the newest below runs/: {newest.folder}")
    return newest


def _named(scorers: tuple[str, ...]) -> list[str]:
    """Put every scorer that needs nothing beyond the model in the place of ``all``, and say which are left out."""
    if "all" not in scorers:
        return list(scorers)
    known = plugins.available("scorer")
    named = {spec.partition(":")[0] for spec in scorers}
    for info in known.values():
        if info.needs and info.key not in named:
            _say(f"Left out of all: {info.key} needs {info.needs}")
    everything = [key for key, info in known.items() if not info.needs and key not in scorers]
    return [each for spec in scorers for each in (everything if spec == "all" else [spec])]


def _analyse(run: "Run", spec: str) -> Any:
    """Run an analysis and write its result."""
    result = plugins.load("analysis", spec).analyse(run)
    run.write_analysis(result)
    return result


def _say_measured(run: "Run") -> None:
    """Say what a run holds, and what to do with it."""
    manifest = run.manifest
    for chain_id, reason in manifest.failed.items():
        _say(f"Failed: {chain_id}: {reason}")
    for label, reasons in manifest.missing_scores.items():
        chain_id, reason = next(iter(reasons.items()))
        _say(f"No score by {label} for {len(reasons)} chains, such as {chain_id}: {reason}")
    _say(f"{manifest.n_done} of {manifest.n_chains} chains are measured in {run.folder}")
    annotating = "" if run.annotators else f"reasoning-anatomy annotate {run.folder} && "
    _say(f"Next: {annotating}reasoning-anatomy report {run.folder}")


def _print_result(result: Any) -> None:
    _say(f"\n{result.name} · {result.config}")
    _say(result.table.to_string(index=False, float_format="{:.4g}".format))
    for reason, count in result.exclusions.items():
        _say(f"left out: {count} ({reason})")
    for warning in result.warnings:
        _say(f"note: {warning}")


def _with_line_breaks(text: str) -> str:
    return text.replace(r"\n", "\n")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


@contextmanager
def _errors_as_one_line() -> "Iterator[None]":
    """Turn what a user can act on into one line on standard error and exit code 2."""
    try:
        yield
    except ReasoningAnatomyError as error:
        _fail(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone, as `| head` does
        raise SystemExit(1) from None
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted; the same command goes on from here")
        raise SystemExit(130) from None


def _fail(message: str) -> None:
    sys.stderr.write(f"error: {message}\n")
    raise SystemExit(EXIT_BAD_INPUT)
