"""Problems with a solution written by people."""

from collections.abc import Iterator

from reasoning_anatomy.conversion._samples import Row, Sample
from reasoning_anatomy.errors import UnusableError


def solved_problem(row: Row) -> Iterator[Sample]:
    """Take the solution as reasoning; a problem without one has no reasoning yet."""
    solution = row.optional("solution")
    if solution is None:
        raise UnusableError("has no reasoning: the data set has problem and answer only; generate the reasoning first")
    yield Sample(
        question=row.text("problem"),
        reasoning=solution,
        answer=row.text("answer"),
        gold_answer=row.text("answer"),
        did=("the solution, which no model wrote, was taken as the reasoning",),
    )
