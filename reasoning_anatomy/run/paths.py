"""The file of a pruning path, complete or begun."""

from pathlib import Path
from typing import Any, Final

from reasoning_anatomy.run.arrays import read_arrays, refusing_damage, write_arrays
from reasoning_anatomy.run.encoded import REMEDY
from reasoning_anatomy.run.origin import Origin, expect_origin
from reasoning_anatomy.types import PruningPath

_ARRAYS: Final = ("deleted", "margin", "nll_answer", "nll_joint", "nll_reasoning", "unit", "unit_score", "other_score")
_FACTS: Final = ("strategy", "n_reasoning", "n_ties", "token_forwards", "token_budget")


def write_path(path: Path, pruning: PruningPath, *, chain_id: str, origin: Origin) -> None:
    """Write a path atomically."""
    about = {name: getattr(pruning, name) for name in _FACTS}
    arrays = {name: array for name in _ARRAYS if (array := getattr(pruning, name)) is not None}
    write_arrays(path, arrays, {"chain_id": chain_id, "origin": origin, "path": about})


def read_path(path: Path, *, origin: Origin, run_folder: Path) -> PruningPath:
    """Read a path; `RunError` if the file is damaged or was made from something else."""
    with refusing_damage(path, remedy=REMEDY):
        arrays, facts = read_arrays(path)
        expect_origin(path, facts, origin, run_folder=run_folder)
        about: dict[str, Any] = {**facts["path"], **arrays}
        return PruningPath(**about)
