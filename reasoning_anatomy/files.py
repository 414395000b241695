"""Files that are either whole or absent, whenever the process is killed."""

import glob
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from reasoning_anatomy.errors import RunError

TEMPORARY_PREFIX: Final = ".tmp-"
_RANDOM: Final = 8  # characters that make the names of a target's temporary files unique


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; on success it replaces ``target``, on failure it is removed.

    The content is on the disk before the name is, so that a power cut cannot leave a truncated file.

    Raises
    ------
    RunError
        The file cannot be written: the disk is full, the folder is read-only, ...
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.parent / f"{TEMPORARY_PREFIX}{target.name}-{uuid.uuid4().hex[:_RANDOM]}{target.suffix}"
        temporary.touch(exist_ok=False)
        try:
            yield temporary
            _sync(temporary)
            temporary.replace(target)
            _sync(target.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(
            f"{target}: cannot be written ({error.strerror or error}); make room or choose another place, then run the same "
            "command again: finished work is kept"
        ) from error


def write_atomic(target: Path, content: bytes | str) -> None:
    """Write ``content`` to ``target`` so that readers see the old file or the new one, never a part."""
    data = content.encode() if isinstance(content, str) else content
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)


def remove_temporary(target: Path) -> None:
    """Remove what killed processes left beside a file that no process is writing."""
    for path in target.parent.glob(f"{TEMPORARY_PREFIX}{glob.escape(target.name)}-{'?' * _RANDOM}{glob.escape(target.suffix)}"):
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
