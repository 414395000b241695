"""A file that the merged run has from one of the runs."""

import filecmp
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasoning_anatomy.files import atomic_path, write_atomic
from reasoning_anatomy.run.arrays import refusing_damage
from reasoning_anatomy.run.evaluations import REMEDY
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.merging.together import contradiction


@dataclass(frozen=True)
class Copy:
    """A file of the merged run.

    Attributes
    ----------
    source, target
        The file that it comes from, and itself.
    chain_id
        Stands in the file in place of that of the source, if it is not empty.
    replaces
        Whether it takes the place of a file that holds a part of the same.
    """

    source: Path
    target: Path
    chain_id: str = ""
    replaces: bool = False

    def make(self) -> None:
        """Write the file, unless it is there."""
        if self.target.exists() and (not self.replaces or self.target.samefile(self.source)):
            return
        if self.chain_id:
            facts = {**read_json(self.source), "chain_id": self.chain_id}
            write_atomic(self.target, json.dumps(facts, ensure_ascii=False, separators=(",", ":")) + "\n")
            return
        with atomic_path(self.target) as temporary:
            shutil.copyfile(self.source, temporary)


def once(files: Sequence[tuple[Run, Path]], target: Path, chain_id: str, what: str) -> Iterator[Copy]:
    """Take a file that several runs have once; `RunError` if it is not the same in all."""
    for run, path in files[1:]:
        if not are_equal(files[0][1], path):
            raise contradiction(run, files[0][0], f"chain {chain_id!r} has other {what}")
    if files:
        yield Copy(files[0][1], target)


def are_equal(one: Path, other: Path) -> bool:
    """Whether two files have the same bytes."""
    return filecmp.cmp(one, other, shallow=False)


def read_json(path: Path) -> dict[str, Any]:
    """Read a file of answers or of a text; `RunError` if it is damaged."""
    with refusing_damage(path, remedy=REMEDY):
        return dict(json.loads(path.read_text(encoding="utf-8")))
