"""Folders as they are named on a command line: by a path, or by a URL of an object store."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Final

from tyro.constructors import PrimitiveConstructorSpec

open_stores: Final = ExitStack()
"""Local copies of the stores that a command names; what was finished in them is sent when it closes."""

_copies: Final[dict[str, Path]] = {}


def _folder_at(place: str) -> Path:
    from reasoning_anatomy.run.stores import is_url, stored

    if not is_url(place):
        return Path(place)
    if place not in _copies:
        _copies[place] = open_stores.enter_context(stored(place))
        open_stores.callback(_copies.pop, place)
    return _copies[place]


Folder = Annotated[
    Path,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="FOLDER",
        instance_from_str=lambda given: _folder_at(given[0]),
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda folder: [str(folder)],
    ),
]
"""Folder of a run or of students: a path, or a URL such as ``s3://bucket/run``, which becomes the path of its local copy."""


def named(folder: Path) -> str:
    """Say where a folder is as the command has named it: the URL, if it is the local copy of a store."""
    return next((place for place, copy in _copies.items() if copy == folder), str(folder))
