"""The file that sampled chains go to: a row as soon as it is made, all rows in order at the end, finished after any kill."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from reasoning_anatomy.claims import claimed
from reasoning_anatomy.errors import RunError
from reasoning_anatomy.files import write_atomic
from reasoning_anatomy.specs import EncodingOptions

Row = Mapping[str, Any]

OPTIONS_SUFFIX: Final = ".options.json"


class TakenError(RunError):
    """Another process is adding to a file."""


class SampledChains:
    """A file of sampled chains, opened for adding to it; a context manager, within which no other process may add.

    Beside it, ``<file>.options.json`` says how they were sampled.

    Parameters
    ----------
    path
        The file, absent or as an earlier process left it.
    options
        All that a sample depends on beside its question and number, as JSON can hold it.
    wait
        Wait for another process that adds to the file.
    bound
        Options bind from when they are written, as workers of one command need it; else from the first chain on.

    Attributes
    ----------
    rows
        The chains by chain_id, in the order of the file.

    Raises
    ------
    RunError
        On entering: the file was sampled with other options, or was not written by this class; or another process is adding to
        it (`TakenError`).
    """

    def __init__(self, path: Path, options: Mapping[str, Any], *, wait: bool = False, bound: bool = False) -> None:
        self.path = path
        self._options_path = _options_path(path)
        self._wait = wait
        self._bound = bound
        self._claim = ExitStack()
        self._options = json.loads(json.dumps(options))
        self.rows: dict[str, Row] = {}

    def __enter__(self) -> "SampledChains":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as claim:
            if not claim.enter_context(claimed(_lease(self.path), (self.path, self._options_path), wait=self._wait)):
                raise TakenError(f"{self.path}: another process is adding to it; wait for it, or name another file")
            self._expect_options()
            self.rows = self._read()
            self._claim = claim.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._claim.close()

    def add(self, row: Row) -> None:
        """Write one chain behind the others, to the disk."""
        with self.path.open("ab") as file:
            file.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
        self.rows[row["chain_id"]] = row

    def sort(self, chain_ids: Sequence[str]) -> None:
        """Write the file again with its rows in the order of ``chain_ids``; other rows stay behind them."""
        names = [name for name in chain_ids if name in self.rows]
        self.rows = {name: self.rows[name] for name in [*names, *self.rows]}
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows.values())
        if not self.path.exists() or self.path.read_bytes() != content.encode():
            write_atomic(self.path, content)

    def put(self, rows: Iterable[Row]) -> None:
        """Take rows into the file that were made elsewhere; `sort` writes them."""
        self.rows = {**{row["chain_id"]: row for row in rows}, **self.rows}

    def _expect_options(self) -> None:
        """Compare the options with those of the file, or write them if none bind."""
        options = self._options
        if not _has_chains(self.path) and not (self._bound and self._options_path.exists()):
            write_atomic(self._options_path, json.dumps(options, indent=2, ensure_ascii=False) + "\n")
            return
        before = options_of(self.path)
        differing = [name for name in sorted({*before, *options}) if before.get(name) != options.get(name)]
        if differing:
            name = differing[0]
            raise RunError(
                f"{self.path}: was sampled with other options ({name}: {before.get(name)!r} in the file, {options.get(name)!r} "
                "now); use the same, or name another file"
            )

    def _read(self) -> dict[str, Row]:
        """Read the rows, and cut off one that a kill left half written."""
        if not self.path.exists():
            return {}
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            write_atomic(self.path, whole)
        try:
            rows = [json.loads(line) for line in whole.splitlines()]
            return {row["chain_id"]: row for row in rows}
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{self.path}: cannot be read ({error}); restore it, or name another file") from error


def options_of(path: Path) -> dict[str, Any]:
    """Read how a file was sampled.

    Raises
    ------
    RunError
        Nothing says so.
    """
    options = _options_path(path)
    if not options.exists():
        raise RunError(
            f"{path}: holds something already that was not sampled here ({options.name} is missing); name another file"
        )
    try:
        known: dict[str, Any] = json.loads(options.read_text(encoding="utf-8"))
        return dict(known)
    except (OSError, ValueError) as error:
        raise RunError(f"{options}: cannot be read ({error}); restore it, or name another file") from error


def release_options(path: Path) -> None:
    """Remove the options of a file in which there is no chain, and to which no process adds."""
    with claimed(_lease(path)) as is_ours:
        if is_ours and not _has_chains(path):
            _options_path(path).unlink(missing_ok=True)


def _lease(path: Path) -> Path:
    return path.with_name(f".{path.name}.lease")


def _has_chains(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _options_path(path: Path) -> Path:
    return path.with_name(path.name + OPTIONS_SUFFIX)


def encoding_of_samples(path: Path) -> EncodingOptions:
    """Date and variables of the chat template with which a file was sampled; neither if nothing says that it was sampled."""
    try:
        model = options_of(path)["model"]
        date, variables = model.get("date"), model.get("template_variables", ())
    except (RunError, KeyError, AttributeError, TypeError):
        return EncodingOptions()  # adding to the file says what is wrong with it
    return EncodingOptions(date=date, template_variables=tuple(variables))
