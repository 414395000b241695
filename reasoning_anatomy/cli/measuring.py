"""The commands that write runs and what other programs read: ``run``, ``import``, ``export``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from reasoning_anatomy.cli._app import RunArgument, app, named_scorers, say

if TYPE_CHECKING:
    from reasoning_anatomy.run import Run

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
            scorers=named_scorers(scorers),
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
            file, out=out, format=format, model=spec, scorers=named_scorers(scorers), encoding=encoding, stages=stages
        )
    _say_measured(imported)


@app.command(name="export")
def export_run(
    run: RunArgument,
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
    n_written = len(written.read_bytes().splitlines())
    say(f"Wrote {n_written} of {len(opened.chains)} chains to {written}")


def _say_measured(run: "Run") -> None:
    """Say what a run holds, and what to do with it."""
    status = run.status()
    for chain_id, reasons in status.failed.items():
        for plugin, reason in reasons.items():
            say(f"Failed: {chain_id}, {plugin}: {reason}")
    for label, missing in status.missing_scores.items():
        chain_id, reason = next(iter(missing.items()))
        say(f"No score by {label} for {len(missing)} chains, such as {chain_id}: {reason}")
    for plugin, n_left in status.left.items():
        say(f"Left: {n_left} of {status.n_chains} chains have not been measured by {plugin}")
    say(f"{status.n_done} of {status.n_chains} chains are measured in {run.folder}")
    annotating = "" if run.annotators else f"reasoning-anatomy annotate {run.folder} && "
    say(f"Next: {annotating}reasoning-anatomy report {run.folder}")


def _with_line_breaks(text: str) -> str:
    return text.replace(r"\n", "\n")
