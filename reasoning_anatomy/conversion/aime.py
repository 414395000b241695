"""AIME."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from reasoning_anatomy.conversion._problems import solved_problem
from reasoning_anatomy.conversion._samples import Row, Sample


@dataclass(frozen=True, kw_only=True)
class Aime:
    """AIME: the solution, which people wrote, is the reasoning; the sets without solutions have none."""

    keys: ClassVar[tuple[tuple[str, ...], ...]] = (("id", "problem", "answer"),)

    def convert(self, row: Row) -> Iterator[Sample]:
        """Take the solution as reasoning."""
        yield from solved_problem(row)
