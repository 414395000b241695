"""Who works on what: processes that share a folder, on one machine or on many, take each piece of work once.

A claim is a lease: a file that its holder renews. So it needs no locks of the file system, which network file systems often
lack, and it ends with its process: at once if that was on this machine, after `LEASE_SECONDS` if it was on another. A holder
that was only out of reach for so long may go on; then both write the same bytes.
"""

import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from filelock import SoftFileLease, Timeout

from reasoning_anatomy.files import remove_temporary

LEASE_SECONDS: Final = 30.0
"""After so long without being renewed a claim is free, by the clock of whoever waits for it."""

_SECONDS_BETWEEN_LOOKS: Final = 0.02


@contextmanager
def claimed(marker: Path, targets: Iterable[Path] = (), *, wait: bool = False) -> Iterator[bool]:
    """Claim work for as long as the context lasts; True if the claim was granted, False if another process or thread has it.

    A claim ends with its process, however that ends. Once it is granted, check whether the work has been done in the meantime.

    Parameters
    ----------
    marker
        File that stands for the claim; it is there as long as that is held.
    targets
        Files that the work writes; what a killed process left beside them is removed.
    wait
        Wait until the claim is free. Otherwise only a claim that has long not been renewed is waited for.
    """
    marker.parent.mkdir(parents=True, exist_ok=True)
    lease = SoftFileLease(marker, lease_duration=LEASE_SECONDS, poll_interval=_SECONDS_BETWEEN_LOOKS)
    try:
        lease.acquire(timeout=-1 if wait else _patience(marker))
    except Timeout:
        yield False
        return
    try:
        for target in targets:
            remove_temporary(target)
        yield True
    finally:
        lease.release()


def is_held(marker: Path) -> bool:
    """Whether a process holds a claim now; one of another machine may have ended less than `LEASE_SECONDS` ago.

    Nothing is changed.
    """
    try:
        is_fresh = time.time() - marker.stat().st_mtime <= LEASE_SECONDS
        holder = dict(line.partition("=")[::2] for line in marker.read_text().splitlines())
    except OSError:
        return False
    return is_fresh and (holder.get("host") != socket.gethostname() or _is_alive(int(holder["pid"])))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True


def _patience(marker: Path) -> float:
    """Seconds for which a claim is worth waiting for: none if its holder has renewed it lately."""
    try:
        renewed = marker.stat().st_mtime
    except OSError:
        return 0
    if abs(time.time() - renewed) <= LEASE_SECONDS:
        return 0
    with TemporaryFile(
        dir=marker.parent
    ) as file:  # by the clock of the file system, from which that of this machine may differ
        now = os.fstat(file.fileno()).st_mtime
    return 2 * LEASE_SECONDS if now - renewed > LEASE_SECONDS else 0
