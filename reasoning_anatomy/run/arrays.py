"""Arrays, and facts about them, in one file: whole or absent, read in parts, and checked as far as they are read."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.files import write_atomic

Arrays = dict[str, npt.NDArray[Any]]
Facts = dict[str, Any]

_METADATA_KEY: Final = "reasoning_anatomy"


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]], facts: Mapping[str, Any]) -> None:
    """Write arrays by name with facts that JSON can hold."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    digests = {name: _digest(array) for name, array in contiguous.items()}
    write_atomic(path, save(contiguous, metadata={_METADATA_KEY: json.dumps({**facts, "digests": digests})}))


def read_facts(path: Path) -> Facts:
    """Read only the facts, however large the file is; call it inside `refusing_damage`."""
    with safe_open(path, framework="numpy") as file:
        facts: Facts = json.loads((file.metadata() or {})[_METADATA_KEY])
    return facts


def read_arrays(path: Path, names: Sequence[str] | None = None) -> tuple[Arrays, Facts]:
    """Read the facts, and all arrays or only those that are named; call it inside `refusing_damage`."""
    with safe_open(path, framework="numpy") as file:
        facts: Facts = json.loads((file.metadata() or {})[_METADATA_KEY])
        arrays = {name: file.get_tensor(name) for name in (file.keys() if names is None else names)}
    if any(facts["digests"][name] != _digest(array) for name, array in arrays.items()):
        raise ValueError("its numbers are not those that were written")
    return arrays, facts


def digest_of(facts: Facts) -> str:
    """Digest of all arrays of a file, from its facts."""
    return hashlib.sha256(json.dumps(facts["digests"], sort_keys=True).encode()).hexdigest()


@contextmanager
def refusing_damage(path: Path, *, remedy: str) -> Iterator[None]:
    """Turn any error that a damaged file leads to into a `RunError` that names the file."""
    try:
        yield
    except (SafetensorError, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        raise RunError(f"{path}: cannot be read ({error}); {remedy}") from error


def _digest(array: npt.NDArray[Any]) -> str:
    about = f"{array.dtype} {array.shape}".encode()
    return hashlib.sha256(about + np.ascontiguousarray(array).tobytes()).hexdigest()
