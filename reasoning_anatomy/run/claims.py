"""Who works on what: processes that share a run take each piece of work once."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from reasoning_anatomy.files import remove_temporary


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
        file_lock.acquire(blocking=wait)
    except Timeout:
        yield False
        return
    try:
        for target in targets:
            remove_temporary(target)
        yield True
    finally:
        file_lock.release()
