"""Arrays, and facts about them, in one file: whole or absent, checked when it is read."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.files import write_atomic

_METADATA_KEY: Final = "reasoning_anatomy"


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any], *, fingerprint: str) -> None:
    """Write arrays by name with facts that JSON can hold; `read_arrays` refuses the file under another fingerprint."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    metadata = {"fingerprint": fingerprint, **facts, "digest": _digest(contiguous)}
    write_atomic(path, save(contiguous, metadata={_METADATA_KEY: json.dumps(metadata)}))


def read_arrays(path: Path, *, fingerprint: str | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read arrays and facts; to be called inside `refusing_damage`.

    Raises
    ------
    RunError
        The file has another fingerprint than the one that is asked for.
    """
    with safe_open(path, framework="numpy") as file:
        facts: dict[str, Any] = json.loads((file.metadata() or {})[_METADATA_KEY])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    if fingerprint is not None and facts["fingerprint"] != fingerprint:
        raise RunError(f"{path}: measured from another text or configuration; use another run folder")
    if facts["digest"] != _digest(arrays):
        raise ValueError("its numbers are not those that were written")
    return arrays, facts


@contextmanager
def refusing_damage(path: Path, *, remedy: str) -> Iterator[None]:
    """Turn whatever a damaged file leads to into a `RunError` that names it."""
    try:
        yield
    except (SafetensorError, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        raise RunError(f"{path}: cannot be read ({error}); {remedy}") from error


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
