"""From labels of a text's units to those of tokens, and back."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from annotations._text.alignment import NO_UNIT, deciding_units
from annotations._text.layout import Layout, read_layout
from reasoning_anatomy.categories import CATEGORIES, FUNCTION
from reasoning_anatomy.types import Annotation, IntArray


@dataclass(frozen=True)
class UnitLabels:
    """What an annotator says about every unit of a text.

    Attributes
    ----------
    category
        One per unit; None if it is not labelled.
    confidence, justification, votes
        One per unit as in `Annotation`, or None if the annotator gives none.
    """

    category: Sequence[str | None]
    confidence: Sequence[float] | None = None
    justification: Sequence[str | None] | None = None
    votes: Sequence[int] | None = None


def units_of(text: str) -> list[tuple[int, int]]:
    """Half-open spans of the units that people and models label, from left to right."""
    return [(unit.start, unit.end) for unit in read_layout(text).units]


def to_tokens(text: str, spans: IntArray, labels: UnitLabels, *, annotator: str) -> Annotation:
    """Give every token the label of the unit that it overlaps most, as every annotator does.

    A token that overlaps a unit without a label has no label. In a text with such units, a token without a visible character
    has none either.
    """
    layout = read_layout(text)
    owners = _owners(layout, spans, labels.category)
    without_unit = FUNCTION if None not in labels.category else None
    return Annotation(
        annotator,
        tuple(_of_owners(labels.category, owners, without_unit)),
        confidence=None if labels.confidence is None else np.array(_of_owners(labels.confidence, owners, np.nan)),
        justification=None if labels.justification is None else tuple(_of_owners(labels.justification, owners, None)),
        votes=None if labels.votes is None else np.array(_of_owners(labels.votes, owners, 0), dtype=np.int64),
    )


def from_tokens(units: Sequence[tuple[int, int]], spans: IntArray, category: Sequence[str | None]) -> list[str | None]:
    """Category of every unit: that of most of its characters, ties as in `deciding_units`; None if no token overlaps it."""
    counts: list[Counter[str]] = [Counter() for _ in units]
    for overlaps, chosen in zip(_overlaps(spans, units), category, strict=True):
        for index, n_characters in overlaps.items() if chosen is not None else ():
            counts[index][str(chosen)] += n_characters
    return [min(count, key=lambda name: (-count[name], CATEGORIES.index(name))) if count else None for count in counts]


def _overlaps(spans: IntArray, units: Sequence[tuple[int, int]]) -> list[dict[int, int]]:
    """For each span, the number of characters that it shares with each unit that it overlaps."""
    ends = [end for _, end in units]
    by_span = []
    for start, end in spans.tolist():
        overlaps = {}
        index = bisect_right(ends, start)
        while index < len(units) and units[index][0] < end:
            overlaps[index] = min(end, units[index][1]) - max(start, units[index][0])
            index += 1
        by_span.append(overlaps)
    return by_span


def _owners(layout: Layout, spans: IntArray, category: Sequence[str | None]) -> list[int | None]:
    """Index of the unit that labels each span; None if there is none, or if the span overlaps a unit without a label."""
    units = [(unit.start, unit.end) for unit in layout.units]
    labelled = [index for index, chosen in enumerate(category) if chosen is not None]
    decided = deciding_units(
        spans,
        [units[index] for index in labelled],
        [str(category[index]) for index in labelled],
        in_formula=[layout.formula[index] for index in labelled],
        text=layout.text,
    )
    owners = [None if index == NO_UNIT else labelled[index] for index in decided]
    if len(labelled) == len(units):
        return owners
    is_labelled = [bool(overlaps) and overlaps.keys() <= set(labelled) for overlaps in _overlaps(spans, units)]
    return [owner if labelled_whole else None for owner, labelled_whole in zip(owners, is_labelled, strict=True)]


def _of_owners(values: Sequence[Any], owners: Sequence[int | None], missing: Any) -> list[Any]:
    return [missing if owner is None else values[owner] for owner in owners]
