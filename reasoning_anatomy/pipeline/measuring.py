"""Chains through encode -> scores -> paths into a run folder; what was measured before is kept."""

import re
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final

import torch
from transformers import PreTrainedConfig

from reasoning_anatomy.answers.consistency import correctness_notes
from reasoning_anatomy.chains import STANDARD_INPUT, ChainFile, expect_taken_apart, read_chain_file
from reasoning_anatomy.errors import ChainFileError, EncodingError, RunError, reason_of
from reasoning_anatomy.generation.chain_file import encoding_of_samples
from reasoning_anatomy.importance import LooksAtAllChains, Scorer
from reasoning_anatomy.models.attention_interface import installed
from reasoning_anatomy.models.capabilities import can_share_prefixes
from reasoning_anatomy.models.encoding import ChainEncoder, EncodingOptions
from reasoning_anatomy.models.loading import (
    BUNDLED,
    LoadedModel,
    ModelSpec,
    context_length,
    load_config,
    load_model,
    load_tokenizer,
)
from reasoning_anatomy.pipeline.chain import ENDS_THE_RUN, ChainWork
from reasoning_anatomy.pipeline.checks import check_model, refusals
from reasoning_anatomy.pipeline.forecast import say_if_long
from reasoning_anatomy.pipeline.identity import as_begun, identity
from reasoning_anatomy.pipeline.plan import Plan
from reasoning_anatomy.progress import Stages
from reasoning_anatomy.questions import question_notes
from reasoning_anatomy.run.folder import Run, open_run
from reasoning_anatomy.run.manifest import MANIFEST_NAME, Configuration
from reasoning_anatomy.run.segmenters import Cutter
from reasoning_anatomy.run.writer import Missing, RunWriter, begin_run, expect_run_folder
from reasoning_anatomy.steps import Segmenter
from reasoning_anatomy.transcript_files import TranscriptFile
from reasoning_anatomy.types import EncodedChain, ReasoningChain
from reasoning_anatomy.unusable import Unusable, listed

_MOST_WORKERS: Final = 4


def measure(
    chains: str | Path | ChainFile | Sequence[ReasoningChain],
    *,
    out: str | Path,
    model: str | ModelSpec | LoadedModel = BUNDLED,
    scorers: Sequence[str] = ("answer_attention",),
    strategies: Sequence[str] = ("greedy",),
    segmenters: Sequence[str] = ("sentences",),
    encoding: EncodingOptions | None = None,
    workers: int | None = None,
    skip_unusable: bool = False,
    stages: Stages | None = None,
) -> Run:
    """Measure chains with a model and write a run folder; finish it, or add to it, if it was begun.

    Parameters
    ----------
    chains
        JSONL file, ``-`` for standard input, what `read_chain_file` returned, or chains.
    out
        The run folder. Only what these chains lack of these scorers and strategies is measured; chains, scorers, strategies
        and segmenters that the run does not have yet are added to it.
    model
        What to load, or a model that is loaded.
    scorers, strategies
        Specs of plugins: ``"greedy"``, ``"greedy:objective=joint"``.
    segmenters
        Specs of those whose steps the tables have, beside those by which scorers and strategies cut.
    encoding
        How a chain becomes one sequence. Template variables and date that are left out are those of the run, or if it begins,
        those with which ``chains`` were sampled by `generate`.
    workers
        Chains that are measured at the same time, which share the processor cores; None takes up to 4 on a
        CPU and 1 on an accelerator. Changes speed, and numbers in the last digits.
    skip_unusable
        Go on without the lines that are not chains and the chains that cannot be encoded, such as those beyond the model's
        context; ``run.unusable`` has them with their reasons. Otherwise any of them is an error that names all.
    stages
        Shows progress and collects the time of each stage; silent if None.

    Returns
    -------
    The run. ``run.status()`` says which chains failed and why: a likelihood or score is not a finite number, or memory ran
    out.

    Raises
    ------
    ReasoningAnatomyError
        Bad input, an unknown plugin, a model that cannot be measured, or a folder of another model or encoding, or in which a
        label or chain_id means something else; nothing that was computed is lost.
    """
    stages, folder = stages or Stages(), Path(out)
    expect_run_folder(folder)
    measured = open_run(folder).manifest.configuration.strategies if (folder / MANIFEST_NAME).exists() else {}
    plan = Plan.of(scorers, strategies, measured=measured)
    cutting = plan.all_segmenters(segmenters)
    if workers is not None and workers < 1:
        raise RunError(f"workers is {workers}; give 1 or more")
    file = _read(chains)
    if not skip_unusable:
        file.expect_usable()
    before = open_run(folder).chains.values() if (folder / MANIFEST_NAME).exists() else ()
    for note in (*question_notes([*before, *file.chains]), *correctness_notes(file.chains)):
        stages.say(f"note: {note}")
    encoder, config = _encoder(model, encoding, folder, file.path, stages)
    if note := _note_on_samples(file, encoder):
        stages.say(note)
    encoded, unusable = _encode(encoder, file, stages)
    if unusable and not skip_unusable:
        raise EncodingError(_all_that_cannot_be_encoded(file, unusable))
    if not encoded:
        raise ChainFileError(
            f"none of the {len(file.unusable) + len(unusable)} chains can be used:{listed([*file.unusable, *unusable])}"
        )
    _expect_steps(cutting, encoded)
    stages.say(encoder.in_words)
    loaded = model if isinstance(model, LoadedModel) else _load(model, encoder, config, stages)
    configuration = Configuration(
        model=identity(loaded, encoder),
        encoding=repr(encoder.options),
        scorers={label: repr(scorer) for label, scorer in plan.scorers.items()},
        strategies={label: repr(strategy) for label, strategy in plan.strategies.items()},
        segmenters={label: repr(segmenter) for label, segmenter in cutting.items()},
    )
    records = [chain for chain in file.chains if chain.chain_id in encoded]
    with begin_run(folder, configuration, records, stages=stages) as writer:
        writer.add_unusable([*file.unusable, *unusable])
        _add_transcripts(writer, file, encoded)
        measure_missing(writer, encoded, plan, loaded=loaded, workers=workers)
    return Run(folder)


def n_left(out: str | Path) -> int:
    """Count the chains of a run that are neither measured nor failed; none before it is begun."""
    return open_run(out).status().n_left if (Path(out) / MANIFEST_NAME).exists() else 0


def measure_missing(
    writer: RunWriter, encoded: Mapping[str, EncodedChain], plan: Plan, *, loaded: LoadedModel, workers: int | None = None
) -> None:
    """Check the model, then measure what chains lack, several at a time. Several processes can do this on one run.

    Parameters
    ----------
    writer
        Of the run.
    encoded
        The chains by chain_id, encoded for the model.
    plan, loaded, workers
        As in `measure`.
    """
    missing = writer.missing(list(encoded))
    if not missing:
        return
    plan, to_measure = plan.restricted_to(missing.values()), [encoded[chain_id] for chain_id in missing]
    plan, missing = _going_on_without(refusals(loaded, plan, to_measure), plan, missing, writer)
    loaded, checks = check_model(loaded, plan, to_measure)
    writer.add_checks(checks)
    say_if_long(plan, encoded, missing, loaded=loaded, stages=writer.stages)
    fitted, unfit = _fitted(plan, writer, encoded, loaded)
    plan, missing = _going_on_without(unfit, Plan(fitted, plan.strategies), missing, writer)
    work = ChainWork(writer, plan, loaded)
    _measure_all(work, encoded, missing, workers or _suitable_workers(loaded))
    if left := _left_to_others(writer, list(missing)):
        for chain_id in writer.stages.add("wait", len(left)).each(left):
            work.measure(encoded[chain_id], left[chain_id], wait=True)


def _read(chains: str | Path | ChainFile | Sequence[ReasoningChain]) -> ChainFile:
    if isinstance(chains, ChainFile):
        return chains
    if isinstance(chains, str | Path):
        return read_chain_file(chains)
    seen: set[str] = set()
    for chain in chains:
        if chain.chain_id in seen:
            raise ChainFileError(f"chain_id {chain.chain_id!r} names two chains; give each its own")
        expect_taken_apart(chain)
        seen.add(chain.chain_id)
    if not seen:
        raise ChainFileError("there is no chain to measure; give at least one")
    return ChainFile(None, tuple(chains), {})


def _encoder(
    model: str | ModelSpec | LoadedModel, encoding: EncodingOptions | None, folder: Path, samples: Path | None, stages: Stages
) -> tuple[ChainEncoder, PreTrainedConfig]:
    """Make the encoder without the weights, so that chains that cannot be encoded are named before they are loaded."""
    if isinstance(model, LoadedModel):
        tokenizer, config = model.tokenizer, model.model.config
    else:
        with stages.add("load", 1):
            tokenizer, config = load_tokenizer(model), load_config(model)
    options = as_begun(encoding, folder, tokenizer, samples=samples)
    return ChainEncoder(tokenizer, options, context_length=context_length(config)), config


def _note_on_samples(file: ChainFile, encoder: ChainEncoder) -> str:
    """Say if the prompts have other variables of the chat template than those with which the chains were sampled."""
    sampled = EncodingOptions() if file.path is None else encoding_of_samples(file.path)
    own = encoder.options.template_variables
    if not sampled.template_variables or sampled.template_variables == own:
        return ""
    return (
        f"note: {file.path} was sampled with the template variables {' '.join(sampled.template_variables)}, and the prompts of "
        f"this run have {' '.join(own) or 'none'}; --template-variables names others for a new run"
    )


def _add_transcripts(writer: RunWriter, file: ChainFile, chain_ids: Collection[str]) -> None:
    """Keep what stands beside a file of sampled chains about evictions, and say which of it is of another text."""
    if file.path is None or str(file.path) == STANDARD_INPUT:
        return
    transcripts = TranscriptFile(file.path)
    found = {chain_id: each for chain_id, each in transcripts.read().items() if chain_id in chain_ids}
    strangers = [chain_id for chain_id, each in found.items() if not writer.add_transcript(chain_id, each)]
    if strangers:
        writer.stages.say(
            f"note: {len(strangers)} of the {len(found)} transcripts in {transcripts.path} are of another text than the chain "
            f"has, such as that of {strangers[0]}; the run goes without them"
        )


def _load(model: str | ModelSpec, encoder: ChainEncoder, config: PreTrainedConfig, stages: Stages) -> LoadedModel:
    with stages.add("load", 0) as stage:
        loaded = load_model(model, tokenizer=encoder.tokenizer, config=config)
        stage.advance()
    return loaded


def _encode(encoder: ChainEncoder, file: ChainFile, stages: Stages) -> tuple[dict[str, EncodedChain], list[Unusable]]:
    """Encode all chains, and say what is wrong with those that cannot be."""
    encoded, unusable = {}, []
    for chain in stages.add("encode", len(file.chains)).each(file.chains):
        try:
            encoded[chain.chain_id] = encoder.encode(chain)
        except EncodingError as error:
            row = file.lines.get(chain.chain_id)
            reason = re.sub(r"\d+", "N", str(error).removeprefix(f"{chain.chain_id}: "))
            name = file.path.name if file.path else None
            message = f"line {row}: {error}" if row else str(error)
            unusable.append(Unusable(name, row, chain.chain_id, reason, message, chain.question_id, chain.is_correct))
    return encoded, unusable


def _expect_steps(segmenters: Mapping[str, Segmenter], encoded: Mapping[str, EncodedChain]) -> None:
    """Cut all chains, so that a segmenter that crashes is named before anything is measured."""
    cutter = Cutter(segmenters)
    for chain in encoded.values():
        cutter.cut(chain)


def _all_that_cannot_be_encoded(file: ChainFile, unusable: Sequence[Unusable]) -> str:
    if len(unusable) == 1:
        return f"{file.path}, {unusable[0].message}" if file.path else unusable[0].message
    where = f"{file.path}: " if file.path else ""
    return (
        f"{where}{len(unusable)} of {len(file.chains)} chains cannot be encoded; leave them out, or go on without them: "
        f"--skip-unusable{listed(unusable)}"
    )


def _going_on_without(
    refused: Mapping[str, Exception], plan: Plan, missing: Mapping[str, Missing], writer: RunWriter
) -> tuple[Plan, dict[str, Missing]]:
    """Leave out the scorers that are of no use, and write why for every chain; raise the reason if nothing else is left."""
    scorers = {label: scorer for label, scorer in plan.scorers.items() if label not in refused}
    if refused and not scorers and not plan.strategies:
        raise next(iter(refused.values()))
    for label, error in refused.items():
        writer.stages.say(f"No scores by {label}: {reason_of(error)}")
        for chain_id in [chain_id for chain_id, lacking in missing.items() if label in lacking.scorers]:
            writer.add_error(chain_id, "score", label, error)
    left = {
        chain_id: Missing(tuple(label for label in lacking.scorers if label in scorers), lacking.strategies)
        for chain_id, lacking in missing.items()
    }
    return Plan(scorers, plan.strategies), left


def _fitted(
    plan: Plan, writer: RunWriter, encoded: Mapping[str, EncodedChain], loaded: LoadedModel
) -> tuple[dict[str, Scorer], dict[str, Exception]]:
    """Let the scorers that depend on the other chains look at them, once in a run: what they found is kept.

    -> all scorers by label, and why some of them found nothing.
    """
    scorers, unfit = dict(plan.scorers), dict[str, Exception]()
    for label, scorer in plan.scorers.items():
        if isinstance(scorer, LooksAtAllChains):
            try:
                scorers[label] = _fitted_once(scorer, label, writer, encoded, loaded)
            except ENDS_THE_RUN:
                raise
            except Exception as error:
                unfit[label] = error
    return scorers, unfit


def _fitted_once(
    scorer: LooksAtAllChains, label: str, writer: RunWriter, encoded: Mapping[str, EncodedChain], loaded: LoadedModel
) -> Scorer:
    with writer.claim_fit(label):
        fit = writer.fit(label)
        if fit is None:
            stage = writer.stages.add("fit", len(encoded))
            fit = scorer.fit(stage.each(list(encoded.values())), loaded=loaded)
            if fit is None:
                return scorer
            writer.add_fit(label, fit, list(encoded))
    return scorer.fitted(fit)


def _installed_once(loaded: LoadedModel) -> AbstractContextManager[None]:
    """Keep the attention function in the model if passes are shared, rather than set it for every pass."""
    return installed(loaded.model) if can_share_prefixes(loaded) else nullcontext()


def _suitable_workers(loaded: LoadedModel) -> int:
    return min(_MOST_WORKERS, torch.get_num_threads()) if loaded.device.type == "cpu" else 1


def _measure_all(work: ChainWork, encoded: Mapping[str, EncodedChain], missing: Mapping[str, Missing], n_workers: int) -> None:
    """Measure and write what chains lack, several at a time, the longest first, so that none is left to one worker."""
    stages = work.writer.stages
    stages.add("score", sum(len(lacking.scorers) for lacking in missing.values()))
    stages.add("prune", sum(encoded[name].n_reasoning * len(lacking.strategies) for name, lacking in missing.items()))
    longest_first = sorted(missing, key=lambda chain_id: -encoded[chain_id].n_reasoning)
    n_threads = torch.get_num_threads()
    torch.set_num_threads(max(1, n_threads // n_workers))
    try:
        with _installed_once(work.loaded), ThreadPoolExecutor(n_workers) as pool:
            futures = [pool.submit(work.measure, encoded[chain_id], missing[chain_id]) for chain_id in longest_first]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                work.stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        torch.set_num_threads(n_threads)
    stages.add("prune", 0).finish()


def _left_to_others(writer: RunWriter, chain_ids: Sequence[str]) -> dict[str, Missing]:
    """Return what other processes are working on: what is missing and has not failed."""
    layout = writer.run.layout
    left = {
        chain_id: Missing(
            tuple(label for label in missing.scorers if not layout.failure(chain_id, "score", label).exists()),
            tuple(label for label in missing.strategies if not layout.failure(chain_id, "path", label).exists()),
        )
        for chain_id, missing in writer.missing(chain_ids).items()
    }
    return {chain_id: missing for chain_id, missing in left.items() if missing.scorers or missing.strategies}
