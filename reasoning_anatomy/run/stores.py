"""Runs and students in an object store: a local copy is worked on, and what is finished in it is sent to the store."""

import json
import os
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from reasoning_anatomy.claims import claimed
from reasoning_anatomy.errors import MissingError, ReasoningAnatomyError, RunError
from reasoning_anatomy.files import TEMPORARY_PREFIX, atomic_path, write_atomic
from reasoning_anatomy.run.layout import LOCK_NAME, STUDENTS_NAME, file_stem
from reasoning_anatomy.run.manifest import MANIFEST_NAME

CACHE_VARIABLE: Final = "REASONING_ANATOMY_CACHE"
"""Environment variable that names the folder of local copies."""

_SECONDS_BETWEEN: Final = 30.0
_AT_ONCE: Final = 8
_UNFINISHED: Final = (TEMPORARY_PREFIX, "begun-")
_FOLDERS_OF_UNFINISHED: Final = {".claims", "checkpoints"}
"""How names of files begin, and of folders are, that stay on this machine, as claims do."""
_RECORDS: Final = {MANIFEST_NAME, STUDENTS_NAME}
_VERSIONS: Final = ("ETag", "etag", "md5Hash", "mtime", "last_modified", "LastModified", "created")
"""What file systems say of a file; the first that one of them says tells whether the file has changed."""

_Index = dict[str, list[Any]]
"""By name, of what both sides have: version in the store, size and time of the last change here."""


def is_url(place: str) -> bool:
    """Whether a place is a URL, such as ``s3://bucket/run``, and no path of this machine."""
    return "://" in place


@contextmanager
def stored(url: str) -> Iterator[Path]:
    """Work on a run, or on students, in an object store.

    What the store has is fetched into a local copy. What is finished there is sent to the store every 30 seconds, and when the
    context ends, with an error or without; that it could not be sent is added to the error, if there is one. What is not
    finished, such as the first deletions of a path, stays in the local copy, which is kept, so that the same machine goes on
    where it was.

    Parameters
    ----------
    url
        Of a folder, as `fsspec` takes it: ``s3://bucket/run``, ``gs://bucket/run``. Who you are is for the environment to say,
        such as by ``AWS_PROFILE``.

    Yields
    ------
    The local copy: in the folder that the environment variable ``REASONING_ANATOMY_CACHE`` names, or in the user's cache.

    Raises
    ------
    MissingError
        What reads such URLs is not installed.
    RunError
        The URL has a password. Or the store cannot be read or written, or its run was changed elsewhere since it was fetched;
        what was finished here is in the local copy then.
    """
    store = Store(url)
    store.fetch()
    is_over, failures = threading.Event(), set[str]()

    def send_now_and_then() -> None:
        while not is_over.wait(_SECONDS_BETWEEN):
            try:
                store.send()
            except RunError as error:  # it may be possible later
                if str(error) not in failures:
                    failures.add(str(error))
                    warnings.warn(str(error), stacklevel=1)

    sender = threading.Thread(target=send_now_and_then, daemon=True)
    sender.start()
    try:
        yield store.folder
    except BaseException as error:
        is_over.set()
        sender.join()
        try:
            store.send()
        except RunError as unsent:
            error.add_note(str(unsent))
        raise
    is_over.set()
    sender.join()
    store.send()


@dataclass(frozen=True)
class Store:
    """A folder in an object store, and its local copy.

    Attributes
    ----------
    url
        Of the folder in the store.
    """

    url: str

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if "@" in parts.netloc or parts.query:
            raise RunError(
                f"{parts.scheme}://...: has a user, a password or options; give the bucket and the folder alone, and let the "
                "environment say who you are, such as by AWS_PROFILE"
            )

    @property
    def folder(self) -> Path:
        """Local copy."""
        cache = os.environ.get(CACHE_VARIABLE) or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "reasoning_anatomy")
        return Path(cache).expanduser() / file_stem(self.url.rstrip("/"))

    def fetch(self) -> list[str]:
        """Bring what has changed in the store, and remove what it has no longer; return the names of all that."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._index() as index:
            there = self._versions_there()
            gone = [name for name in index if name not in there]
            if gone and not _RECORDS.intersection(there):
                raise RunError(
                    f"{self.url}: has lost its record, which {self.folder} has; copy that there, or delete it to begin anew"
                )
            for name in gone:
                (self.folder / name).unlink(missing_ok=True)
                del index[name]
            changed = [
                name
                for name, version in there.items()
                if name not in index or index[name][0] != version or not (self.folder / name).exists()
            ]
            for name, stamp in zip(changed, self._at_once(self._get, changed), strict=True):
                index[name] = [there[name], *stamp]
        return gone + changed

    def send(self) -> list[str]:
        """Send what has changed here and is finished, and remove what is here no longer; return the names of all that."""
        with self._index() as index:
            here = {name: _stamp(path) for path in self.folder.rglob("*") if (name := self._finished(path))}
            changed = [name for name, stamp in here.items() if name not in index or index[name][1:] != stamp]
            gone = [name for name in index if name not in here]
            if gone and not _RECORDS.intersection(here):
                raise RunError(f"{self.folder}: has lost its record; delete the folder, and {self.url} is fetched again")
            shared = [name for name in (*changed, *gone) if "/" not in name]
            self._expect_unchanged(sorted(shared, key=lambda name: (name not in _RECORDS, name)), index)
            for rank in range(3):
                names = [name for name in changed if _rank(name) == rank]
                for name, version in zip(names, self._at_once(self._put, names), strict=True):
                    index[name] = [version, *here[name]]
            for name in gone:
                self._files.rm_file(f"{self._root}/{name}")
                del index[name]
        return changed + gone

    @contextmanager
    def _index(self) -> Iterator[_Index]:
        """Read what both sides have, for one process at a time, and keep what comes of it even if something fails."""
        beside = self.folder.with_name(f"{self.folder.name}.json")
        with claimed(beside.with_suffix(".lease"), wait=True):
            index: _Index = json.loads(beside.read_text(encoding="utf-8")) if beside.exists() else {}
            try:
                yield index
            except ReasoningAnatomyError:
                raise
            except Exception as error:  # file systems have errors of their own
                what = f"{type(error).__name__}: {error}"
                raise RunError(f"{self.url}: cannot be used ({what}); {self._then}") from error
            finally:
                write_atomic(beside, json.dumps(index))

    @property
    def _then(self) -> str:
        return f"what is finished is in {self.folder}, and the same command goes on from there"

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        try:
            from fsspec.core import url_to_fs  # type: ignore[import-untyped]

            files, root = url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise MissingError(f"{self.url}: cannot be opened ({error}); pip install 'reasoning-anatomy[stored]'") from error
        return files, root

    @property
    def _files(self) -> Any:
        return self._opened[0]

    @property
    def _root(self) -> str:
        return self._opened[1].rstrip("/")

    def _versions_there(self) -> dict[str, str]:
        self._files.invalidate_cache()
        found = self._files.find(self._root, detail=True)
        versions = {path[len(self._root) + 1 :]: _version(info) for path, info in found.items()}
        for name in versions:
            if not (self.folder / name).resolve().is_relative_to(self.folder.resolve()):
                raise RunError(f"{self.url}: has a file whose name leads out of its folder ({name!r}); remove it there")
        return versions

    def _expect_unchanged(self, names: list[str], index: _Index) -> None:
        """Refuse to replace what somebody else has changed; the files of one chain are the same, whoever makes them."""
        self._files.invalidate_cache()
        for name in names:
            path = f"{self._root}/{name}"
            version = _version(self._files.info(path)) if self._files.exists(path) else None
            if version != (index[name][0] if name in index else None):
                raise RunError(
                    f"{self.url}/{name}: was changed elsewhere since it was fetched; let one machine at a time work on a run "
                    f"in a store, and give every other one a run of its own (reasoning-anatomy merge); {self._then}"
                )

    def _finished(self, path: Path) -> str:
        """Name of a file that is finished; empty for any other."""
        name = path.relative_to(self.folder)
        is_unfinished = path.name.startswith(_UNFINISHED) or path.name.endswith(LOCK_NAME)
        if is_unfinished or not _FOLDERS_OF_UNFINISHED.isdisjoint(name.parts) or not path.is_file():
            return ""
        return name.as_posix()

    @staticmethod
    def _at_once(call: Any, names: list[str]) -> Iterator[Any]:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            yield from pool.map(call, names)

    def _get(self, name: str) -> list[int]:
        with atomic_path(self.folder / name) as temporary:
            self._files.get_file(f"{self._root}/{name}", str(temporary))
        return _stamp(self.folder / name)

    def _put(self, name: str) -> str:
        path = f"{self._root}/{name}"
        try:
            self._files.put_file(str(self.folder / name), path)
        except FileNotFoundError:  # of file systems that have folders
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._files.put_file(str(self.folder / name), path)
        return _version(self._files.info(path))


def _stamp(path: Path) -> list[int]:
    about = path.stat()
    return [about.st_size, about.st_mtime_ns]


def _version(info: dict[str, Any]) -> str:
    return f"{next((info[name] for name in _VERSIONS if info.get(name)), '')} {info['size']}"


def _rank(name: str) -> int:
    """Say what is sent first: records, and tables last, so that who reads meanwhile finds a run that is not finished."""
    if "/" in name:
        return 1
    return 0 if name.endswith((".json", ".jsonl")) else 2
