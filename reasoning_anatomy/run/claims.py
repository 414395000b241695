"""Who works on what: processes that share a run take each piece of work once."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from reasoning_anatomy.files import remove_temporary

_MOMENT: Final = 0.05
"""Seconds for which `is_held` cannot be mistaken for a process that works; it needs a few microseconds."""


@contextmanager
def claimed(lock: Path, targets: Iterable[Path], *, wait: bool = False) -> Iterator[bool]:
    """Claim work for as long as the context lasts; True if the claim was granted, False if another process or thread has it.

    A claim ends with its process, however that ends. Once it is granted, check whether the work has been done in the meantime.

    Parameters
    ----------
    lock
        File that stands for the claim.
    targets
        Files that the work writes; what a killed process left beside them is removed.
    wait
        Wait until the claim is free.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    file_lock = FileLock(lock)
    try:
        file_lock.acquire(timeout=-1 if wait else _MOMENT, poll_interval=_MOMENT / 5)
    except Timeout:
        yield False
        return
    try:
        for target in targets:
            remove_temporary(target)
        yield True
    finally:
        file_lock.release()


def is_held(lock: Path) -> bool:
    """Whether a process holds a claim now, as far as the file system of the run says; nothing is changed.

    On Windows it cannot be seen.
    """
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # closing the file ends it
    except BlockingIOError:
        return True
    except OSError:  # gone, or a file system without locks
        return False
    return False
