"""Who works on what: processes that share a folder, on one machine or on many, take each piece of work once.

A claim is a lease: a file that only one can create, and that its holder renews. So it needs no locks of the file system, which
network file systems often lack, and it ends with its process: at once if that ran on the machine of whoever asks, else after
`LEASE_SECONDS` without being renewed. Clocks of machines are not compared: whoever waits watches whether the file changes.

A holder that stood still for so long may wake up beside its successor. Both then write the same bytes into files of their own
and put them into place whole. Where one file holds what several processes add, `expect_held` comes before it is written.
"""

import functools
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.files import TEMPORARY_PREFIX, remove_temporary

LEASE_SECONDS: Final = 30.0
"""After so long without being renewed a claim is free, as whoever waits for it sees it."""

_SECONDS_BETWEEN_RENEWALS: Final = LEASE_SECONDS / 3
_SECONDS_BETWEEN_LOOKS: Final = (0.02, 0.5)
_LONG_AGO: Final = 10 * LEASE_SECONDS
"""A claim that is so old when it is first seen is free at once; clocks differ by less."""

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")

_FIRST_SEEN: Final[dict[Path, "tuple[_Seen, float]"]] = {}
"""What this process found at claims that others held, and since when, by its monotonic clock."""


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
        Wait until the claim is free.

    Raises
    ------
    RunError
        The file cannot be written: the disk is full, the folder is read-only, ...
    """
    record = f"host={_host()}\npid={os.getpid()}\nclaim={uuid.uuid4().hex}\n".encode()
    try:
        marker.parent.mkdir(parents=True, exist_ok=True)
        pause, longest = _SECONDS_BETWEEN_LOOKS
        while not (is_ours := _take(marker, record)) and wait:
            time.sleep(pause)
            pause = min(1.5 * pause, longest)  # hundreds may wait for one file
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"{marker}: cannot be written ({reason}); make room, then run the same command again") from error
    if not is_ours:
        yield False
        return
    ended = threading.Event()
    threading.Thread(target=_renew, args=(marker, record, ended), daemon=True).start()
    try:
        for target in targets:
            remove_temporary(target)
        yield True
    finally:
        ended.set()
        with suppress(OSError):  # then it ends by not being renewed
            if (seen := _seen(marker)) and seen.record == record:
                marker.unlink(missing_ok=True)


def is_held(marker: Path) -> bool:
    """Whether a process holds a claim now; one of another machine may have ended less than `LEASE_SECONDS` ago.

    Nothing is changed. Times are compared with the clock of this machine.
    """
    seen = _seen(marker)
    return seen is not None and time.time() - seen.renewed / 1e9 <= LEASE_SECONDS and not seen.is_dead


def expect_held(marker: Path) -> None:
    """Call it before a write that must not undo that of a successor.

    Raises
    ------
    RunError
        The claim went to another process, since this one stood still for too long.
    """
    seen = _seen(marker)
    if seen is None or seen.holder != (_host(), os.getpid()):
        raise RunError(
            f"{marker.parent}: this process stood still for more than {LEASE_SECONDS:.0f} s, and another went on; run the same "
            "command again: finished work is kept"
        )


@dataclass(frozen=True)
class _Seen:
    """A claim as it was seen: what its holder wrote, and when that was renewed, in ns."""

    record: bytes
    renewed: int

    @property
    def holder(self) -> tuple[str, int] | None:
        """Machine and process; None if it was killed before it had written that."""
        lines = dict(line.partition("=")[::2] for line in self.record.decode(errors="replace").splitlines())
        return (lines["host"], int(lines["pid"])) if "claim" in lines else None

    @property
    def is_dead(self) -> bool:
        """Whether the holder ran on this machine, and has ended."""
        return self.holder is not None and self.holder[0] == _host() and not _is_alive(self.holder[1])


def _take(marker: Path, record: bytes) -> bool:
    """Create the file of a claim, if there is none, or none that is held."""
    try:
        with marker.open("xb") as file:
            try:
                file.write(record)
                file.flush()
            except OSError:
                marker.unlink(missing_ok=True)
                raise
    except FileExistsError:
        seen = _seen(marker)
        if seen is None:
            return False
        if _is_free(marker, seen) and _removed(marker, seen):
            return _take(marker, record)
        return False
    _FIRST_SEEN.pop(marker, None)
    return True


def _is_free(marker: Path, seen: _Seen) -> bool:
    if seen.is_dead:
        return True
    before, since = _FIRST_SEEN.get(marker, (None, 0.0))
    if seen == before:
        return time.monotonic() - since >= LEASE_SECONDS
    _FIRST_SEEN[marker] = (seen, time.monotonic())
    return time.time() - seen.renewed / 1e9 > _LONG_AGO


def _removed(marker: Path, seen: _Seen) -> bool:
    """Remove a claim that is free. Of several processes that try it, one succeeds; a claim that is newer is put back."""
    aside = marker.with_name(f"{TEMPORARY_PREFIX}{marker.name}-{uuid.uuid4().hex}")
    try:
        marker.rename(aside)
    except FileNotFoundError:
        return False
    is_same = _seen(aside) == seen
    if not is_same and not marker.exists():
        aside.rename(marker)
    aside.unlink(missing_ok=True)
    return is_same


def _seen(marker: Path) -> _Seen | None:
    """Read a claim; None if there is none. Opening the file makes a network file system ask its server."""
    try:
        with marker.open("rb") as file:
            return _Seen(file.read(), os.fstat(file.fileno()).st_mtime_ns)
    except FileNotFoundError:
        return None


def _renew(marker: Path, record: bytes, ended: threading.Event) -> None:
    while not ended.wait(_SECONDS_BETWEEN_RENEWALS):
        try:
            seen = _seen(marker)
            if seen is None or seen.record != record:
                return
            os.utime(marker)
        except OSError:  # a network file system may answer again
            continue


@functools.cache
def _boot() -> str:
    """Say which start of which machine this is: copies of a machine have one name."""
    try:
        return _BOOT.read_text().strip()
    except OSError:  # not Linux
        return ""


def _host() -> str:
    """Name this machine, and within it those processes that see one another by their ids."""
    try:
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:  # not Linux
        namespace = 0
    return f"{socket.gethostname()}:{namespace}:{_boot()}"


def _is_alive(pid: int) -> bool:
    if sys.platform == "win32":  # cannot be asked
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True
