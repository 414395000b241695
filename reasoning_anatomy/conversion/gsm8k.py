"""GSM8K."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from reasoning_anatomy.answers.marks import HASHES, cut_once
from reasoning_anatomy.conversion._gsm8k_marks import without_calculations
from reasoning_anatomy.conversion._samples import Row, Sample
from reasoning_anatomy.errors import UnusableError


@dataclass(frozen=True, kw_only=True)
class Gsm8k:
    """GSM8K: the solution of a teacher is cut at "####", and the marks of the calculator are left out.

    References
    ----------
    Cobbe et al., Training Verifiers to Solve Math Word Problems, arXiv:2110.14168.
    """

    keys: ClassVar[tuple[tuple[str, ...], ...]] = (("question", "answer"),)

    def convert(self, row: Row) -> Iterator[Sample]:
        """Cut the solution."""
        cut = cut_once(row.text("answer"), HASHES)
        if cut is None:
            raise UnusableError(f"has no reasoning: its answer does not hold {HASHES!r} once; generate the reasoning first")
        solution, answer = cut
        yield Sample(
            question=row.text("question"),
            reasoning=without_calculations(solution),
            answer=answer.strip(),
            gold_answer=answer.strip(),
            did=(f"the solution was cut at {HASHES!r}, without marks of the calculator",),
        )
