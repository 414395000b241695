"""One label by a person, in whatever file it was, and what is wrong with such labels."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from reasoning_anatomy.errors import AnnotationError

_LISTED: Final = 20


@dataclass(frozen=True)
class LabelledRow:
    """A unit and its category as a file gives them.

    Attributes
    ----------
    where
        Its place in the file, for messages.
    chain_id, start, end
        Which unit it labels: half-open characters of the reasoning.
    text
        Text of the unit, to be compared with the run.
    category
        As written; empty if the unit is not labelled.
    """

    where: str
    chain_id: str
    start: int
    end: int
    text: str
    category: str


@dataclass
class Problems:
    """What is wrong with a file, collected so that all of it can be repaired at once."""

    path: Path
    found: list[str] = field(default_factory=list)

    def add(self, where: str, problem: str) -> None:
        """Add one problem."""
        self.found.append(f"{where}: {problem}")

    def raise_any(self) -> None:
        """Raise `AnnotationError` with the first problems, one per line; do nothing if there are none."""
        if self.found:
            listed = "\n  ".join(self.found[:_LISTED])
            more = f"\n  and {len(self.found) - _LISTED} more" if len(self.found) > _LISTED else ""
            raise AnnotationError(f"{self.path}: nothing was imported, {len(self.found)} to repair\n  {listed}{more}")
