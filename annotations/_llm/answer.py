"""Answers of a model, which are not trusted: labels that fit what was asked, and complaints about the rest."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reasoning_anatomy.categories import Category
from reasoning_anatomy.untrusted import one_line

_LISTED: Final = 5
_OBJECT: Final = re.compile(r'\{\s*"')
_MOST_BROKEN: Final = 200
_THOUGHTS: Final = re.compile(r"\A(?:\s*<think>)?[^{]*?</think>|\A\s*<think>.*?</think>", re.DOTALL)


class LabelledUnit(BaseModel):
    """What a model says about one unit: the unit's number, its category, how sure the model is, and why."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    unit: int
    category: Category
    confidence: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    justification: str | None = None


def read_answer(content: str, asked: Mapping[int, str]) -> tuple[dict[int, LabelledUnit], list[str]]:
    """Labels of the units that were asked for, and complaints about the units without a valid one.

    Parameters
    ----------
    content
        The model's reply. Text around the JSON, thoughts in tags and a truncated end are forgiven: every complete label
        counts.
    asked
        Text of the units by number. A label must copy it, so that no label slips to a neighbour.
    """
    labels: dict[int, LabelledUnit] = {}
    complaints = []
    contradicted = set()
    for record in _records(_THOUGHTS.sub("", content, count=1)):
        label = _validated(record, asked)
        if isinstance(label, str):
            complaints.append(label)
        elif label.unit in labels and labels[label.unit].category != label.category:
            complaints.append(f"unit {label.unit} has two categories")
            contradicted.add(label.unit)
        else:
            labels.setdefault(label.unit, label)
    labels = {unit: label for unit, label in labels.items() if unit not in contradicted}
    if missing := [str(unit) for unit in asked if unit not in labels and unit not in contradicted]:
        complaints.append(
            f"unit {', '.join(missing[:_LISTED])}{' and others' if len(missing) > _LISTED else ''} has no valid label"
        )
    return labels, complaints


def _validated(record: dict[str, Any], asked: Mapping[int, str]) -> LabelledUnit | str:
    """Return the label, or what is wrong with it."""
    try:
        label = LabelledUnit.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return f"unit {one_line(str(record.get('unit')), 20)}: {where} is {one_line(repr(first['input']), 40)}: {first['msg']}"
    if label.unit not in asked:
        return f"unit {one_line(str(label.unit), 20)} was not asked for"
    if record.get("text") != asked[label.unit]:
        return f"unit {label.unit} is {asked[label.unit]!r}, not {one_line(repr(record.get('text')), 40)}"
    if label.justification is not None:
        return label.model_copy(update={"justification": one_line(label.justification) or None})
    return label


def _records(content: str) -> Iterator[dict[str, Any]]:
    """JSON objects of a reply that could be a label, from left to right; reading ends after too many that are broken."""
    decoder = json.JSONDecoder()
    position = n_broken = 0
    while n_broken < _MOST_BROKEN and (start := _OBJECT.search(content, position)):
        try:
            value, position = decoder.raw_decode(content, start.start())
        except (ValueError, RecursionError):
            position, n_broken = start.start() + 1, n_broken + 1
            continue
        labels = value.get("labels", [value])
        yield from (label for label in labels if isinstance(label, dict)) if isinstance(labels, list) else ()
