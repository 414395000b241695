"""One label of a person, wherever it was written, and what is wrong with such labels."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from reasoning_anatomy.errors import AnnotationError

_TOLD: Final = 20


@dataclass(frozen=True)
class LabelledRow:
    """A unit and its category as a file gives them.

    Attributes
    ----------
    where
        Place in the file, for messages.
    chain_id, start, end
        Which unit: half-open characters of the reasoning.
    text
        Of the unit, to be compared with the run.
    category
        As written; empty = not labelled.
    """

    where: str
    chain_id: str
    start: int
    end: int
    text: str
    category: str


@dataclass
class Problems:
    """What is wrong with a file, collected so that it can be repaired in one go."""

    path: Path
    found: list[str] = field(default_factory=list)

    def add(self, where: str, problem: str) -> None:
        """Note one problem."""
        self.found.append(f"{where}: {problem}")

    def raise_any(self) -> None:
        """Raise `AnnotationError` with the first problems, one a line; do nothing where there is none."""
        if self.found:
            told = "\n  ".join(self.found[:_TOLD])
            more = f"\n  and {len(self.found) - _TOLD} more" if len(self.found) > _TOLD else ""
            raise AnnotationError(f"{self.path}: nothing was imported, {len(self.found)} to repair\n  {told}{more}")
