"""Writing a run folder: begun once, finished by the same command, never a mix of configurations."""

import hashlib
import json
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from reasoning_anatomy import __version__
from reasoning_anatomy.chains import write_chains
from reasoning_anatomy.errors import RunError
from reasoning_anatomy.files import TEMPORARY_PREFIX, remove_temporary
from reasoning_anatomy.progress import Stages
from reasoning_anatomy.run.folder import CHAINS_NAME, PATHS_NAME, TOKENS_NAME, Run
from reasoning_anatomy.run.manifest import MANIFEST_NAME, Configuration, Manifest, ModelIdentity, read_manifest, write_manifest
from reasoning_anatomy.run.measurement import chain_digest, read_measurement
from reasoning_anatomy.run.tables import write_tables
from reasoning_anatomy.types import ReasoningChain

_LOCK_NAME: Final = ".lock"
_LIBRARIES: Final = ("torch", "transformers", "tokenizers", "bitsandbytes", "numpy", "pandas")


def configuration_of(
    chains: Sequence[ReasoningChain], *, model: ModelIdentity | None, encoding: str, scorers: Mapping[str, Any],
    strategies: Mapping[str, Any],
) -> Configuration:  # fmt: skip
    """Put together everything that the numbers of a run depend on.

    Parameters
    ----------
    chains
        All chains of the run, in order.
    model
        The measured model; None where the numbers come from a file.
    encoding
        How the chains became ids, in words.
    scorers, strategies
        Plugins by label.
    """
    texts = json.dumps([[chain.chain_id, chain.question_id, chain_digest(chain)] for chain in chains])
    return Configuration(
        package=__version__,
        model=model,
        encoding=encoding,
        scorers={label: repr(scorer) for label, scorer in scorers.items()},
        strategies={label: repr(strategy) for label, strategy in strategies.items()},
        chains=hashlib.sha256(texts.encode()).hexdigest()[:16],
    )


def write_run(
    run: Run,
    configuration: Configuration,
    chains: Sequence[ReasoningChain],
    measure_missing: Callable[[list[ReasoningChain]], None],
    *,
    stages: Stages,
) -> Run:
    """Write a run folder, or finish it where it was begun.

    Parameters
    ----------
    run
        Where; `expect_run_folder` must have taken its folder.
    configuration
        Of the run; a folder of another one is refused.
    chains
        All chains of the run.
    measure_missing
        Writes the files of the chains that it is given, and counts them in the manifest by `update`.
    stages
        Their seconds go into the manifest.

    Returns
    -------
    The run, opened anew.

    Raises
    ------
    RunError
        The folder is of another configuration, damaged or busy; or no chain could be measured.
    """
    with _locked(run.folder):
        _begin(run, configuration, chains)
        found = {chain.chain_id: _missing_scores(run, chain, configuration) for chain in chains}
        missing = [chain for chain in chains if found[chain.chain_id] is None]
        update(run, n_done=len(chains) - len(missing), failed={}, missing_scores=by_scorer(found))
        if missing:
            measure_missing(missing)
        _remove_checkpoints(run)
        if missing or not all((run.folder / name).exists() for name in (TOKENS_NAME, PATHS_NAME)):
            with stages.add("tabulate", 1) as stage:
                write_tables(run)
                stage.advance()
        if missing:
            update(run, seconds=stages.seconds)
    return Run(run.folder)


def expect_run_folder(folder: Path) -> None:
    """Refuse to mix a run with other files or processes: ``folder`` is absent, empty, or a run that was begun."""
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: is a file; give a folder for the run")
    if (folder / _LOCK_NAME).exists():
        with _locked(folder):
            pass  # said before anything heavy is loaded
    if not folder.exists() or (folder / MANIFEST_NAME).exists():
        return
    others = [
        path.name
        for path in folder.iterdir()
        if path.name not in (_LOCK_NAME, CHAINS_NAME) and not path.name.startswith(TEMPORARY_PREFIX)
    ]
    if others:
        raise RunError(f"{folder}: holds other files ({sorted(others)[0]}, ...) and no run; give an empty or a new folder")


def update(run: Run, **changes: Any) -> None:
    """Write these fields of the manifest, where they are new."""
    before = read_manifest(run.folder)
    after = before.model_copy(update=changes)
    if after != before:
        write_manifest(run.folder, after)


def by_scorer(
    by_chain: Mapping[str, Mapping[str, str] | None], known: Mapping[str, Mapping[str, str]] | None = None
) -> dict[str, dict[str, str]]:
    """Turn reasons by chain_id and scorer into reasons by scorer and chain_id, beside those that are ``known``; sorted."""
    found = {label: dict(reasons) for label, reasons in (known or {}).items()}
    for chain_id, missing in by_chain.items():
        for label, reason in (missing or {}).items():
            found.setdefault(label, {})[chain_id] = reason
    return {label: dict(sorted(reasons.items())) for label, reasons in sorted(found.items())}  # not that of who was ready first


def fingerprint_of(chain: ReasoningChain, configuration: Configuration) -> str:
    """Digest of the configuration and the chain's text, which the chain's file carries."""
    return hashlib.sha256(f"{configuration.fingerprint()} {chain_digest(chain)}".encode()).hexdigest()


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


def _begin(run: Run, configuration: Configuration, chains: Sequence[ReasoningChain]) -> None:
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
    for folder in (run.folder, run.folder / "chains", run.fits, run.checkpoints):
        remove_temporary(folder)


def _missing_scores(run: Run, chain: ReasoningChain, configuration: Configuration) -> Mapping[str, str] | None:
    """Reasons why scorers have no value for a chain, by label; None where the chain is not measured."""
    path = run.measurement_path(chain.chain_id)
    if not path.exists():
        return None
    return read_measurement(path, chain, fingerprint=fingerprint_of(chain, configuration)).missing_scores


def _remove_checkpoints(run: Run) -> None:
    """Remove the checkpoints of chains that are measured; those of chains that failed tell how far they came."""
    for chain_id in run.measured:
        run.checkpoint_path(chain_id).unlink(missing_ok=True)
    if run.checkpoints.is_dir() and not any(run.checkpoints.iterdir()):
        run.checkpoints.rmdir()


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
