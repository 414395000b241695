"""The command that prunes at thresholds and answers again: ``sweep``."""

from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import OmitArgPrefixes, arg

from reasoning_anatomy.cli._app import (
    EXECUTOR,
    EncodingOption,
    ExecutorOption,
    PluginsOption,
    RunArgument,
    SamplingOption,
    app,
    named_chains,
    say,
    use_plugins,
)
from reasoning_anatomy.cli._places import named
from reasoning_anatomy.errors import RunError
from reasoning_anatomy.evaluation.answering import Answering
from reasoning_anatomy.generation.completion import Sampling
from reasoning_anatomy.specs import BASELINES, EVICT_BASELINES, THRESHOLDS, ModelSpec, ReadingOfPruned, Restatements

if TYPE_CHECKING:
    from reasoning_anatomy.run import Run
    from reasoning_anatomy.run.sweep import SweepStatus


@dataclass(frozen=True)
class _ModelOfRun(ModelSpec):
    """The model that answers. If left out it is that of the run."""

    id: Annotated[
        str,
        arg(name="model", help="As for `run`; if left out, that of the run, held as it was, or the bundled one for a new run."),
    ] = ""


def _as_defaults() -> SamplingOption:
    return SamplingOption(**asdict(Answering().sampling))


@dataclass(frozen=True, kw_only=True)
class _Answering(Answering):
    """How the model answers: the same at every threshold, and fixed once the sweep has begun."""

    sampling: Annotated[SamplingOption, OmitArgPrefixes] = field(default_factory=_as_defaults)

    def __post_init__(self) -> None:
        """Leave the checks to the command, whose errors are one line."""

    def checked(self) -> Answering:
        """Refuse what is out of its range."""
        try:
            return Answering(**{**vars(self), "sampling": self.sampling.checked()})
        except ValueError as error:
            raise RunError(str(error)) from None


@dataclass(frozen=True)
class _Encoding(EncodingOption):
    r"""How a chain of a new run becomes one sequence, as for `run`; ``\n`` is a line break. Other runs keep theirs."""


@app.command
def sweep(
    run: RunArgument,
    strategies: Annotated[
        tuple[str, ...], arg(help="KEY or KEY:option=value, each with thresholds of its own; see `list`.")
    ] = (),
    baselines: Annotated[
        tuple[str, ...], arg(help="Keep as many tokens as each of those at each threshold; none = no baseline.")
    ] = BASELINES,
    thresholds: Annotated[tuple[float, ...], arg(help="What strategies are told, 0..1; 0 deletes nothing.")] = THRESHOLDS,
    samples: Annotated[int, arg(help="Answers for each chain and threshold.")] = 1,
    evict: Annotated[
        tuple[str, ...],
        arg(
            help="KEY or KEY:option=value: whole texts are written anew while so much leaves the cache; see `list policies`.",
            metavar="[POLICY [POLICY ...]]",
        ),
    ] = (),
    evict_baselines: Annotated[
        tuple[str, ...], arg(help="Evict as often and protect the same as each of those; none = no baseline.")
    ] = EVICT_BASELINES,
    evict_max_tokens: Annotated[
        int, arg(help="Tokens of a text that is written anew, thinking included.")
    ] = Sampling().max_tokens,
    readings: Annotated[
        tuple[ReadingOfPruned, ...], arg(help="closed_up: read anew; evicted: removed from the cache, positions kept.")
    ] = ("closed_up",),
    restatements: Annotated[tuple[Restatements, ...], arg(help="kept; stripped: without what states the answer already.")] = (
        "kept",
    ),
    chains: Annotated[Path | None, arg(help="JSONL file of chains to begin the run with, or to add to it.")] = None,
    skip_unusable: Annotated[bool, arg(help="As for `run`.")] = False,
    rows: Annotated[int | None, arg(help="Answers that are written at the same time; as many as fit if left out.")] = None,
    plugins: PluginsOption = None,
    model: Annotated[_ModelOfRun, OmitArgPrefixes] = _ModelOfRun(),
    answering: Annotated[_Answering, OmitArgPrefixes] = _Answering(),
    encoding: Annotated[_Encoding, OmitArgPrefixes] = _Encoding(),
    executor: Annotated[ExecutorOption, OmitArgPrefixes] = EXECUTOR,
) -> None:
    """Prune the chains of a run at thresholds, or evict while it writes anew, and let the model answer again."""
    use_plugins(plugins)
    from reasoning_anatomy.evaluation.sweeping import SweepPlan, n_left
    from reasoning_anatomy.evaluation.sweeping import sweep as sweep_run
    from reasoning_anatomy.progress import Stages
    from reasoning_anatomy.run.folder import open_run

    plan = SweepPlan(
        strategies=strategies,
        baselines=() if baselines == ("none",) else baselines,
        thresholds=thresholds,
        samples=samples,
        readings=readings,
        restatements=restatements,
        evict=evict,
        evict_baselines=() if evict_baselines == ("none",) else evict_baselines,
    )
    if not model.id and model != _ModelOfRun():
        raise RunError("--dtype, --device, --quantize and --revision say how to hold --model; name it, too")
    arguments = {
        "run": run,
        "plan": plan,
        "chains": chains,
        "model": ModelSpec(**asdict(model)) if model.id else None,
        "answering": answering.checked(),
        "encoding": encoding.with_line_breaks(),
        "evict_max_tokens": evict_max_tokens,
        "n_rows": rows,
        "skip_unusable": skip_unusable,
    }
    with Stages(show=True) as stages:
        is_done = executor.do(
            sweep_run, arguments, folder=run, device=model.device, n_left=partial(n_left, run), plugins=plugins, stages=stages
        )
    if is_done:
        swept = open_run(run)
        say_swept(swept)
        say_next_of_sweep(swept)


def say_swept(run: "Run") -> "SweepStatus":
    """Say how far a sweep is, and return it."""
    from reasoning_anatomy.run.sweep import SweepFolder

    status = SweepFolder(run, run.manifest.configuration).status()
    by_reason: dict[str, list[str]] = {}
    for chain_id, reason in status.failed.items():
        by_reason.setdefault(reason, []).append(chain_id)
    for reason, chain_ids in by_reason.items():
        say(f"Failed: {named_chains(chain_ids)}: {reason}")
    n_conditions = len(run.manifest.configuration.conditions)
    say(f"{status.n_done} of {status.n_chains} chains are answered at all {n_conditions} conditions in {named(run.folder)}")
    if status.n_left:
        lacking = f"{status.n_left} of {status.n_chains} chains lack answers at some of them"
        say(f"Left: {lacking}; a sweep at these conditions makes what no other process is making")
    return status


def say_next_of_sweep(run: "Run") -> None:
    """Say what to do with a sweep."""
    say(f"Next: python -m analyses.threshold_comparison {named(run.folder)} && reasoning-anatomy report {named(run.folder)}")
