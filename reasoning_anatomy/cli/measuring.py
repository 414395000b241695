"""The commands that write runs and files of other programs: ``run``, ``import``, ``export``."""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import OmitArgPrefixes, Positional, arg

from reasoning_anatomy.cli._app import (
    EXECUTOR,
    EncodingOption,
    ExecutorOption,
    FolderArgument,
    ModelOption,
    PluginsOption,
    app,
    listed,
    named_chains,
    named_scorers,
    open_folder,
    say,
    use_plugins,
)
from reasoning_anatomy.cli._places import Folder, named
from reasoning_anatomy.errors import PluginError, RunError
from reasoning_anatomy.run.layout import UNUSABLE_NAME
from reasoning_anatomy.specs import ModelSpec

if TYPE_CHECKING:
    from reasoning_anatomy.run import Run
    from reasoning_anatomy.run.status import Status
    from reasoning_anatomy.run.students import Students


@dataclass(frozen=True)
class _Model(ModelOption):
    """Which model to load, and how to hold it."""


@dataclass(frozen=True)
class _PruningModel(ModelOption):
    """The model that pruned, and how to hold it. It gives ids their text, and scores the tokens."""

    id: Annotated[str, arg(name="model", help="As for `run`; if left out, no model is loaded.")] = ""


@dataclass(frozen=True)
class _Encoding(EncodingOption):
    r"""How a chain becomes one sequence; ``\n`` is a line break. The joints are trusted: they may name special tokens."""


@app.command
def run(
    chains: Annotated[Positional[Path], arg(help="JSONL file, one chain a line; - is standard input.", metavar="CHAINS.jsonl")],
    out: Annotated[
        Folder, arg(help="Folder of the run; an existing run is finished, or added to. A path, or s3://BUCKET/RUN.")
    ],
    scorers: Annotated[
        tuple[str, ...], arg(help="KEY or KEY:option=value, see `list scorers`; all = every one that needs nothing else.")
    ] = ("answer_attention",),
    strategies: Annotated[tuple[str, ...], arg(help="KEY or KEY:option=value, such as greedy:objective=joint; see `list`.")] = (
        "greedy",
    ),
    segmenters: Annotated[
        tuple[str, ...], arg(help="KEY or KEY:option=value, such as paragraphs: into which steps the tables cut; see `list`.")
    ] = ("sentences",),
    workers: Annotated[int | None, arg(help="Chains measured at the same time; up to 4 on a CPU if left out.")] = None,
    skip_unusable: Annotated[
        bool, arg(help="Go on without what cannot be used: lines with mistakes, chains beyond the model's context.")
    ] = False,
    plugins: PluginsOption = None,
    model: Annotated[_Model, OmitArgPrefixes] = _Model(),
    encoding: Annotated[_Encoding, OmitArgPrefixes] = _Encoding(),
    executor: Annotated[ExecutorOption, OmitArgPrefixes] = EXECUTOR,
) -> None:
    """Measure chains with a model: attention scores and pruning paths, into a run folder."""
    from reasoning_anatomy.chains import read_chain_file

    use_plugins(plugins)
    if {*scorers, *strategies} <= {"none"}:
        raise PluginError("there is nothing to measure: name a scorer or a strategy")
    file = read_chain_file(chains)
    if not skip_unusable:
        file.expect_usable()  # a mistake in the file is found before anything heavy is imported
    from reasoning_anatomy.pipeline.measuring import measure, n_left
    from reasoning_anatomy.progress import Stages
    from reasoning_anatomy.run.folder import open_run

    arguments = {
        "chains": file,
        "out": out,
        "model": ModelSpec(**asdict(model)),
        "scorers": named_scorers(scorers),
        "strategies": strategies,
        "segmenters": segmenters,
        "encoding": encoding.with_line_breaks(),
        "workers": workers,
        "skip_unusable": skip_unusable,
    }
    with Stages(show=True) as stages:
        is_done = executor.do(
            measure,
            arguments,
            folder=out,
            device=model.device,
            n_left=partial(n_left, out),
            plugins=plugins,
            stages=stages,
        )
    if is_done:
        measured = open_run(out)
        say_measured(measured)
        say_next(measured)


@app.command(name="import")
def import_run(
    file: Annotated[Positional[Path], arg(help="Published file: one JSON object a line, or a list.", metavar="FILE")],
    out: Annotated[Folder, arg(help="Folder of the run; an interrupted import is finished.")],
    format: Annotated[str | None, arg(help="KEY, see `list`; recognised by the first item if left out.")] = None,
    scorers: Annotated[
        tuple[str, ...],
        arg(help="KEY or KEY:option=value, or all; answer_attention if left out, recency and random without a model."),
    ] = (),
    plugins: PluginsOption = None,
    model: Annotated[_PruningModel, OmitArgPrefixes] = _PruningModel(),
    encoding: Annotated[_Encoding, OmitArgPrefixes] = _Encoding(),
) -> None:
    """Make a run from a published file of pruned chains, for every analysis and the report."""
    from reasoning_anatomy import interchange
    from reasoning_anatomy.progress import Stages

    use_plugins(plugins)
    with Stages(show=True) as stages:
        imported = interchange.import_run(
            file,
            out=out,
            format=format,
            model=ModelSpec(**asdict(model)) if model.id else None,
            scorers=named_scorers(scorers),
            encoding=encoding.with_line_breaks(),
            stages=stages,
        )
    say_measured(imported)
    say_next(imported)


@app.command(name="export")
def export_run(
    run: FolderArgument,
    format: Annotated[str, arg(help="KEY; see `list`. Of students: parquet or jsonl.")],
    out: Annotated[
        Path | None, arg(help="The file; RUN/exports/FORMAT.jsonl if left out. Of students: the folder, STUDENTS/exports.")
    ] = None,
    strategy: Annotated[str | None, arg(help="Label of the strategy; the first of the run if left out.")] = None,
    annotator: Annotated[str | None, arg(help="Whose categories; the only one of the run if left out.")] = None,
    text: Annotated[bool, arg(help="Of students: prompt and completion in place of input_ids and labels.")] = False,
    plugins: PluginsOption = None,
) -> None:
    """Write the chains of a run with their deletion orders for other programs; or training sets for other trainers."""
    from reasoning_anatomy import interchange
    from reasoning_anatomy.run.folder import Run

    use_plugins(plugins)
    opened = open_folder(run, ())
    if not isinstance(opened, Run):
        if strategy is not None or annotator is not None:
            raise RunError(f"{run}: holds students, and all of their sets are exported; leave out --strategy and --annotator")
        _export_sets(opened, format, out, text=text)
        return
    if text:
        raise RunError(f"{run}: is a run, and --text is for the training sets of students; leave it out")
    written = interchange.export_run(opened, format=format, out=out, strategy=strategy, annotator=annotator)
    n_written = len(written.read_bytes().splitlines())
    say(f"Wrote {n_written} of {len(opened.chains)} chains to {written}")


def _export_sets(students: "Students", format: str, out: Path | None, *, text: bool) -> None:
    """Write the training sets of students; of text, say how much of it changes once it is tokenised again."""
    for arm, path in students.export(format, out, text=text).items():
        changed = students.rows(arm)["is_changed_by_text"].mean()
        told = f"; {changed:.1%} of its rows have other ids once their reasoning is tokenised again" if text else ""
        say(f"Wrote {arm.label} to {path}{told}")


def say_measured(run: "Run") -> "Status":
    """Say what a run holds, and return it."""
    from reasoning_anatomy.unusable import counted

    status = run.status()
    if run.unusable:
        say(f"Left out: {len(run.unusable)}, named in {named(run.folder)}/{UNUSABLE_NAME}")
        for reason, count in counted(run.unusable).items():
            say(f"  {count}  {reason}")
    by_reason: dict[tuple[str, str], list[str]] = {}
    for chain_id, reasons in status.failed.items():
        for failure in reasons.items():
            by_reason.setdefault(failure, []).append(chain_id)
    for (plugin, reason), chain_ids in by_reason.items():
        say(f"Failed: {named_chains(chain_ids)}, {plugin}: {reason}")
    for label, missing in status.missing_scores.items():
        chain_id, reason = next(iter(missing.items()))
        say(f"No score by {label} for {len(missing)} chains, such as {chain_id}: {reason}")
    by_number: dict[int, list[str]] = {}
    for plugin, n_left in status.left.items():
        by_number.setdefault(n_left, []).append(plugin)
    for n_left, plugins in by_number.items():
        say(f"Left: {n_left} of {status.n_chains} chains have not been measured by {listed(plugins)}")
    say(f"{status.n_done} of {status.n_chains} chains are measured in {named(run.folder)}")
    return status


def say_next(run: "Run") -> None:
    """Say what to do with a run."""
    place = named(run.folder)
    annotating = "" if run.annotators else f"reasoning-anatomy annotate {place} && "
    say(f"Next: {annotating}reasoning-anatomy report {place}")
