"""Chains through encode -> scores -> paths into a run folder; what is there is kept."""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import torch

from reasoning_anatomy.chains import line_of_chain, read_chains
from reasoning_anatomy.errors import (
    ChainFileError,
    EncodingError,
    MeasurementError,
    RunError,
)
from reasoning_anatomy.models.attention_interface import installed
from reasoning_anatomy.models.capabilities import can_share_prefixes
from reasoning_anatomy.models.encoding import ChainEncoder, EncodingOptions
from reasoning_anatomy.models.loading import BUNDLED, LoadedModel, ModelSpec, load_model
from reasoning_anatomy.pipeline.chain import measure_chain
from reasoning_anatomy.pipeline.checks import check_model
from reasoning_anatomy.pipeline.identity import identity
from reasoning_anatomy.pipeline.plan import Plan
from reasoning_anatomy.progress import Stages
from reasoning_anatomy.run.fit import read_fit, write_fit
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.manifest import Configuration, FitRecord, read_manifest
from reasoning_anatomy.run.measurement import read_measurement, write_measurement
from reasoning_anatomy.run.writer import by_scorer, configuration_of, expect_run_folder, fingerprint_of, update, write_run
from reasoning_anatomy.types import EncodedChain, ReasoningChain

_MOST_WORKERS: Final = 4


def measure(
    chains: str | Path | Sequence[ReasoningChain],
    *,
    out: str | Path,
    model: str | ModelSpec | LoadedModel = BUNDLED,
    scorers: Sequence[str] = ("answer_attention",),
    strategies: Sequence[str] = ("greedy",),
    encoding: EncodingOptions | None = None,
    workers: int | None = None,
    stages: Stages | None = None,
) -> Run:
    """Measure chains with a model and write a run folder; finish it where it was begun.

    Parameters
    ----------
    chains
        JSONL file, or chains.
    out
        The run folder. What was measured there with the same configuration is kept.
    model
        What to load, or what was loaded.
    scorers, strategies
        Specs of plugins: ``"greedy"``, ``"greedy:objective=joint"``.
    encoding
        How a chain becomes one sequence.
    workers
        Chains that are measured at the same time, which share the processor cores; None takes up to 4 on a
        CPU and 1 on an accelerator. Changes speed, and numbers in the last digits.
    stages
        Shows progress and collects the time of each stage; silent where None.

    Returns
    -------
    The run. A chain whose likelihood or attention is not a finite number is in ``manifest.failed`` with its reason.

    Raises
    ------
    ReasoningAnatomyError
        Bad input, an unknown plugin, a model that cannot be measured, or a folder of another configuration;
        nothing that was computed is lost.
    """
    stages = stages or Stages()
    plan = Plan.of(scorers, strategies)
    if workers is not None and workers < 1:
        raise RunError(f"workers is {workers}; give 1 or more")
    file, records = _read(chains)
    run = Run(Path(out))
    expect_run_folder(run.folder)
    loaded = _load(model, stages)
    encoder = ChainEncoder(loaded.tokenizer, encoding, context_length=loaded.context_length)
    encoded = _encode(encoder, records, file, stages)
    configuration = configuration_of(
        records, model=identity(loaded, encoder), encoding=repr(encoder.options), scorers=plan.scorers,
        strategies=plan.strategies,
    )  # fmt: skip
    measuring = partial(
        measure_missing, run=run, encoded=encoded, plan=plan, loaded=loaded, configuration=configuration, workers=workers,
        stages=stages,
    )  # fmt: skip
    return write_run(run, configuration, records, measuring, stages=stages)


def measure_missing(
    missing: Sequence[ReasoningChain], *, run: Run, encoded: Mapping[str, EncodedChain], plan: Plan, loaded: LoadedModel,
    configuration: Configuration, workers: int | None, stages: Stages,
) -> None:  # fmt: skip
    """Check the model, then measure the chains that a begun run lacks, some at a time.

    Parameters
    ----------
    missing
        The chains.
    run, configuration
        Where they go, and what its record says.
    encoded
        The chains by chain_id, encoded for the model.
    plan, loaded, workers, stages
        As in `measure`.
    """
    loaded, found = check_model(loaded, plan, [encoded[chain.chain_id] for chain in missing])
    update(run, checks={**run.manifest.checks, **found})  # those of the chains measured before stay
    plan = _fitted(plan, run=run, encoded=encoded, loaded=loaded, configuration=configuration, stages=stages)
    _measure_all(_Job(run, encoded, plan, loaded, configuration, stages), missing, _n_workers(workers, loaded))


def _read(chains: str | Path | Sequence[ReasoningChain]) -> tuple[Path | None, list[ReasoningChain]]:
    if isinstance(chains, str | Path):
        return Path(chains), read_chains(chains)
    return None, _distinct(chains)


def _distinct(chains: Sequence[ReasoningChain]) -> list[ReasoningChain]:
    seen: set[str] = set()
    for chain in chains:
        if chain.chain_id in seen:
            raise ChainFileError(f"chain_id {chain.chain_id!r} names two chains; give each its own")
        seen.add(chain.chain_id)
    if not seen:
        raise ChainFileError("there is no chain to measure; give one at least")
    return list(chains)


def _load(model: str | ModelSpec | LoadedModel, stages: Stages) -> LoadedModel:
    if isinstance(model, LoadedModel):
        return model
    with stages.add("load", 1) as stage:
        loaded = load_model(model)
        stage.advance()
    return loaded


def _encode(encoder: ChainEncoder, chains: list[ReasoningChain], file: Path | None, stages: Stages) -> dict[str, EncodedChain]:
    encoded = {}
    for chain in stages.add("encode", len(chains)).each(chains):
        try:
            encoded[chain.chain_id] = encoder.encode(chain)
        except EncodingError as error:
            where = f"{file}, line {line_of_chain(file, chain.chain_id)}: " if file else ""
            raise EncodingError(f"{where}{error}") from error
    return encoded


def _fitted(
    plan: Plan, *, run: Run, encoded: Mapping[str, EncodedChain], loaded: LoadedModel, configuration: Configuration,
    stages: Stages,
) -> Plan:  # fmt: skip
    """Let the scorers that depend on the other chains look at all of them, once in a run: what they found is kept."""
    scorers, records = dict(plan.scorers), {}
    for label, scorer in plan.scorers.items():
        if not hasattr(scorer, "fit"):
            continue
        path = run.fit_path(label)
        if path.exists():
            fit = read_fit(path, fingerprint=configuration.fingerprint())
        else:
            fit = scorer.fit(stages.add("fit", len(encoded)).each(list(encoded.values())), loaded=loaded)
            if fit is None:
                continue
            write_fit(path, fit, fingerprint=configuration.fingerprint())
        scorers[label] = scorer.fitted(fit)
        records[label] = FitRecord(n_questions=len(fit.by_question), n_chains=fit.n_chains, left_out=fit.left_out)
    update(run, fits=records)
    return Plan(scorers, plan.strategies)


@dataclass(frozen=True, eq=False)
class _Job:
    """What measuring a chain takes."""

    run: Run
    encoded: Mapping[str, EncodedChain]
    plan: Plan
    loaded: LoadedModel
    configuration: Configuration
    stages: Stages
    stopped: threading.Event = field(default_factory=threading.Event)

    def measure(self, chain: ReasoningChain) -> "_Outcome":
        """Measure one chain and write it."""
        fingerprint = fingerprint_of(chain, self.configuration)
        checkpoint = self.run.checkpoint_path(chain.chain_id)
        begun = read_measurement(checkpoint, chain, fingerprint=fingerprint) if checkpoint.exists() else None
        try:
            measurement = measure_chain(
                self.encoded[chain.chain_id], self.plan, loaded=self.loaded, stages=self.stages, stopped=self.stopped,
                begun=begun, save=partial(write_measurement, checkpoint, fingerprint=fingerprint),
            )  # fmt: skip
        except MeasurementError as error:
            return _Outcome(failed=error.reason)
        write_measurement(self.run.measurement_path(chain.chain_id), measurement, fingerprint=fingerprint)
        checkpoint.unlink(missing_ok=True)
        return _Outcome(missing_scores=measurement.missing_scores)

    def count(self, chain_id: str, outcome: "_Outcome") -> None:
        """Enter into the manifest that a chain is done and what it lacks, or why it is not."""
        manifest = read_manifest(self.run.folder)
        if outcome.failed is None:
            missing_scores = by_scorer({chain_id: outcome.missing_scores}, manifest.missing_scores)
            update(self.run, n_done=manifest.n_done + 1, missing_scores=missing_scores)
        else:
            update(self.run, failed=dict(sorted({**manifest.failed, chain_id: outcome.failed}.items())))


@dataclass(frozen=True)
class _Outcome:
    """Why a chain could not be measured, or which scorers have no value for it and why."""

    failed: str | None = None
    missing_scores: Mapping[str, str] = field(default_factory=dict)


def _installed_once(loaded: LoadedModel) -> AbstractContextManager[None]:
    """Keep the attention function in the model, where passes are shared, rather than set it for every pass."""
    return installed(loaded.model) if can_share_prefixes(loaded) else nullcontext()


def _n_workers(wanted: int | None, loaded: LoadedModel) -> int:
    automatic = min(_MOST_WORKERS, torch.get_num_threads()) if loaded.device.type == "cpu" else 1
    return wanted or automatic


def _measure_all(job: _Job, missing: Sequence[ReasoningChain], n_workers: int) -> None:
    """Measure and write the chains, some at a time; the manifest counts them as they come."""
    n_scores, n_paths = len(job.plan.scorers), len(job.plan.strategies)
    job.stages.add("score", len(missing) * n_scores)
    job.stages.add("prune", sum(job.encoded[chain.chain_id].n_reasoning for chain in missing) * n_paths)
    longest_first = sorted(missing, key=lambda chain: -job.encoded[chain.chain_id].n_reasoning)  # none is left to one worker
    n_threads = torch.get_num_threads()
    torch.set_num_threads(max(1, n_threads // n_workers))
    try:
        with _installed_once(job.loaded), ThreadPoolExecutor(n_workers) as pool:
            futures = {pool.submit(job.measure, chain): chain.chain_id for chain in longest_first}
            try:
                for future in as_completed(futures):
                    job.count(futures[future], future.result())
            except BaseException:
                job.stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        torch.set_num_threads(n_threads)
    job.stages.add("prune", 0).finish()
