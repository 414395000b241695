"""The files beside a file of sampled chains that say what was evicted while they were written."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.files import atomic_path, write_atomic
from reasoning_anatomy.transcripts import EvictionTranscript, read_transcript, write_eviction_table

_TRANSCRIPTS: Final = ".transcripts.jsonl"
_TABLE: Final = ".evictions.parquet"


class TranscriptFile:
    """Transcripts of the chains of a file, in ``<file>.transcripts.jsonl``; a row as soon as a chain is made.

    Parameters
    ----------
    chains
        The file of chains.
    """

    def __init__(self, chains: Path) -> None:
        self.path = chains.with_name(chains.name + _TRANSCRIPTS)
        self._table_path = chains.with_name(chains.name + _TABLE)
        self._ends_whole = False

    def add(self, chain_id: str, transcript: EvictionTranscript) -> None:
        """Write one behind the others, to the disk."""
        if not self._ends_whole:
            write_atomic(self.path, self._whole())  # a kill may have left half a row
            self._ends_whole = True
        with self.path.open("ab") as file:
            file.write(f'{{"chain_id": {json.dumps(chain_id)}, "transcript": {transcript.as_json()}}}\n'.encode())
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> dict[str, EvictionTranscript]:
        """Read all of them, by chain_id; of several of one chain, the last; none if there is no file.

        Raises
        ------
        RunError
            The file is damaged.
        """
        found = {}
        for number, line in enumerate(self._whole().splitlines(), start=1):
            try:
                row: dict[str, Any] = json.loads(line)
                found[row["chain_id"]] = read_transcript(json.dumps(row["transcript"]))
            except (ValueError, KeyError, TypeError) as error:
                reason = str(error).splitlines()[0]
                raise RunError(f"{self.path}, line {number}: cannot be read ({reason}); restore it, or sample anew") from error
        return found

    def write_table(self, chain_ids: Iterable[str]) -> None:
        """Write ``<file>.evictions.parquet``, with the evictions from these chains; nothing if none has a transcript."""
        known = self.read()
        if transcripts := [({"chain_id": name}, known[name]) for name in chain_ids if name in known]:
            with atomic_path(self._table_path) as temporary:
                write_eviction_table(temporary, transcripts)

    def _whole(self) -> bytes:
        content = self.path.read_bytes() if self.path.exists() else b""
        return content[: content.rfind(b"\n") + 1]
