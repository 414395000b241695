"""LIMO."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from reasoning_anatomy.conversion._samples import Row, Sample


@dataclass(frozen=True, kw_only=True)
class Limo:
    """LIMO: the long solution is the reasoning, the short answer is the answer.

    References
    ----------
    Ye et al., LIMO: Less is More for Reasoning, arXiv:2502.03387.
    """

    keys: ClassVar[tuple[tuple[str, ...], ...]] = (("question", "solution", "answer"),)

    def convert(self, row: Row) -> Iterator[Sample]:
        """Take the solution as reasoning."""
        yield Sample(
            question=row.text("question"),
            reasoning=row.text("solution"),
            answer=row.text("answer"),
            gold_answer=row.text("answer"),
            did=("the solution was taken as the reasoning",),
        )
