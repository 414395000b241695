"""From the categories of a text's units to those of any model's tokens."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.errors import AnnotationError
from reasoning_anatomy.types import IntArray

_LINE_BREAK: Final = re.compile(r"[\n\r\v\f\u0085\u2028\u2029]")
NO_UNIT: Final = -1
"""The unit of a span that has none."""


def deciding_units(
    spans: IntArray,
    units: Sequence[tuple[int, int]],
    category: Sequence[str],
    *,
    in_formula: Sequence[bool] | None = None,
    text: str = "",
) -> list[int]:
    """Index of the unit that decides each span, `NO_UNIT` if none does.

    A span takes the unit that it overlaps most. A span without a visible character belongs to no unit; it takes the next
    unit on its line, as a leading space does in models that keep it inside the token. After a line break it takes nothing,
    except inside a formula that continues.

    Parameters
    ----------
    spans
        (n, 2) half-open character spans, in any order; they may share characters or be empty.
    units
        Half-open spans of the units, from left to right, without overlap; whitespace belongs to none.
    category
        Category of each unit. If a span overlaps two units equally, the category that is earlier in rule 10 wins.
    in_formula
        Whether each unit is in a delimited formula.
    text
        The text that spans and units refer to. Without it no line is known, and a span without a visible character has a
        unit only inside a formula.
    """
    starts = [start for start, _ in units]
    inside = [False] * len(units) if in_formula is None else in_formula
    breaks = [match.start() for match in _LINE_BREAK.finditer(text)] if text else None
    owners: dict[tuple[int, int], int] = {}
    for start, end in spans.tolist():
        if (start, end) not in owners:
            index = _most_overlapped(start, end, starts, units, category)
            owners[start, end] = _next_unit(start, starts, inside, breaks) if index == NO_UNIT else index
    return [owners[start, end] for start, end in spans.tolist()]


def check_spans(spans: npt.ArrayLike, length: int) -> IntArray:
    """Spans as an (n, 2) array; `AnnotationError` names the first one that does not fit a text of this length."""
    try:
        array = np.asarray(spans)
        array = array.reshape(0, 2) if array.size == 0 else array
    except ValueError as error:
        raise AnnotationError(f"spans are not pairs (start, end) of character offsets: {error}") from error
    if array.ndim != 2 or array.shape[1] != 2 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise AnnotationError(f"spans have shape {array.shape} and type {array.dtype}, expected (n, 2) integers: start and end")
    starts, ends = array.T
    wrong = np.flatnonzero((starts < 0) | (ends > length) | (starts > ends))
    if wrong.size:
        first = int(wrong[0])
        start, end = int(starts[first]), int(ends[first])
        reason = "ends before it starts" if start > end else f"is outside the text of {length} characters"
        raise AnnotationError(
            f"span {first} = ({start}, {end}) {reason}; give half-open character offsets into the text that is annotated"
        )
    return array.astype(np.int64)


def _most_overlapped(start: int, end: int, starts: list[int], units: Sequence[tuple[int, int]], category: Sequence[str]) -> int:
    first = max(bisect_right(starts, start) - 1, 0)
    best: tuple[int, int, int] | None = None
    for index in range(first, len(units)):
        unit_start, unit_end = units[index]
        if unit_start >= end:
            break
        overlap = min(end, unit_end) - max(start, unit_start)
        if overlap > 0:
            best = max(best or (0, 0, 0), (overlap, -CATEGORIES.index(category[index]), -index))
    return NO_UNIT if best is None else -best[2]


def _next_unit(start: int, starts: list[int], inside: Sequence[bool], breaks: list[int] | None) -> int:
    after = bisect_left(starts, start)
    if after == len(starts):
        return NO_UNIT
    in_one_formula = after > 0 and inside[after - 1] and inside[after]
    same_line = breaks is not None and bisect_left(breaks, start) == bisect_left(breaks, starts[after])
    return after if in_one_formula or same_line else NO_UNIT
