"""Chains through encode -> scores -> paths into a run folder; what is there is kept."""

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np
from filelock import FileLock, Timeout

from reasoning_anatomy import __version__, plugins
from reasoning_anatomy.attention import largest_logit_change
from reasoning_anatomy.chains import line_of_chain, read_chains, write_chains
from reasoning_anatomy.encoding import ChainEncoder, EncodingOptions
from reasoning_anatomy.errors import ChainFileError, EncodingError, MeasurementError, RunError
from reasoning_anatomy.files import TEMPORARY_PREFIX, remove_temporary
from reasoning_anatomy.likelihood import largest_likelihood_change
from reasoning_anatomy.manifest import MANIFEST_NAME, Configuration, Manifest, ModelIdentity, read_manifest, write_manifest
from reasoning_anatomy.measurement import Measurement, chain_digest, read_measurement, write_measurement
from reasoning_anatomy.models import BUNDLED, LoadedModel, ModelSpec, load_model
from reasoning_anatomy.progress import Stages
from reasoning_anatomy.run import CHAINS_NAME, PATHS_NAME, TOKENS_NAME, Run
from reasoning_anatomy.tables import write_tables
from reasoning_anatomy.types import EncodedChain, FloatArray, ReasoningChain

_LOCK_NAME: Final = ".lock"
_LIBRARIES: Final = ("torch", "transformers", "tokenizers", "bitsandbytes", "numpy", "pandas")


@dataclass(frozen=True)
class Plan:
    """What to measure on every chain.

    Attributes
    ----------
    scorers, strategies
        Plugins by label, as `reasoning_anatomy.plugins.load` makes them.
    """

    scorers: Mapping[str, Any]
    strategies: Mapping[str, Any]

    @classmethod
    def of(cls, scorers: Sequence[str], strategies: Sequence[str]) -> "Plan":
        """Make the plugins that the specs name; `PluginError` where one is unknown or wrong."""
        return cls(_by_label("scorer", scorers), _by_label("strategy", strategies))


def measure(
    chains: str | Path | Sequence[ReasoningChain],
    *,
    out: str | Path,
    model: str | ModelSpec | LoadedModel = BUNDLED,
    scorers: Sequence[str] = ("answer_attention",),
    strategies: Sequence[str] = ("greedy",),
    encoding: EncodingOptions | None = None,
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
    file = Path(chains) if isinstance(chains, str | Path) else None
    records = read_chains(file) if file else _distinct(chains)
    run = Run(Path(out))
    _expect_run_folder(run.folder)
    loaded = _load(model, stages)
    encoder = ChainEncoder(loaded.tokenizer, encoding, context_length=loaded.context_length)
    encoded = _encode(encoder, records, file, stages)
    configuration = _configuration(loaded, encoder, plan, records)
    with _locked(run.folder):
        _begin(run, configuration, records)
        missing = [chain for chain in records if not _is_measured(run, chain, configuration)]
        if missing:
            checks = _check(loaded, encoded[missing[0].chain_id])
            failed = _measure_missing(run, missing, encoded, plan, loaded, configuration, stages)
        if missing or not all((run.folder / name).exists() for name in (TOKENS_NAME, PATHS_NAME)):
            with stages.add("tabulate", 1) as stage:
                write_tables(run)
                stage.advance()
        if missing:
            done = len(records) - len(failed)
            _update(run, n_done=done, failed=failed, checks=checks, seconds=stages.seconds)
    return Run(run.folder)


def measure_chain(
    chain: EncodedChain, plan: Plan, *, loaded: LoadedModel, stages: Stages | None = None
) -> Measurement:
    """Measure one encoded chain.

    Raises
    ------
    MeasurementError
        A number is not finite.
    """
    stages = stages or Stages()
    scoring, pruning = stages.add("score", 0), stages.add("prune", 0)
    scores, profiles, paths = {}, {}, {}
    for label, scorer in plan.scorers.items():
        with scoring:
            token_scores = scorer.score(chain, loaded=loaded)
        scores[label] = _finite(token_scores.score, f"{chain.chain_id}: {label}")
        if token_scores.profile is not None:
            profiles[label] = token_scores.profile
        scoring.advance()
    for label, strategy in plan.strategies.items():
        with pruning:
            paths[label] = strategy.prune(chain, loaded=loaded, advance=pruning.advance)
    return Measurement(chain, scores, profiles, paths)


def _by_label(kind: str, specs: Sequence[str]) -> dict[str, Any]:
    made = [plugins.load(kind, spec) for spec in specs]
    return {plugins.label(plugin): plugin for plugin in made}


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


def _encode(
    encoder: ChainEncoder, chains: list[ReasoningChain], file: Path | None, stages: Stages
) -> dict[str, EncodedChain]:
    encoded = {}
    for chain in stages.add("encode", len(chains)).each(chains):
        try:
            encoded[chain.chain_id] = encoder.encode(chain)
        except EncodingError as error:
            where = f"{file}, line {line_of_chain(file, chain.chain_id)}: " if file else ""
            raise EncodingError(f"{where}{error}") from error
    return encoded


def _configuration(
    loaded: LoadedModel, encoder: ChainEncoder, plan: Plan, chains: list[ReasoningChain]
) -> Configuration:
    texts = json.dumps([[chain.chain_id, chain.question_id, chain_digest(chain)] for chain in chains])
    return Configuration(
        package=__version__,
        model=ModelIdentity(
            id=loaded.id,
            revision=getattr(loaded.model.config, "_commit_hash", None),
            architecture=type(loaded.model).__name__,
            n_layers=loaded.n_layers,
            n_heads=loaded.n_heads,
            weights=loaded.weights_digest(),
            template=encoder.template_digest,
            dtype=str(loaded.model.dtype).removeprefix("torch."),
            device=loaded.device.type,
            quantization=loaded.quantization,
        ),
        encoding=repr(encoder.options),
        scorers={label: repr(scorer) for label, scorer in plan.scorers.items()},
        strategies={label: repr(strategy) for label, strategy in plan.strategies.items()},
        chains=hashlib.sha256(texts.encode()).hexdigest()[:16],
    )


def _expect_run_folder(folder: Path) -> None:
    """Refuse to mix a run with other files: ``folder`` is absent, empty, or a run that was begun."""
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: is a file; give a folder for the run")
    if not folder.exists() or (folder / MANIFEST_NAME).exists():
        return
    others = [path.name for path in folder.iterdir() if path.name not in (_LOCK_NAME, CHAINS_NAME) and not path.name.startswith(TEMPORARY_PREFIX)]
    if others:
        raise RunError(f"{folder}: holds other files ({sorted(others)[0]}, ...) and no run; give an empty or a new folder")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK_NAME)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise RunError(f"{folder}: another process is working on this run; wait for it, or give another folder") from None
    try:
        yield
    finally:
        lock.release()


def _begin(run: Run, configuration: Configuration, chains: list[ReasoningChain]) -> None:
    """Write the record of a new run, or check that the run here was made with the same configuration."""
    if (run.folder / MANIFEST_NAME).exists():
        differences = read_manifest(run.folder).configuration.differences(configuration)
        if differences:
            raise RunError(
                f"{run.folder}: was made with another configuration ({'; '.join(differences)}); give another folder, or the "
                "same options"
            )
    else:
        write_chains(run.folder / CHAINS_NAME, chains)
        write_manifest(run.folder, Manifest(configuration=configuration, versions=_versions(), n_chains=len(chains)))
    for folder in (run.folder, run.folder / "chains"):
        remove_temporary(folder)


def _is_measured(run: Run, chain: ReasoningChain, configuration: Configuration) -> bool:
    path = run.measurement_path(chain.chain_id)
    if not path.exists():
        return False
    read_measurement(path, fingerprint=_fingerprint(chain, configuration))
    return True


def _check(loaded: LoadedModel, chain: EncodedChain) -> dict[str, float]:
    return {
        "recording_changes_logits_by": largest_logit_change(loaded, chain),
        "prefix_sharing_changes_nll_by": largest_likelihood_change(loaded, chain),
    }


def _measure_missing(
    run: Run, missing: list[ReasoningChain], encoded: dict[str, EncodedChain], plan: Plan, loaded: LoadedModel,
    configuration: Configuration, stages: Stages,
) -> dict[str, str]:  # fmt: skip
    """Measure and write chain after chain; return the reason of every failure by chain_id."""
    failed: dict[str, str] = {}
    stages.add("score", len(missing) * len(plan.scorers))
    stages.add("prune", sum(encoded[chain.chain_id].n_reasoning for chain in missing) * len(plan.strategies))
    for chain in missing:
        try:
            measurement = measure_chain(encoded[chain.chain_id], plan, loaded=loaded, stages=stages)
        except MeasurementError as error:
            failed[chain.chain_id] = str(error)
            continue
        fingerprint = _fingerprint(chain, configuration)
        write_measurement(run.measurement_path(chain.chain_id), measurement, fingerprint=fingerprint)
    return failed


def _update(run: Run, **changes: Any) -> None:
    write_manifest(run.folder, read_manifest(run.folder).model_copy(update=changes))


def _fingerprint(chain: ReasoningChain, configuration: Configuration) -> str:
    return hashlib.sha256(f"{configuration.fingerprint()} {chain_digest(chain)}".encode()).hexdigest()


def _finite(score: FloatArray, what: str) -> FloatArray:
    if not np.isfinite(score).all():
        raise MeasurementError(f"{what} is not a finite number at position {int(np.flatnonzero(~np.isfinite(score))[0])}")
    return score


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
