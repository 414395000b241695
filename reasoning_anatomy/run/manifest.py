"""``run.json``: what was run on what."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, computed_field, model_validator

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.files import write_atomic

MANIFEST_NAME = "run.json"


class ModelIdentity(BaseModel):
    """Which weights and which text format the numbers come from.

    Attributes
    ----------
    id
        As the user named it.
    revision
        Commit of the hub, where there is one.
    architecture
        Class of the model.
    n_layers, n_heads
        Shape of its attention.
    weights
        Digest of a sample of every parameter.
    template
        Digest of the chat template as rendered around a chain.
    dtype, device, quantization
        How the weights were held.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    revision: str | None
    architecture: str
    n_layers: int
    n_heads: int
    weights: str
    template: str
    dtype: str
    device: str
    quantization: str | None


class Configuration(BaseModel):
    """Everything that the numbers of a run depend on. Two configurations never meet in one folder.

    Attributes
    ----------
    package
        Version of this library.
    model
        The measured model; None where the numbers were imported from a file.
    encoding
        ``repr`` of the encoding options, or where the numbers were imported from.
    scorers, strategies
        ``repr`` by label.
    chains
        Digest of the text of all chains, in order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    package: str
    model: ModelIdentity | None
    encoding: str
    scorers: Mapping[str, str]
    strategies: Mapping[str, str]
    chains: str

    def fingerprint(self) -> str:
        """Digest of the configuration."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()

    def differences(self, other: "Configuration") -> list[str]:
        """``name: ours, theirs`` for every entry that differs."""
        ours, theirs = _flat(self.model_dump()), _flat(other.model_dump())
        return [
            f"{name}: {ours.get(name)!r} there, {theirs.get(name)!r} now"
            for name in sorted(ours.keys() | theirs.keys())
            if ours.get(name) != theirs.get(name)
        ]


class FitRecord(BaseModel):
    """What a scorer chose by, before it scored any chain.

    Attributes
    ----------
    n_questions, n_chains
        How many took part.
    left_out
        Reason by chain_id, for the chains that did not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_questions: int
    n_chains: int
    left_out: Mapping[str, str]


class Manifest(BaseModel):
    """The record of a run.

    Attributes
    ----------
    format
        Version of the folder's layout.
    configuration
        What the numbers depend on.
    versions
        Of Python and the libraries, when the run was begun.
    n_chains, n_done, n_left
        Chains in the run, how many of them are measured, and how many neither measured nor failed.
    failed
        Reason by chain_id, for the chains that could not be measured.
    n_failed
        How many chains could not be measured, by reason.
    missing_scores
        By the label of the scorer, reason by chain_id for the chains of which it has no value, while others have.
    checks
        What was verified on this model before measuring, by name; see ``docs/run-folder.md``.
    fits
        For scorers that look at all chains before they score one, by label, what they found.
    seconds
        Wall time by stage of the process that finished the run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    configuration: Configuration
    versions: Mapping[str, str]
    n_chains: int
    n_done: int = 0
    failed: Mapping[str, str] = Field(default_factory=dict)
    missing_scores: Mapping[str, Mapping[str, str]] = Field(default_factory=dict)
    checks: Mapping[str, float] = Field(default_factory=dict)
    fits: Mapping[str, FitRecord] = Field(default_factory=dict)
    seconds: Mapping[str, float] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _without_computed(cls, facts: Any) -> Any:
        if isinstance(facts, Mapping):
            return {name: value for name, value in facts.items() if name not in cls.model_computed_fields}
        return facts

    @computed_field  # type: ignore[prop-decorator]
    @property
    def n_left(self) -> int:
        """Chains that are neither measured nor failed."""
        return self.n_chains - self.n_done - len(self.failed)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def n_failed(self) -> dict[str, int]:
        """Chains that could not be measured, by reason."""
        return dict(sorted(Counter(self.failed.values()).items()))


def read_manifest(folder: Path) -> Manifest:
    """Read ``run.json``; `RunError` where there is none or it is damaged."""
    path = folder / MANIFEST_NAME
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise RunError(
            f"{folder}: is not a run folder (no {MANIFEST_NAME}); "
            f"make one with: reasoning-anatomy run CHAINS.jsonl --out {folder}"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
        raise RunError(f"{path}: cannot be read ({reason}); restore it or start a new run folder") from error
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}); restore it or start a new run folder") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``run.json`` atomically."""
    write_atomic(folder / MANIFEST_NAME, manifest.model_dump_json(indent=2) + "\n")


def _flat(tree: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    leaves: dict[str, object] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            leaves |= _flat(value, f"{prefix}{name}.")
        else:
            leaves[prefix + name] = value
    return leaves
