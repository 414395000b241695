"""Outputs of R-KV."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from reasoning_anatomy.answers.marks import behind_hashes
from reasoning_anatomy.conversion._samples import Row, Sample


@dataclass(frozen=True, kw_only=True)
class RKv:
    """Outputs of R-KV, under full or compressed cache, with the thinking in tags.

    References
    ----------
    Cai et al., R-KV: Redundancy-aware KV Cache Compression for Reasoning Models, arXiv:2505.24133.
    """

    keys: ClassVar[tuple[tuple[str, ...], ...]] = (("question", "output", "answer"), ("problem", "output", "answer"))

    def convert(self, row: Row) -> Iterator[Sample]:
        """Cut the thinking out of the output."""
        gold = row.optional("answer")
        yield Sample(
            question=row.text("question" if row.get("question") else "problem"),
            answer=row.text("output"),
            gold_answer=gold and behind_hashes(gold),
            did=("thinking cut out of the output at its tags",),
        )
