"""All that was measured on one chain, and its file."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from reasoning_anatomy.run.arrays import read_arrays, refusing_damage, write_arrays
from reasoning_anatomy.types import AttentionProfile, EncodedChain, Float32Array, FloatArray, PruningPath, ReasoningChain

_LARGEST_EXPONENT: Final = 15  # float16 ends below 2**16
_CHAIN_ARRAYS: Final = ("prompt_ids", "reasoning_ids", "answer_ids", "spans")
_PATH_ARRAYS: Final = ("deleted", "margin", "nll_answer", "nll_joint", "nll_reasoning")
_PROFILE_FACTS: Final = ("scorer", "queries", "normalisation", "full_precision")
_PATH_FACTS: Final = ("strategy", "n_ties", "token_forwards", "token_budget")


@dataclass(frozen=True, eq=False)
class Measurement:
    """The arrays of one chain.

    Attributes
    ----------
    encoded
        Token ids and spans.
    scores
        (n,) per scorer label; higher = more important. All NaN where the scorer has no value for the chain.
    profiles
        Per scorer label, where the scorer has one value per layer and head.
    paths
        Per strategy label.
    begun
        Paths that were still being made when this was written, per strategy label.
    missing_scores
        Reason per scorer label, where the scorer has no value for the chain.
    """

    encoded: EncodedChain
    scores: Mapping[str, FloatArray] = field(default_factory=dict)
    profiles: Mapping[str, AttentionProfile] = field(default_factory=dict)
    paths: Mapping[str, PruningPath] = field(default_factory=dict)
    begun: Mapping[str, PruningPath] = field(default_factory=dict)
    missing_scores: Mapping[str, str] = field(default_factory=dict)


def file_name(chain_id: str) -> str:
    """Return the name of a chain's file: readable where the id is, unique always, and never a path out of the folder."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", chain_id).strip("-")[:48]
    digest = hashlib.sha256(chain_id.encode()).hexdigest()[:12]
    return f"{readable}-{digest}.safetensors" if readable else f"{digest}.safetensors"


def chain_digest(chain: ReasoningChain) -> str:
    """Digest of the text that a measurement depends on."""
    parts = [chain.system_prompt, chain.question, chain.reasoning, chain.answer]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def write_measurement(path: Path, measurement: Measurement, *, fingerprint: str) -> None:
    """Write one chain's file atomically.

    Parameters
    ----------
    path
        Target.
    measurement
        Its arrays become tensors named ``spans``, ``score/<label>``, ``attention/<label>``, ``path/<label>/<array>``;
        attention in half precision, see `pack`, unless the profile asks for full.
    fingerprint
        Of the configuration and the chain; `read_measurement` refuses the file under any other.
    """
    tensors = {name: getattr(measurement.encoded, name) for name in _CHAIN_ARRAYS}
    tensors |= {f"score/{label}": np.asarray(score, dtype=np.float64) for label, score in measurement.scores.items()}
    for label, profile in measurement.profiles.items():
        if profile.full_precision:
            tensors[f"attention/{label}"] = profile.received
        else:
            tensors[f"attention/{label}"], tensors[f"attention_scale/{label}"] = pack(profile.received)
    paths = {**measurement.paths, **measurement.begun}
    for label, pruning in paths.items():
        tensors |= {f"path/{label}/{name}": getattr(pruning, name) for name in _PATH_ARRAYS}
    facts = {
        "chain_id": measurement.encoded.chain_id,
        "scores": list(measurement.scores),
        "profiles": {
            label: {name: getattr(profile, name) for name in _PROFILE_FACTS} for label, profile in measurement.profiles.items()
        },
        "paths": {label: {name: getattr(pruning, name) for name in _PATH_FACTS} for label, pruning in paths.items()},
        "begun": list(measurement.begun),
        "missing_scores": dict(measurement.missing_scores),
    }
    write_arrays(path, tensors, facts, fingerprint=fingerprint)


def read_measurement(path: Path, chain: ReasoningChain, *, fingerprint: str | None = None) -> Measurement:
    """Read one chain's file.

    Parameters
    ----------
    path
        Where it is.
    chain
        The text that was measured.
    fingerprint
        Of the configuration and the chain, where it must be this one.

    Raises
    ------
    RunError
        The file is damaged, or was made from another text or with another configuration.
    """
    with refusing_damage(path, remedy="delete the file and run the same command again"):
        arrays, facts = read_arrays(path, fingerprint=fingerprint)
        return _assemble(chain, facts, arrays)


def pack(received: Float32Array) -> tuple[npt.NDArray[np.float16], Float32Array]:
    """Halve the precision of attention (layers, heads, n), with a scale for each head that spares it the loss of small values.

    Returns
    -------
    (layers, heads, n) float16, and (layers, heads) float32 powers of two, whose product is within a relative 2**-11 of
    what is packed wherever that is 2**-28 of the head's largest value or more; below, it is within 2**-39 of that value.
    Packing again what was packed gives the same bytes.
    """
    fraction, exponent = np.frexp(np.abs(received).max(axis=2))
    exponent = np.where(fraction.astype(np.float16) == 1, exponent + 1, exponent)  # it will be rounded up
    scale = np.ldexp(np.float32(1), np.clip(exponent - _LARGEST_EXPONENT, -126, 127))
    return (received / scale[..., None]).astype(np.float16), scale


def unpack(packed: npt.NDArray[np.float16], scale: Float32Array) -> Float32Array:
    """Return the (layers, heads, n) float32 attention that was packed."""
    return packed.astype(np.float32) * scale[..., None]


def _assemble(chain: ReasoningChain, facts: dict[str, Any], arrays: dict[str, Any]) -> Measurement:
    if facts["chain_id"] != chain.chain_id:
        raise ValueError(f"it holds chain {facts['chain_id']!r}, not {chain.chain_id!r}")
    encoded = EncodedChain(chain, *(arrays[name] for name in _CHAIN_ARRAYS))
    paths = {
        label: PruningPath(
            n_reasoning=encoded.n_reasoning, **of_path, **{name: arrays[f"path/{label}/{name}"] for name in _PATH_ARRAYS}
        )
        for label, of_path in facts["paths"].items()
    }
    return Measurement(
        encoded=encoded,
        scores={label: arrays[f"score/{label}"] for label in facts["scores"]},
        profiles={label: _profile(label, of_profile, arrays) for label, of_profile in facts["profiles"].items()},
        paths={label: path for label, path in paths.items() if label not in facts["begun"]},
        begun={label: paths[label] for label in facts["begun"]},
        missing_scores=dict(facts["missing_scores"]),
    )


def _profile(label: str, facts: dict[str, Any], arrays: dict[str, Any]) -> AttentionProfile:
    stored = arrays[f"attention/{label}"]
    received = stored if facts["full_precision"] else unpack(stored, arrays[f"attention_scale/{label}"])
    return AttentionProfile(received=received, **facts)
