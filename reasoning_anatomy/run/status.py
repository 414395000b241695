"""How far a run has come, counted from the names of its files."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.run.layout import Layout, Stage
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
        return self.layout.encoded(chain_id).name in self.names[chain_id]

    def has(self, chain_id: str, stage: Stage, label: str) -> bool:
        """Whether a chain has been measured by a scorer or strategy; a scorer's reason for having no value counts."""
        names = self.names[chain_id]
        artefact = self.layout.artefact(chain_id, stage, label).name
        return artefact in names or (stage == "score" and self.layout.missing_score(chain_id, label).name in names)

    def measured(self, configuration: Configuration) -> list[str]:
        """chain_id of every chain on which any plugin of the configuration has measured something, in the order of the run."""
        wanted = plugins_of(configuration)
        return [
            chain_id
            for chain_id in self.names
            if self.is_encoded(chain_id) and (not wanted or any(self.has(chain_id, *plugin) for plugin in wanted))
        ]

    def status(self, configuration: Configuration) -> Status:
        """Count from the names of files; only reasons are read."""
        lacking = {
            chain_id: [plugin for plugin in plugins_of(configuration) if not self.has(chain_id, *plugin)]
            for chain_id in self.names
        }
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

    def _failures(self, chain_id: str, lacking: Iterable[Plugin]) -> dict[str, str]:
        paths = {_in_words(plugin): self.layout.failure(chain_id, *plugin) for plugin in lacking}
        return {name: read_reason(path) for name, path in paths.items() if path.exists()}

    def _missing_scores(self, configuration: Configuration) -> Reasons:
        by_label = {
            label: {
                chain_id: read_reason(self.layout.missing_score(chain_id, label))
                for chain_id, names in self.names.items()
                if self.layout.missing_score(chain_id, label).name in names
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


def names_in(folder: Path) -> frozenset[str]:
    """List the names of a folder's files; none if it does not exist."""
    try:
        return frozenset(entry.name for entry in os.scandir(folder))
    except FileNotFoundError:
        return frozenset()


def _in_words(plugin: Plugin) -> str:
    stage, label = plugin
    return f"{'scorer' if stage == 'score' else 'strategy'} {label}"
