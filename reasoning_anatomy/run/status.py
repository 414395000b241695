"""How far a run has come, counted from the names of its files."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.run.layout import ENCODED_NAME, Layout, Stage, artefact_name, missing_score_name
from reasoning_anatomy.run.manifest import Configuration

Reasons = Mapping[str, Mapping[str, str]]
Plugin = tuple[Stage, str]
"""A scorer or strategy of a run: its stage and its label."""


@dataclass(frozen=True)
class Status:
    """How far a run has come.

    Attributes
    ----------
    n_chains
        Chains of the run.
    n_done
        Chains that have been measured by every scorer and strategy of the run.
    failed
        chain_id -> ``"scorer LABEL"`` or ``"strategy LABEL"`` -> why it could not measure the chain. The next run tries again.
    missing_scores
        scorer label -> chain_id -> why the scorer has no value for the chain, which counts as measured.
    left
        ``"scorer LABEL"`` or ``"strategy LABEL"`` -> how many chains it has neither measured nor failed on.
    """

    n_chains: int
    n_done: int
    failed: Reasons = field(default_factory=dict)
    missing_scores: Reasons = field(default_factory=dict)
    left: Mapping[str, int] = field(default_factory=dict)

    @property
    def n_left(self) -> int:
        """Chains that are neither done nor failed."""
        return self.n_chains - self.n_done - len(self.failed)


@dataclass(frozen=True)
class Inventory:
    """Which artefacts of which chains exist. Folders are listed; no file is opened.

    Attributes
    ----------
    layout
        Of the run.
    names
        chain_id -> names of the files in its folder.
    """

    layout: Layout
    names: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, layout: Layout, chain_ids: Iterable[str]) -> "Inventory":
        """List the folders of these chains."""
        return cls(layout, {chain_id: names_in(layout.chain(chain_id)) for chain_id in chain_ids})

    def is_encoded(self, chain_id: str) -> bool:
        """Whether the ids and spans of a chain exist."""
        return ENCODED_NAME in self.names[chain_id]

    def has(self, chain_id: str, stage: Stage, label: str) -> bool:
        """Whether a chain has been measured by a scorer or strategy; a scorer's reason for having no value counts."""
        return not _names_of(stage, label).isdisjoint(self.names[chain_id])

    def measured(self, configuration: Configuration) -> list[str]:
        """chain_id of every chain on which any plugin of the configuration has measured something, in the order of the run."""
        wanted = plugins_of(configuration)
        return [
            chain_id
            for chain_id in self.names
            if self.is_encoded(chain_id) and (not wanted or any(self.has(chain_id, *plugin) for plugin in wanted))
        ]

    def lacking(self, configuration: Configuration) -> dict[str, list[Plugin]]:
        """Scorers and strategies that have not measured a chain, by chain_id."""
        files = {plugin: _names_of(*plugin) for plugin in plugins_of(configuration)}
        return {
            chain_id: [plugin for plugin, wanted in files.items() if wanted.isdisjoint(names)]
            for chain_id, names in self.names.items()
        }

    def begun_and_done(self, configuration: Configuration) -> list[tuple[str, str]]:
        """Every chain_id and strategy of a path that is there beside its first deletions."""
        begun = {label: self.layout.begun_path("", label).name for label in configuration.strategies}
        return [
            (chain_id, label)
            for chain_id, names in self.names.items()
            for label, name in begun.items()
            if name in names and self.has(chain_id, "path", label)
        ]

    def status(self, configuration: Configuration) -> Status:
        """Count from the names of files; only reasons are read."""
        lacking = self.lacking(configuration)
        failed = {chain_id: reasons for chain_id, plugins in lacking.items() if (reasons := self._failures(chain_id, plugins))}
        left = Counter(
            name
            for chain_id, plugins in lacking.items()
            for name in map(_in_words, plugins)
            if name not in failed.get(chain_id, {})
        )
        return Status(
            n_chains=len(self.names),
            n_done=len([chain_id for chain_id in self.measured(configuration) if not lacking[chain_id]]),
            failed=failed,
            missing_scores=self._missing_scores(configuration),
            left=dict(left),
        )

    def _failures(self, chain_id: str, lacking: Sequence[Plugin]) -> dict[str, str]:
        if not lacking or not (names := names_in(self.layout.failures(chain_id))):
            return {}
        paths = {_in_words(plugin): self.layout.failure(chain_id, *plugin) for plugin in lacking}
        reasons = {name: reason_if_any(path) for name, path in paths.items() if path.name in names}
        return {name: reason for name, reason in reasons.items() if reason is not None}

    def _missing_scores(self, configuration: Configuration) -> Reasons:
        by_label = {
            label: {
                chain_id: read_reason(self.layout.missing_score(chain_id, label))
                for chain_id, names in self.names.items()
                if missing_score_name(label) in names
            }
            for label in configuration.scorers
        }
        return {label: reasons for label, reasons in by_label.items() if reasons}


def plugins_of(configuration: Configuration) -> list[Plugin]:
    """Stage and label of everything that measures a chain."""
    return [*(("score", label) for label in configuration.scorers), *(("path", label) for label in configuration.strategies)]


def read_reason(path: Path) -> str:
    """Read why a chain has no score or path; `RunError` if the file is damaged."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["reason"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: cannot be read ({error}); delete the file and run the same command again") from error


def _names_of(stage: Stage, label: str) -> frozenset[str]:
    """Names of the files of which one is there when a plugin has measured a chain."""
    return frozenset([artefact_name(stage, label)] + ([missing_score_name(label)] if stage == "score" else []))


def reason_if_any(path: Path) -> str | None:
    """Read why something failed; None if another process has begun to try it again since the folder was listed."""
    try:
        return read_reason(path)
    except RunError:
        if path.exists():
            raise
        return None


def names_in(folder: Path) -> frozenset[str]:
    """List the names of a folder's files; none if it does not exist."""
    try:
        return frozenset(entry.name for entry in os.scandir(folder))
    except FileNotFoundError:
        return frozenset()


def _in_words(plugin: Plugin) -> str:
    stage, label = plugin
    return f"{'scorer' if stage == 'score' else 'strategy'} {label}"
