"""Categories of a text's units carried over to the tokens of any model."""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from annotations.scheme import CATEGORIES, FUNCTION, SYMBOLIC_MATH
from reasoning_anatomy.errors import AnnotationError
from reasoning_anatomy.types import IntArray


def align(
    spans: IntArray, units: Sequence[tuple[int, int]], category: Sequence[str], *, in_formula: Sequence[bool] | None = None
) -> tuple[str, ...]:
    """Category of every span: that of the unit it overlaps most.

    Parameters
    ----------
    spans
        (n, 2) half-open character spans, in any order; they may share characters or be empty.
    units
        Half-open spans of the units, from left to right, apart; whitespace belongs to none.
    category
        Of every unit. Between units with the same overlap the category earlier in rule 10's order wins.
    in_formula
        Whether every unit lies in a delimited formula. A span without a unit (whitespace, or empty) between two such
        units is ``SYMBOLIC_MATH``, any other ``FUNCTION``.
    """
    starts = [start for start, _ in units]
    inside = [False] * len(units) if in_formula is None else in_formula
    found: dict[tuple[int, int], str] = {}
    for start, end in spans.tolist():
        if (start, end) not in found:
            found[start, end] = _category_of_span(start, end, starts, units, category, inside)
    return tuple(found[start, end] for start, end in spans.tolist())


def check_spans(spans: npt.ArrayLike, length: int) -> IntArray:
    """Spans as an (n, 2) array; `AnnotationError` names the first that does not fit a text of this length."""
    try:
        array = np.asarray(spans)
        array = array.reshape(0, 2) if array.size == 0 else array
    except ValueError as error:
        raise AnnotationError(f"spans are not pairs (start, end) of characters: {error}") from error
    if array.ndim != 2 or array.shape[1] != 2 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise AnnotationError(f"spans have shape {array.shape} and type {array.dtype}, expected (n, 2) integers: start and end")
    starts, ends = array.T
    wrong = np.flatnonzero((starts < 0) | (ends > length) | (starts > ends))
    if wrong.size:
        first = int(wrong[0])
        start, end = int(starts[first]), int(ends[first])
        reason = "ends before it starts" if start > end else f"does not lie in the text of {length} characters"
        raise AnnotationError(
            f"span {first} = ({start}, {end}) {reason}; give half-open character offsets into the same text that is annotated"
        )
    return array.astype(np.int64)


def _category_of_span(
    start: int, end: int, starts: list[int], units: Sequence[tuple[int, int]], category: Sequence[str], inside: Sequence[bool]
) -> str:
    first = max(bisect_right(starts, start) - 1, 0)
    best: tuple[int, int] | None = None
    for index in range(first, len(units)):
        unit_start, unit_end = units[index]
        if unit_start >= end:
            break
        overlap = min(end, unit_end) - max(start, unit_start)
        if overlap > 0:
            best = max(best or (0, 0), (overlap, -CATEGORIES.index(category[index])))
    if best is not None:
        return CATEGORIES[-best[1]]
    after = bisect_right(starts, start)
    is_inside = 0 < after < len(units) and inside[after - 1] and inside[after]
    return SYMBOLIC_MATH if is_inside else FUNCTION
