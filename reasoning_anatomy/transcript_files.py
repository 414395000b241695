"""The files beside a file of sampled chains that say what was evicted while they were written."""

import json
import os
from pathlib import Path
from typing import Any, Final

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.files import atomic_path, write_atomic
from reasoning_anatomy.transcripts import EvictionTranscript, evictions_table, read_transcript

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

    def write_table(self) -> None:
        """Write ``<file>.evictions.parquet``, one row for every step at every eviction; nothing if there are no transcripts."""
        if transcripts := self.read():
            table = evictions_table([({"chain_id": name}, each) for name, each in sorted(transcripts.items())])
            with atomic_path(self._table_path) as temporary:
                table.to_parquet(temporary, index=False)

    def _whole(self) -> bytes:
        content = self.path.read_bytes() if self.path.exists() else b""
        return content[: content.rfind(b"\n") + 1]
