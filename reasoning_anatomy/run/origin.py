"""What an artefact of a chain was made from: it is pinned by that, and by nothing else."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.run.arrays import Facts, digest_of, read_facts, refusing_damage
from reasoning_anatomy.run.manifest import Configuration
from reasoning_anatomy.types import ReasoningChain

Origin = Mapping[str, Any]
"""By name: digests of the model and of the chain, the encoding, and for scores and paths the ``repr`` of the plugin.
``needs`` has, by path within the run, the digests of other artefacts that it was made from: a fit, the path that it follows."""


def chain_digest(chain: ReasoningChain) -> str:
    """Digest of what a measurement depends on: the text, the steps if they are given, and the id for random numbers."""
    parts: list[Any] = [chain.chain_id, chain.system_prompt, chain.question, chain.reasoning, chain.answer]
    if chain.step_starts is not None:
        parts.append(chain.step_starts)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def question_digest(chain: ReasoningChain) -> str:
    """Digest of what a text depends on that is written anew on the question of a chain."""
    return hashlib.sha256(json.dumps([chain.question_id, chain.system_prompt, chain.question]).encode()).hexdigest()


def origin_of(configuration: Configuration, chain: ReasoningChain, plugin: str | None = None) -> Origin:
    """Return what an artefact of a chain is made from; ``plugin`` is the ``repr`` of the scorer or strategy."""
    model = None if configuration.model is None else configuration.model.digest()
    origin = {"model": model, "encoding": configuration.encoding, "chain": chain_digest(chain)}
    return origin if plugin is None else origin | {"plugin": plugin}


def with_need(origin: Origin, run_folder: Path, needed: Path) -> Origin:
    """Add another artefact of the run to what an artefact is made from."""
    return {**origin, "needs": {needed.relative_to(run_folder).as_posix(): _digest_of_file(needed)}}


def expect_origin(path: Path, facts: Facts, expected: Origin, *, run_folder: Path) -> None:
    """Raise `RunError` if a file was made from something else than the run has; only names in ``expected`` are compared."""
    origin = facts["origin"]
    needs = origin.get("needs", {})
    for name in needs:
        if not (run_folder / name).exists():
            raise RunError(f"{path}: was made from {name}, which is gone; restore it, or delete this file and measure it again")
    differing = [name for name, value in expected.items() if origin[name] != value]
    differing += [name for name, digest in needs.items() if _digest_of_file(run_folder / name) != digest]
    if differing:
        raise RunError(f"{path}: was made from another {differing[0]} than this run has; delete the file and measure it again")


def _digest_of_file(path: Path) -> str:
    with refusing_damage(path, remedy="delete the file and run the same command again"):
        return digest_of(read_facts(path))
