"""Writing a run folder: begun once, grown and finished by any process, each file written once."""

import json
import platform
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from reasoning_anatomy.chains import write_chains
from reasoning_anatomy.claims import claimed, expect_held
from reasoning_anatomy.errors import ModelError, ReasoningAnatomyError, RunError, UndefinedScoreError, reason_of
from reasoning_anatomy.files import TEMPORARY_PREFIX, remove_temporary, write_atomic
from reasoning_anatomy.progress import Stages
from reasoning_anatomy.run.encoded import write_encoded
from reasoning_anatomy.run.fit import read_fit, write_fit
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.layout import CHAINS_NAME, LOCK_NAME, PATHS_NAME, TOKENS_NAME, UNUSABLE_NAME, Stage
from reasoning_anatomy.run.manifest import MANIFEST_NAME, Configuration, Manifest, read_manifest, write_manifest
from reasoning_anatomy.run.origin import Origin, chain_digest, origin_of, with_need
from reasoning_anatomy.run.paths import read_path, write_path
from reasoning_anatomy.run.scores import write_scores
from reasoning_anatomy.run.segmenters import segmenters_of
from reasoning_anatomy.run.status import Inventory
from reasoning_anatomy.run.tables import tables_are_current, write_tables
from reasoning_anatomy.run.transcripts import write_transcript_of
from reasoning_anatomy.transcripts import EvictionTranscript
from reasoning_anatomy.types import EncodedChain, Fit, PruningPath, ReasoningChain, TokenScores
from reasoning_anatomy.unusable import Unusable, read_unusable, write_unusable
from reasoning_anatomy.version import __version__

_MEASURED_FIELDS: Final = ("question_id", "system_prompt", "question", "reasoning", "answer", "step_starts")
_LIBRARIES: Final = ("torch", "transformers", "tokenizers", "bitsandbytes", "numpy", "pandas")


@contextmanager
def begin_run(
    folder: Path, configuration: Configuration, chains: Sequence[ReasoningChain], *, stages: Stages | None = None
) -> Iterator["RunWriter"]:
    """Begin a run, or add to an existing one; its tables are written when the context ends without an error.

    Parameters
    ----------
    folder
        Absent, empty, or a run.
    configuration
        What is to be measured, and with what. An existing run must have the same model and encoding; its labels keep their
        meaning, and new ones are added.
    chains
        Chains to measure. Those that the run has already must have the same texts, question_id and step_starts; others are
        added.
        ``gold_answer``, ``is_correct`` and ``source``, on which no number depends, are updated if they are given.
    stages
        Shows progress; its seconds go into the record.

    Raises
    ------
    RunError
        The run is damaged. Or the folder holds other files, or a run with another model or encoding or another meaning of a
        label or chain_id; then nothing is changed.
    """
    expect_run_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stages = stages or Stages()
    with claimed(folder / LOCK_NAME, wait=True):
        for name in (MANIFEST_NAME, CHAINS_NAME):
            remove_temporary(folder / name)
        _grow(folder, configuration, chains)
    writer = RunWriter(Run(folder), configuration, stages)
    yield writer
    with claimed(folder / LOCK_NAME, wait=True):
        writer.finish()


def expect_run_folder(folder: Path) -> None:
    """Refuse to mix a run with other files: ``folder`` must be absent, empty, or a run."""
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: is a file; give a folder for the run")
    if not folder.exists() or (folder / MANIFEST_NAME).exists():
        return
    others = [
        path.name
        for path in folder.iterdir()
        if path.name not in (LOCK_NAME, CHAINS_NAME) and not path.name.startswith(TEMPORARY_PREFIX)
    ]
    if others:
        raise RunError(f"{folder}: holds other files ({sorted(others)[0]}, ...) and no run; give an empty or a new folder")


@dataclass(frozen=True, eq=False)
class RunWriter:
    """A run while something is added to it. Every method may be called from any thread.

    Attributes
    ----------
    run
        The run as it was when the context began.
    configuration
        What this process measures, and with what: a part of the run's.
    stages
        Of this process.
    """

    run: Run
    configuration: Configuration
    stages: Stages
    _added: list[Path] = field(default_factory=list, init=False)

    def missing(self, chain_ids: Sequence[str]) -> dict[str, "Missing"]:
        """Return what these chains lack of the configuration, by chain_id; chains that lack nothing are left out."""
        inventory = Inventory.of(self.run.layout, chain_ids)
        lacking = {
            chain_id: Missing(
                tuple(label for label in self.configuration.scorers if not inventory.has(chain_id, "score", label)),
                tuple(label for label in self.configuration.strategies if not inventory.has(chain_id, "path", label)),
            )
            for chain_id in chain_ids
        }
        return {
            chain_id: missing
            for chain_id, missing in lacking.items()
            if missing.scorers or missing.strategies or not inventory.is_encoded(chain_id)
        }

    def claim_scores(self, chain_id: str, labels: Sequence[str], *, wait: bool = False) -> AbstractContextManager[bool]:
        """Claim the scores of a chain, see `claimed`."""
        targets = [self.run.layout.artefact(chain_id, "score", label) for label in labels]
        return claimed(self.run.layout.claim(chain_id, "scores"), targets, wait=wait)

    def claim_path(self, chain_id: str, label: str, *, wait: bool = False) -> AbstractContextManager[bool]:
        """Claim a chain's path by one strategy, see `claimed`."""
        layout = self.run.layout
        targets = [layout.artefact(chain_id, "path", label), layout.begun_path(chain_id, label)]
        return claimed(layout.claim(chain_id, f"path {label}"), targets, wait=wait)

    def add_encoded(self, encoded: EncodedChain) -> None:
        """Write ids and spans of a chain, unless they are there."""
        path = self.run.layout.encoded(encoded.chain_id)
        if path.exists():
            return
        with claimed(self.run.layout.claim(encoded.chain_id, "encoded"), [path], wait=True):
            if not path.exists():
                write_encoded(path, encoded, origin=origin_of(self.configuration, encoded.chain))

    def add_scores(self, chain_id: str, label: str, scores: TokenScores, *, follows: str | None = None) -> None:
        """Write a scorer's scores of a chain.

        They depend on what the scorer found in all chains, if it looked at them, and on the path of the strategy ``follows``.
        """
        path, fit = self.run.layout.artefact(chain_id, "score", label), self.run.layout.fit(label)
        origin = self._origin(chain_id, "score", label)
        if follows is not None:
            origin = with_need(origin, self.run.folder, self.run.layout.artefact(chain_id, "path", follows))
        elif fit.exists():
            origin = with_need(origin, self.run.folder, fit)
        write_scores(path, scores, chain_id=chain_id, origin=origin)
        self._settle(chain_id, "score", label, path)

    def add_missing_score(self, chain_id: str, label: str, reason: str) -> None:
        """Write why a scorer has no value for a chain."""
        path = self.run.layout.missing_score(chain_id, label)
        _write_reason(path, chain_id, label, reason)
        self._settle(chain_id, "score", label, path)

    def add_path(self, chain_id: str, label: str, pruning: PruningPath, *, follows: str | None = None) -> None:
        """Write a strategy's path of a chain; ``follows`` is the label of the path that it was made from."""
        path = self.run.layout.artefact(chain_id, "path", label)
        write_path(path, pruning, chain_id=chain_id, origin=self._origin_of_path(chain_id, label, follows))
        self._settle(chain_id, "path", label, path)
        self.run.layout.begun_path(chain_id, label).unlink(missing_ok=True)

    def add_begun_path(self, chain_id: str, label: str, pruning: PruningPath, *, follows: str | None = None) -> None:
        """Write the first deletions of a path, from which another process can continue."""
        path = self.run.layout.begun_path(chain_id, label)
        write_path(path, pruning, chain_id=chain_id, origin=self._origin_of_path(chain_id, label, follows))

    def begun_path(self, chain_id: str, label: str) -> PruningPath | None:
        """Read the first deletions of a path that was begun; None if there are none."""
        path = self.run.layout.begun_path(chain_id, label)
        origin = self._origin(chain_id, "path", label)
        return read_path(path, origin=origin, run_folder=self.run.folder) if path.exists() else None

    def forget_failure(self, chain_id: str, stage: Stage, label: str) -> None:
        """Remove the record of an earlier failure; call it when the measurement is tried again."""
        self.run.layout.failure(chain_id, stage, label).unlink(missing_ok=True)

    def add_failure(self, chain_id: str, stage: Stage, label: str, reason: str) -> None:
        """Write why a chain could not be measured; the next run tries again."""
        _write_reason(self.run.layout.failure(chain_id, stage, label), chain_id, label, reason)

    def add_error(self, chain_id: str, stage: Stage, label: str, error: Exception) -> None:
        """Write why a plugin gave nothing for a chain, from the error that it raised.

        A scorer that has no value for the chain, or refuses the model, has a missing score. All else is a failure, which the
        next run tries again; if the error was not raised on purpose, its traceback is kept beside its type and first line.
        """
        reason = reason_of(error)
        if stage == "score" and isinstance(error, UndefinedScoreError | ModelError):
            self.add_missing_score(chain_id, label, reason)
        elif isinstance(error, ReasoningAnatomyError):
            self.add_failure(chain_id, stage, label, reason)
        else:
            trace = "".join(traceback.format_exception(error))
            _write_reason(self.run.layout.failure(chain_id, stage, label), chain_id, label, reason, traceback=trace)

    def add_checks(self, checks: Mapping[str, float]) -> None:
        """Record what was verified on the model; if a check was made before, the larger value is kept."""
        with claimed(self.run.folder / LOCK_NAME, wait=True):
            manifest = read_manifest(self.run.folder)
            larger = {name: max(value, manifest.checks.get(name, value)) for name, value in checks.items()}
            self._update(manifest, manifest.model_copy(update={"checks": {**manifest.checks, **larger}}))

    def add_unusable(self, unusable: Sequence[Unusable]) -> None:
        """Record what was left out, beside what was left out before; chains that the run has by now are forgotten."""
        path = self.run.folder / UNUSABLE_NAME
        with claimed(self.run.folder / LOCK_NAME, wait=True):
            known = {each.chain_id or (each.file, each.row): each for each in [*read_unusable(path), *unusable]}
            left_out = [each for each in known.values() if each.chain_id not in self.run.chains]
            if left_out or path.exists():
                expect_held(self.run.folder / LOCK_NAME)
                write_unusable(path, left_out)

    def add_transcript(self, chain_id: str, transcript: EvictionTranscript) -> bool:
        """Write what was evicted while a chain was written; False if the transcript is of another text than the chain."""
        chain = self.run.chains[chain_id]
        if transcript.place_of(chain.reasoning, chain.answer) is None:
            return False
        write_transcript_of(self.run.layout.transcript(chain_id), transcript, chain)
        return True

    def fit(self, label: str) -> Fit | None:
        """Read what a scorer found in all chains; None if it has not looked at them yet."""
        path = self.run.layout.fit(label)
        return read_fit(path, origin=self._origin_of_fit(label), run_folder=self.run.folder) if path.exists() else None

    def claim_fit(self, label: str) -> AbstractContextManager[bool]:
        """Wait for the claim to what a scorer finds in all chains."""
        return claimed(
            self.run.layout.claims / f"{self.run.layout.fit(label).stem}.lease", [self.run.layout.fit(label)], wait=True
        )

    def add_fit(self, label: str, fit: Fit, chain_ids: Sequence[str]) -> None:
        """Write what a scorer found in these chains; chains that are added later are scored by it, too."""
        scored = [chain_id for chain_id in self.run.chains if self.run.layout.artefact(chain_id, "score", label).exists()]
        if scored:
            raise RunError(
                f"{self.run.layout.fit(label)}: is missing, but {len(scored)} chains have scores that were made with it; "
                "restore it, or measure in a new run folder"
            )
        chains = {chain_id: chain_digest(self.run.chains[chain_id]) for chain_id in chain_ids}
        write_fit(self.run.layout.fit(label), fit, origin={**self._origin_of_fit(label), "chains": chains})

    def finish(self) -> None:
        """Write the tables if they are out of date, and remove what killed processes left of what is done by now."""
        run = Run(self.run.folder)
        inventory = run.inventory()
        if not tables_are_current(run, inventory, made_after=self._added):
            for name in (TOKENS_NAME, PATHS_NAME):
                remove_temporary(run.folder / name)
            with self.stages.add("tabulate", 1) as stage:
                refused = write_tables(run, inventory)
                expect_held(run.folder / LOCK_NAME)  # else they may be older than those of a successor
                stage.advance()
            for label, reasons in refused.items():
                chain_id, reason = next(iter(reasons.items()))
                self.stages.say(f"No steps by {label} for {len(reasons)} chains, such as {chain_id}: {reason}")
        if self._added:
            self._update(run.manifest, run.manifest.model_copy(update={"seconds": self.stages.seconds}))
        for chain_id, label in inventory.begun_and_done(run.manifest.configuration):
            run.layout.begun_path(chain_id, label).unlink(missing_ok=True)
        if run.layout.claims.exists() and inventory.status(run.manifest.configuration).n_done == len(run.chains):
            for claim in run.layout.claims.iterdir():  # the folder stays: another process may be about to claim in it
                with claimed(claim):
                    pass  # a claim of a killed process goes, that of another stays

    def _settle(self, chain_id: str, stage: Stage, label: str, path: Path) -> None:
        self.forget_failure(chain_id, stage, label)
        self._added.append(path)

    def _origin(self, chain_id: str, stage: Stage, label: str) -> Origin:
        plugins = self.configuration.scorers if stage == "score" else self.configuration.strategies
        return origin_of(self.configuration, self.run.chains[chain_id], plugins[label])

    def _origin_of_path(self, chain_id: str, label: str, follows: str | None) -> Origin:
        origin = self._origin(chain_id, "path", label)
        if follows is None:
            return origin
        return with_need(origin, self.run.folder, self.run.layout.artefact(chain_id, "path", follows))

    def _origin_of_fit(self, label: str) -> Origin:
        model = self.configuration.model
        return {
            "model": None if model is None else model.digest(),
            "encoding": self.configuration.encoding,
            "plugin": self.configuration.scorers[label],
        }

    def _update(self, before: Manifest, after: Manifest) -> None:
        if after != before:
            expect_held(self.run.folder / LOCK_NAME)
            write_manifest(self.run.folder, after)


@dataclass(frozen=True)
class Missing:
    """Labels of the scorers and strategies that have not measured a chain."""

    scorers: tuple[str, ...]
    strategies: tuple[str, ...]


def _grow(folder: Path, configuration: Configuration, chains: Sequence[ReasoningChain]) -> None:
    """Write the record of a new run, or add what is new to that of an existing run."""
    if not (folder / MANIFEST_NAME).exists():
        segmenters_of(folder, configuration)
        expect_held(folder / LOCK_NAME)
        write_chains(folder / CHAINS_NAME, chains)
        write_manifest(folder, Manifest(package=__version__, configuration=configuration, versions=_versions()))
        return
    manifest, before = read_manifest(folder), Run(folder).chains
    grown = expect_to_grow(folder, configuration)
    segmenters_of(folder, grown)
    after = {**before, **{chain.chain_id: updated_chain(folder, before.get(chain.chain_id), chain) for chain in chains}}
    expect_held(folder / LOCK_NAME)
    if after != before:
        write_chains(folder / CHAINS_NAME, after.values())
    if grown != manifest.configuration:
        write_manifest(folder, manifest.model_copy(update={"configuration": grown}))


def expect_to_grow(folder: Path, configuration: Configuration) -> Configuration:
    """Add a configuration to that of a run, which is not changed; `RunError` if it contradicts that."""
    try:
        return read_manifest(folder).configuration.grown(configuration)
    except ValueError as error:
        raise RunError(f"{folder}: was measured with other options ({error}); use the same, or another folder") from None


def updated_chain(folder: Path, before: ReasoningChain | None, now: ReasoningChain) -> ReasoningChain:
    """Update the fields of a chain that no measurement is pinned by; refuse a chain_id that means another chain in the run."""
    if before is None:
        return now
    for name in _MEASURED_FIELDS:
        if getattr(before, name) != getattr(now, name):
            raise RunError(
                f"{folder}: chain {now.chain_id!r} has another {name!r} in the run ({_shown(getattr(before, name))}) than now "
                f"({_shown(getattr(now, name))}); give it another chain_id, or measure it in another folder"
            )
    old, new = before.model_dump(mode="json"), now.model_dump(mode="json", exclude_none=True)
    return ReasoningChain.model_validate({**old, **new, "source": {**old["source"], **new["source"]}})


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _write_reason(path: Path, chain_id: str, label: str, reason: str, **more: str) -> None:
    write_atomic(path, json.dumps({"chain_id": chain_id, "label": label, "reason": reason, **more}, indent=2) + "\n")


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
