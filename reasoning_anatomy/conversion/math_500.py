"""MATH-500."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from reasoning_anatomy.conversion._problems import solved_problem
from reasoning_anatomy.conversion._samples import Row, Sample


@dataclass(frozen=True, kw_only=True)
class Math500:
    """MATH-500: the solution, which people wrote, is the reasoning.

    References
    ----------
    Lightman et al., Let's Verify Step by Step, arXiv:2305.20050.
    """

    keys: ClassVar[tuple[tuple[str, ...], ...]] = (("problem", "solution", "answer", "unique_id"),)

    def convert(self, row: Row) -> Iterator[Sample]:
        """Take the solution as reasoning."""
        yield from solved_problem(row)
