"""The file of a chain's ids and spans."""

from pathlib import Path
from typing import Final

from reasoning_anatomy.run.arrays import read_arrays, refusing_damage, write_arrays
from reasoning_anatomy.run.origin import Origin, expect_origin
from reasoning_anatomy.types import EncodedChain, ReasoningChain

REMEDY: Final = "delete the file and run the same command again"
_ARRAYS: Final = ("prompt_ids", "reasoning_ids", "answer_ids", "spans")


def write_encoded(path: Path, encoded: EncodedChain, *, origin: Origin) -> None:
    """Write ids and spans of a chain atomically."""
    arrays = {name: getattr(encoded, name) for name in _ARRAYS}
    write_arrays(path, arrays, {"chain_id": encoded.chain_id, "origin": origin})


def read_encoded(path: Path, chain: ReasoningChain, *, origin: Origin, run_folder: Path) -> EncodedChain:
    """Read ids and spans of a chain; `RunError` if the file is damaged or was made from something else."""
    with refusing_damage(path, remedy=REMEDY):
        arrays, facts = read_arrays(path)
        expect_origin(path, facts, origin, run_folder=run_folder)
        return EncodedChain(chain, *(arrays[name] for name in _ARRAYS))
