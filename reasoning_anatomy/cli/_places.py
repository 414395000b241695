"""Folders as they are named on a command line: by a path, or by a URL of an object store."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Final

from tyro.constructors import PrimitiveConstructorSpec

from reasoning_anatomy.errors import RunError

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


def _local_file(place: str) -> Path:
    from reasoning_anatomy.run.stores import is_url

    if is_url(place):
        raise RunError(f"{place}: is a URL, and this is a local file; name a path, and copy the file there afterwards")
    return Path(place)


def _read_by(call: Callable[[str], Path], metavar: str) -> PrimitiveConstructorSpec[Path]:
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda given: call(given[0]),
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda path: [str(path)],
    )


LocalFile = Annotated[Path, _read_by(_local_file, "FILE")]
"""A file of this machine; a URL is refused, where a path would become a folder of that name."""

Folder = Annotated[Path, _read_by(_folder_at, "FOLDER")]
"""Folder of a run or of students: a path, or a URL such as ``s3://bucket/run``, which becomes the path of its local copy."""


def named(folder: Path) -> str:
    """Say where a folder is as the command has named it: the URL, if it is the local copy of a store."""
    return next((place for place, copy in _copies.items() if copy == folder), str(folder))
