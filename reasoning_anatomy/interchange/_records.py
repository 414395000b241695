"""The objects of a published file, each with its place."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from reasoning_anatomy import plugins
from reasoning_anatomy.chains import decode, lines, shown, text_of
from reasoning_anatomy.errors import ChainFileError
from reasoning_anatomy.interchange._pruned import Place

Records = Sequence[tuple[Place, Mapping[str, Any]]]


def read_records(file: Path, content: bytes) -> Records:
    """Read the objects of a file: one a line, or a list; what the published pruner says about its own run is skipped."""
    records = [(place, value) for place, value in _values(file, content) if not _is_metadata(value)]
    for place, value in records:
        if not isinstance(value, dict):
            raise place.error(f"is {shown(value)}, expected a JSON object")
    if not records:
        raise ChainFileError(f"{file}: holds no item; expected one JSON object a line, or a list of them")
    return records


def format_of(records: Records) -> str:
    """Return the key of the format that the first record is in; `ChainFileError` if it is in none, or could be in several."""
    place, record = records[0]
    formats = _formats_of(record)
    if len(formats) != 1:
        keys = " and ".join(formats) or f"none of {', '.join(plugins.available('format'))}"
        raise place.error(f"has {keys}, but a file is recognised by one such key; name its format: --format FORMAT")
    return formats[0]


def _values(file: Path, content: bytes) -> Iterator[tuple[Place, Any]]:
    texts = [(number, text_of(file, number, line)) for number, line in lines(content)]
    if texts and texts[0][1].lstrip().startswith("["):
        values = decode(file, 1, content.decode("utf-8-sig"))
        return ((Place(file, "item", number), value) for number, value in enumerate(values, start=1))
    return ((Place(file, "line", number), decode(file, number, text)) for number, text in texts)


def _is_metadata(value: Any) -> bool:
    """Whether an object is what the published pruner writes about its own run."""
    return isinstance(value, dict) and "model_name" in value and not _formats_of(value)


def _formats_of(record: Mapping[str, Any]) -> list[str]:
    """Return the keys of the formats that a record can be in: a format is named after the key that only it has."""
    return [key for key in plugins.available("format") if key in record]
