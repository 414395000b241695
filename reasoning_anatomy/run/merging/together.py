"""The runs that are merged, side by side: their options and chains, which must agree."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.layout import Layout
from reasoning_anatomy.run.manifest import Configuration, Manifest
from reasoning_anatomy.run.writer import updated_chain
from reasoning_anatomy.types import ReasoningChain

_UNPINNED: Final = ("gold_answer", "is_correct")


@dataclass(frozen=True)
class Together:
    """Runs that are merged.

    Attributes
    ----------
    runs
        In their order; the merged run itself is the first if it exists.
    layout
        Of the merged run.
    without
        Labels of scorers that are left out.
    """

    runs: tuple[Run, ...]
    layout: Layout
    without: frozenset[str] = frozenset()

    @cached_property
    def configuration(self) -> Configuration:
        """Of all runs; `RunError` if they differ, or have no scorer that is to be left out."""
        first = self.runs[0]
        if unknown := self.without - {label for run in self.runs for label in run.manifest.configuration.scorers}:
            raise RunError(f"no run has a scorer {min(unknown)!r} that could be left out")
        merged = self._configuration(first)
        for run in self.runs[1:]:
            try:
                merged = merged.grown(self._configuration(run), whose=(f"in {first.folder}", f"in {run.folder}"))
            except ValueError as error:
                raise RunError(
                    f"{run.folder}: was measured with other options: {error}; measure it again with the same"
                ) from None
        return merged

    def _configuration(self, run: Run) -> Configuration:
        configuration = run.manifest.configuration
        scorers = {label: plugin for label, plugin in configuration.scorers.items() if label not in self.without}
        return configuration.model_copy(update={"scorers": scorers})

    @cached_property
    def chains(self) -> Mapping[str, ReasoningChain]:
        """Of all runs, by chain_id, in the order of the runs; `RunError` if they differ in one."""
        chains: dict[str, ReasoningChain] = {}
        first: dict[str, Run] = {}
        for run in self.runs:
            for chain_id, chain in run.chains.items():
                known = first.setdefault(chain_id, run)
                if chain_id in chains:
                    _expect_same_facts(known, chains[chain_id], run, chain)
                chains[chain_id] = updated_chain(known.folder, chains.get(chain_id), chain)
        return chains

    def with_chain(self, chain_id: str) -> list[Run]:
        """List the runs that have a chain."""
        return [run for run in self.runs if chain_id in run.chains]

    @property
    def manifest(self) -> Manifest:
        """Record of the merged run; versions that differ stand side by side."""
        manifests = [run.manifest for run in self.runs]
        versions: dict[str, list[str]] = {}
        for name, version in (item for manifest in manifests for item in manifest.versions.items()):
            versions.setdefault(name, []).append(version)
        return Manifest(
            package=_side_by_side(manifest.package for manifest in manifests),
            configuration=self.configuration,
            versions={name: _side_by_side(each) for name, each in versions.items()},
        )

    @property
    def checks(self) -> dict[str, float]:
        """Of every check the largest value."""
        checks: dict[str, float] = {}
        for name, value in (item for run in self.runs for item in run.manifest.checks.items()):
            checks[name] = max(value, checks.get(name, value))
        return checks


def contradiction(run: Run, other: Run, what: str) -> RunError:
    """Make the error that two runs have something else under one label; ``what`` ends where "than in" follows."""
    return RunError(
        f"{run.folder}: {what} than in {other.folder}; different numbers under one label are not mixed: leave the chain to one "
        "of the runs, or measure it again in both"
    )


def _expect_same_facts(known: Run, before: ReasoningChain, run: Run, now: ReasoningChain) -> None:
    """Refuse another value of what no measurement is pinned by, if both runs have one."""
    facts = [(name, getattr(before, name), getattr(now, name)) for name in _UNPINNED]
    both = sorted(before.source.keys() & now.source.keys())
    facts += [(f"source.{name}", before.source[name], now.source[name]) for name in both]
    for name, value, other in facts:
        if value is not None and other is not None and value != other:
            raise RunError(
                f"{run.folder}: the {name} of chain {now.chain_id!r} is {other!r}, and {value!r} in {known.folder}; correct it "
                "in one of them, with the command that made it"
            )


def _side_by_side(versions: Iterable[str]) -> str:
    """Versions, each once."""
    return ", ".join(dict.fromkeys(part for version in versions for part in version.split(", ")))
