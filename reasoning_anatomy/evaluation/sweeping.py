"""Prune chains at thresholds, let the model answer again from what is left, and keep the answers in the run."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np
from pydantic import TypeAdapter

from reasoning_anatomy import plugins
from reasoning_anatomy.chains import ChainFile, read_chain_file
from reasoning_anatomy.errors import MissingError, ModelError, PluginError, RunError
from reasoning_anatomy.evaluation.answering import Answering
from reasoning_anatomy.evaluation.work import SweepWork
from reasoning_anatomy.evaluation.writing import expect_one_text, policies_of, policy_at, policy_pairs, write_texts
from reasoning_anatomy.generation.check import check_decoding
from reasoning_anatomy.generation.completion import Sampling
from reasoning_anatomy.generation.contexts import expect_evictable
from reasoning_anatomy.generation.evicting import Evictor
from reasoning_anatomy.generation.local import LocalModel
from reasoning_anatomy.generation.rows import fewer_rows, rows_that_fit
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import LoadedModel, load_model
from reasoning_anatomy.pipeline.checks import check_model
from reasoning_anatomy.pipeline.identity import as_begun
from reasoning_anatomy.pipeline.measuring import measure
from reasoning_anatomy.pipeline.plan import Plan
from reasoning_anatomy.progress import Stages
from reasoning_anatomy.pruning import OrdersBeforehand, Strategy, UsesPassRate
from reasoning_anatomy.run.evaluation_table import write_evaluations
from reasoning_anatomy.run.folder import Run, open_run
from reasoning_anatomy.run.layout import EVALUATIONS_NAME
from reasoning_anatomy.run.manifest import MANIFEST_NAME, Condition, Configuration, read_manifest
from reasoning_anatomy.run.sweep import SweepFolder
from reasoning_anatomy.run.writer import RunWriter, begin_run, expect_to_grow
from reasoning_anatomy.specs import (
    BASELINES,
    BUNDLED,
    EVICT_BASELINES,
    THRESHOLDS,
    EncodingOptions,
    ModelSpec,
    ReadingOfPruned,
    Restatements,
)
from reasoning_anatomy.steps import CutsSteps
from reasoning_anatomy.types import ReasoningChain


@dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """What a sweep compares.

    Attributes
    ----------
    strategies
        Specs of strategies, each with thresholds of its own.
    baselines
        Specs of strategies that keep as many tokens as each of those at each threshold. Those that cut steps cut the same as
        the strategy, unless they name others.
    thresholds
        0..1; 0 is always among them, because everything is compared with it.
    samples
        Answers for each chain and condition.
    readings
        How the model reads what is left.
    restatements
        Whether what states the answer already is kept, stripped, or one and then the other.
    evict
        Specs of eviction policies, under which whole texts are written anew on every question; thresholds say how much goes.
    evict_baselines
        Specs of policies that accompany each of those, with the same interval and protection unless they name others.
    """

    strategies: tuple[str, ...] = ()
    baselines: tuple[str, ...] = BASELINES
    thresholds: tuple[float, ...] = THRESHOLDS
    samples: int = 1
    readings: tuple[ReadingOfPruned, ...] = ("closed_up",)
    restatements: tuple[Restatements, ...] = ("kept",)
    evict: tuple[str, ...] = ()
    evict_baselines: tuple[str, ...] = EVICT_BASELINES

    def __post_init__(self) -> None:
        if not (self.strategies or self.evict):
            raise PluginError(
                "there is nothing to sweep: name a strategy, such as step_percentile, or an eviction policy (evict)"
            )
        if self.samples < 1:
            raise PluginError(f"samples is {self.samples}; give 1 or more")
        for threshold in self.thresholds:
            if not 0 <= threshold <= 1:
                raise PluginError(f"threshold {threshold}: is a share, from 0 (delete nothing) to 1; give one in between")
        for given, known in ((self.readings, get_args(ReadingOfPruned)), (self.restatements, get_args(Restatements))):
            if unknown := [each for each in given if each not in known] or not given:
                raise PluginError(f"{given!r} is not a choice of {', '.join(known)}; got {unknown!r}")

    def conditions(self) -> dict[str, Condition]:
        """Make every combination, by label."""
        return {condition.label: condition for condition in (*self._of_pruned(), *self._live())}

    def labels(self) -> list[str]:
        """Labels of all strategies, each once."""
        return list(dict.fromkeys(plugins.label(plugin) for pair in self._pairs() for plugin in pair if plugin is not None))

    def _of_pruned(self) -> Iterator[Condition]:
        for (strategy, reference), threshold in product(self._pairs(), self._all_thresholds()):
            for restatements, reading in product(self.restatements, self.readings):
                yield Condition(
                    strategy=plugins.label(strategy),
                    threshold=threshold,
                    reference="" if reference is None else plugins.label(reference),
                    restatements=restatements,
                    reading=reading,
                    samples=self.samples,
                    plugins=tuple(map(repr, (strategy, *([] if reference is None else [reference])))),
                    steps=_steps_of(reference or strategy),
                    by_pass_rate=threshold > 0 and _uses_pass_rate(reference or strategy),
                )

    def _live(self) -> Iterator[Condition]:
        for (policy, reference), threshold in product(policy_pairs(self.evict, self.evict_baselines), self._all_thresholds()):
            pair = [policy] if reference is None else [policy, reference]
            yield Condition(
                strategy=plugins.label(policy),
                threshold=threshold,
                reference="" if reference is None else plugins.label(reference),
                reading="live",
                samples=self.samples,
                plugins=tuple(repr(policy_at(each, threshold)) for each in pair),
                steps=(reference or policy).steps,
            )

    def _all_thresholds(self) -> list[float]:
        return sorted({0.0, *(round(float(each), 9) for each in self.thresholds)})

    def _pairs(self) -> list[tuple[Strategy, Strategy | None]]:
        """Strategies, each with the one whose lengths it has."""
        strategies = [plugins.load("strategy", spec) for spec in self.strategies]
        baselines = [plugins.load("strategy", spec) for spec in self.baselines]
        pairs = [
            (baseline if plugins.is_named(spec, "steps") else _in_steps_of(strategy, baseline), strategy)
            for strategy in strategies
            for spec, baseline in zip(self.baselines, baselines, strict=True)
        ]
        return [*((strategy, None) for strategy in strategies), *(pair for pair in pairs if pair[0] != pair[1])]


def _in_steps_of(strategy: Strategy, baseline: Strategy) -> Strategy:
    """Let a baseline cut the same steps as its strategy, if both cut steps."""
    if not (isinstance(strategy, CutsSteps) and isinstance(baseline, CutsSteps)):
        return baseline
    return dataclasses.replace(baseline, steps=strategy.steps)


def _steps_of(strategy: Strategy) -> str:
    return strategy.steps if isinstance(strategy, CutsSteps) else ""


def _uses_pass_rate(strategy: Strategy) -> bool:
    return isinstance(strategy, UsesPassRate) and strategy.uses_pass_rate


def sweep(
    run: str | Path,
    plan: SweepPlan,
    *,
    chains: str | Path | ChainFile | Sequence[ReasoningChain] | None = None,
    model: str | ModelSpec | LoadedModel | None = None,
    answering: Answering | None = None,
    encoding: EncodingOptions | None = None,
    evict_max_tokens: int = Sampling().max_tokens,
    n_rows: int | None = None,
    skip_unusable: bool = False,
    stages: Stages | None = None,
) -> Run:
    """Let the model answer again from what strategies leave of the chains of a run, at every threshold.

    The prompt has one form at every threshold, 0 included: question, what is left of the reasoning, and the beginning of an
    answer; never the chain's own answer. Samples have the same random numbers at every threshold. Strategies and thresholds
    that keep the same tokens share their answers.

    Under eviction policies it writes whole texts anew on every question of the run, as `generate` does; threshold 0 evicts
    nothing and is the same for all policies.

    Parameters
    ----------
    run
        Folder of a run; it is begun if ``chains`` are given.
    plan
        What to compare. What the run has of it is kept, and the rest is added.
    chains
        Added to the run first; as for `measure`.
    model
        What to load, or a model that is loaded; the run's own if None.
    answering
        How the model answers; once a sweep has begun it is always the same.
    encoding
        How a chain becomes one sequence. What is left out is the run's own; if the run begins, as for `measure`.
    evict_max_tokens
        Largest number of tokens of a text that is written under a policy, thinking included; always the same, once texts were
        written. The rest is as ``answering`` says.
    n_rows
        Answers that are written at the same time; None takes as many as fit into memory, 32 at most on a CPU.
    skip_unusable, stages
        As for `measure`.

    Returns
    -------
    The run; ``run.evaluations()`` is the table of answers.

    Raises
    ------
    ReasoningAnatomyError
        As for `measure`; or the sweep was begun with other options; nothing that was computed is lost.
    """
    folder, stages, conditions = Path(run), stages or Stages(), plan.conditions()
    if n_rows is not None and n_rows < 1:
        raise RunError(f"rows is {n_rows}; give 1 or more")
    if evict_max_tokens < 1:
        raise RunError(f"evict_max_tokens is {evict_max_tokens}; give 1 or more")
    begun = (folder / MANIFEST_NAME).exists()
    if not begun and chains is None:
        raise RunError(f"{folder}: there is no run; measure one first, or name its chains: --chains CHAINS.jsonl")
    if isinstance(chains, str | Path):
        chains = read_chain_file(chains)
    if not begun and model is None:
        _expect_model_named(chains)
    loaded, answering = _loaded(folder, model, stages), answering or Answering()
    if "evicted" in plan.readings:
        expect_evictable(loaded, n_positions=1)
    _expect_to_write(folder, conditions, chains, loaded, encoding)
    if begun:
        expect_to_grow(folder, _configuration(folder, conditions, answering, evict_max_tokens, loaded, encoding)[0])
    needing_paths = [label for label in plan.labels() if not isinstance(plugins.load("strategy", label), OrdersBeforehand)]
    added = [chains] if chains is not None else []
    known = [list(open_run(folder).chains.values())] if begun and (needing_paths or chains is None) else []
    for given in [*added, *known]:
        measure(
            given,
            out=folder,
            model=loaded,
            scorers=(),
            strategies=needing_paths,
            segmenters=(answering.segmenter,),
            encoding=_encoding_of(folder, encoding) if begun else encoding,
            skip_unusable=skip_unusable,
            stages=stages,
        )
    own, encoder, resolved = _configuration(folder, conditions, answering, evict_max_tokens, loaded, encoding)
    if others := _other_teachers(folder, loaded):
        stages.say(f"note: the chains were sampled from {', '.join(others)}, and {loaded.id} answers; --model names another")
    if plan.strategies:
        stages.say(f"Every answer begins with {resolved.stem!r}, behind {encoder.options.before_answer!r}.")
    if plan.evict:
        stages.say(f"On every question, whole texts of up to {evict_max_tokens} tokens are written anew.")
    try:
        with begin_run(folder, own, list(open_run(folder).chains.values()), stages=stages) as writer:
            _answer(SweepFolder(writer.run, own), writer, encoder, resolved, loaded, n_rows)
            sampling = _writing(resolved, evict_max_tokens)
            local = LocalModel(loaded=loaded, encoder=encoder, n_rows=n_rows, loop_tokens=resolved.loop_tokens)
            write_texts(SweepFolder(writer.run, own), writer, local, sampling)
    except (KeyboardInterrupt, ModelError):
        write_evaluations(Run(folder))  # of what is answered by now
        raise
    write_evaluations(Run(folder))
    _say_what_is_left(SweepFolder(Run(folder), own), stages)
    return Run(folder)


def n_left(run: str | Path) -> int:
    """Count the chains that lack answers and have not failed; none before the run is begun."""
    if not (Path(run) / MANIFEST_NAME).exists():
        return 0
    begun = open_run(run)
    return SweepFolder(begun, begun.manifest.configuration).status().n_left


def _say_what_is_left(folder: SweepFolder, stages: Stages) -> None:
    """Say how many chains other processes still answer; raise the reason if no chain could be answered."""
    status = folder.status()
    if status.n_left:
        stages.say(
            f"note: {status.n_left} of {status.n_chains} chains are left to other processes that work on this run; the last of "
            "them to end writes the table with all answers. If there is none, run the same sweep again"
        )
    if status.failed and not (folder.run.folder / EVALUATIONS_NAME).exists():
        chain_id, reason = next(iter(status.failed.items()))
        raise RunError(f"{folder.run.folder}: no chain was answered; {chain_id}: {reason} (all reasons are in failed/)")


def _configuration(
    folder: Path,
    conditions: Mapping[str, Condition],
    answering: Answering,
    evict_max_tokens: int,
    loaded: LoadedModel,
    encoding: EncodingOptions | None,
) -> tuple[Configuration, ChainEncoder, Answering]:
    """Say what a sweep adds to a run, with the encoder and the stem of that run."""
    encoder = ChainEncoder(loaded.tokenizer, _encoding_of(folder, encoding), context_length=loaded.context_length)
    resolved, configuration = answering.resolved(encoder.options), read_manifest(folder).configuration
    evicts = any(condition.reading == "evicted" for condition in conditions.values())
    if evicts and not f"{encoder.options.before_answer}{resolved.stem}":
        raise RunError(
            "nothing stands between reasoning and answer, so that what has read all of the reasoning would predict the first "
            "token of an answer even if it is evicted; give the answers a beginning: --stem"
        )
    added = Configuration(
        model=configuration.model,
        encoding=repr(encoder.options),
        answering=repr(resolved),
        writing=repr(_writing(resolved, evict_max_tokens)) if any(each.is_live for each in conditions.values()) else None,
        conditions=conditions,
    )
    return added, encoder, resolved


def _answer(
    folder: SweepFolder, writer: RunWriter, encoder: ChainEncoder, answering: Answering, loaded: LoadedModel, n_rows: int | None
) -> None:
    """Answer the chains that lack something, the longest first; with fewer rows if memory runs out."""
    run, conditions = folder.run, folder.of_pruned
    encoded = [run.encoded(chain_id) for chain_id in folder.chain_ids if folder.lacking(chain_id, conditions)]
    if not encoded:
        return
    longest_first = sorted(encoded, key=lambda chain: -len(chain.ids))
    if any(condition.reading == "evicted" for condition in conditions):
        expect_evictable(loaded, n_positions=len(longest_first[0].ids))
    strategies = {label: plugins.load("strategy", label) for label in _labels(conditions)}
    loaded, checks = check_model(loaded, Plan({}, strategies), longest_first)
    contexts = (np.concatenate([chain.prompt_ids, chain.reasoning_ids]) for chain in encoded)
    writer.add_checks({**checks, **check_decoding(loaded, contexts)})
    stage = writer.stages.add("answer", len(longest_first))
    n_tokens = len(longest_first[0].ids) + answering.sampling.max_tokens
    n_rows = rows_that_fit(loaded, n_tokens, asked=n_rows)
    while True:
        with stage:
            try:
                SweepWork(folder, encoder, answering, loaded, stage, n_rows).answer(longest_first)
            except (RuntimeError, MemoryError) as error:
                n_rows = fewer_rows(loaded, n_rows, error)
            else:
                stage.finish()  # what other processes answer is no step of this one
                return
        longest_first = [chain for chain in longest_first if folder.lacking(chain.chain_id, conditions)]


def _writing(answering: Answering, max_tokens: int) -> Sampling:
    """Say how whole texts are written: as answers are, but longer."""
    return dataclasses.replace(answering.sampling, max_tokens=max_tokens)


def _expect_to_write(
    folder: Path,
    conditions: Mapping[str, Condition],
    chains: ChainFile | Sequence[ReasoningChain] | None,
    loaded: LoadedModel,
    encoding: EncodingOptions | None,
) -> None:
    """Refuse policies that do not suit the model, and questions with several texts, before anything is measured."""
    policies = policies_of(condition for condition in conditions.values() if condition.is_live)
    if not policies:
        return
    known = open_run(folder).chains.values() if (folder / MANIFEST_NAME).exists() else ()
    expect_one_text([*known, *(chains.chains if isinstance(chains, ChainFile) else chains or ())])
    samples = chains.path if isinstance(chains, ChainFile) else None
    options = as_begun(encoding, folder, loaded.tokenizer, samples=samples)
    encoder = ChainEncoder(loaded.tokenizer, options, context_length=loaded.context_length)
    for policy in policies:
        Evictor(loaded, policy, encoder, n_positions=1)


def _expect_model_named(chains: ChainFile | Sequence[ReasoningChain] | None) -> None:
    """Refuse to let the bundled model answer chains that say they were sampled from another one, unless it is named."""
    given = chains.chains if isinstance(chains, ChainFile) else chains or ()
    teachers = sorted({str(chain.source["model"]) for chain in given if chain.source.get("model")} - {BUNDLED})
    if teachers:
        raise RunError(f"the chains were sampled from {teachers[0]}; name the model that is to answer: --model {teachers[0]}")


def _other_teachers(folder: Path, loaded: LoadedModel) -> list[str]:
    """Models other than this one that chains say they were sampled from."""
    teachers = {str(teacher) for chain in open_run(folder).chains.values() if (teacher := chain.source.get("model"))}
    return sorted(teacher for teacher in teachers if _place(teacher) != _place(loaded.id))


def _place(model: str) -> str:
    """Name of a model; of a folder or file that is here, one for all its paths."""
    return str(Path(model).resolve()) if Path(model).exists() else model


def _labels(conditions: Iterable[Condition]) -> list[str]:
    """Labels of the strategies of conditions, each once."""
    return list(dict.fromkeys(label for each in conditions for label in (each.reference, each.strategy) if label))


def _loaded(folder: Path, model: str | ModelSpec | LoadedModel | None, stages: Stages) -> LoadedModel:
    """Load the model that is named, or that of the run."""
    if isinstance(model, LoadedModel):
        return model
    with stages.add("load", 1) as stage:
        loaded = load_model(model_of(folder) if model is None else model)
        stage.advance()
    return loaded


def model_of(folder: Path) -> ModelSpec:
    """Say which model a run was measured with, and how it was held; the bundled one if there is no run yet."""
    if not (folder / MANIFEST_NAME).exists():
        return ModelSpec(BUNDLED)
    model = read_manifest(folder).configuration.model
    if model is None:
        raise MissingError(f"{folder}: was imported without a model, so that nothing can answer; import it again with --model")
    named = {"id": model.id, "revision": model.revision, "quantize": model.quantization}
    return TypeAdapter(ModelSpec).validate_python({**named, "dtype": model.dtype, "device": model.device})


def _encoding_of(folder: Path, given: EncodingOptions | None) -> EncodingOptions:
    """Read the encoding options of a run, with those that were given in their place."""
    configuration = read_manifest(folder).configuration
    own = configuration.encoding_options
    if own is None or configuration.encoding != repr(own):
        raise MissingError(f"{folder}: was imported, so that how its chains are encoded is not known; measure its chains again")
    default, given = EncodingOptions(), given or EncodingOptions()
    named = {field.name: getattr(given, field.name) for field in dataclasses.fields(given)}
    return dataclasses.replace(own, **{name: value for name, value in named.items() if value != getattr(default, name)})
