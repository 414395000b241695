"""What was evicted while a sample was written: when, why, and whether it was written again."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter

if TYPE_CHECKING:
    import pandas as pd

_LENGTH: Final = 8
"""Tokens in a row that are compared with evicted ones."""


@dataclass(frozen=True)
class EvictionEvent:
    """One eviction.

    Attributes
    ----------
    n_written
        Tokens that had been written; the newest was not in the cache yet.
    evicted
        Tokens that are in no head any more and were in one before: number among those written, from 0; below 0 for those of the
        prompt, the last of which is -1.
    n_before, n_after
        Tokens in the cache of one head.
    step_starts
        First token of every step that was known.
    step_scores
        Score of every step at this moment, higher = more important, None for those without a token in the cache; empty if the
        policy does not score steps.
    """

    n_written: int
    evicted: tuple[int, ...]
    n_before: int
    n_after: int
    step_starts: tuple[int, ...] = ()
    step_scores: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class EvictionTranscript:
    """How a sample was written under an eviction policy.

    Attributes
    ----------
    policy
        Its ``repr``.
    n_prompt, n_written
        Tokens of the prompt, and tokens that were written.
    n_thinking
        Tokens that were written before the tag that closes the thinking; all of them if there is none.
    text
        As it was written: thinking tags, answer and end of turn included.
    token_ends
        (n_written,) end of every written token in the text, in characters.
    finish_reason
        Why it ended: eos, think_closed, stop_string, length, loop.
    events
        In order.
    n_skipped
        Evictions that were left out because the probe did not fit into the context.
    peak_tokens, peak_bytes
        Largest number of tokens in the cache, those of a probe included, and the bytes of their keys and values.
    rewritten
        Tokens written after an eviction in a row of 8 that was evicted before, and stood nowhere in the cache; number among
        those written, from 0.
    """

    policy: str
    n_prompt: int
    n_written: int
    n_thinking: int
    text: str
    token_ends: tuple[int, ...]
    finish_reason: str
    events: tuple[EvictionEvent, ...]
    n_skipped: int
    peak_tokens: int
    peak_bytes: int
    rewritten: tuple[int, ...]

    @property
    def n_evicted(self) -> int:
        """Tokens of one head that were evicted."""
        return sum(event.n_before - event.n_after for event in self.events)

    @property
    def n_rewritten(self) -> int:
        """Tokens that were written again."""
        return len(self.rewritten)

    def place_of(self, reasoning: str, answer: str) -> tuple[int, int] | None:
        """Half-open span of a chain's reasoning in the text, in characters; None if the text is not that of this chain.

        Taking a text apart leaves both parts as they are, the answer behind the reasoning, and nothing but tags and white space
        before them.
        """
        start = self.text.find(reasoning)
        end = start + len(reasoning)
        return (start, end) if start >= 0 and self.text.find(answer, end) >= 0 else None

    def as_json(self) -> str:
        """Write it as one line."""
        return json.dumps(asdict(self), separators=(",", ":"))


def read_transcript(line: str | bytes) -> EvictionTranscript:
    """Read what `EvictionTranscript.as_json` wrote; `ValueError` if it is something else."""
    return _TRANSCRIPT.validate_json(line)


_TRANSCRIPT: Final = TypeAdapter(EvictionTranscript)

EVICTION_COLUMNS: Final = {
    "event": "int64", "n_written": "int64", "step": "Int64", "first_token": "Int64", "last_token": "Int64", "score": "float64",
    "n_evicted": "int64", "evicted": "object", "cache_before": "int64", "cache_after": "int64",
}  # fmt: skip
"""Columns of a table of evictions behind those that say whose they are, with their types.

One row for every step with a token in the cache at every event: its first and last token, its score, how many of its tokens
went, and which (numbers among those written, from 0); events of a policy that does not score steps have one row, without a
step. ``cache_before`` and ``cache_after`` count the tokens of one head.
"""


def evictions_table(whose: Mapping[str, Any], transcript: EvictionTranscript) -> "pd.DataFrame":
    """Put all events of a sample into a table, behind the columns that say ``whose`` they are."""
    import pandas as pd  # the command line reads this module, and is to be there at once

    rows = [{**whose, **row} for row in _rows_of(transcript)]
    return pd.DataFrame(rows, columns=[*whose, *EVICTION_COLUMNS]).astype(EVICTION_COLUMNS)


def write_eviction_table(path: Path, transcripts: Iterable[tuple[Mapping[str, Any], EvictionTranscript]]) -> None:
    """Write the tables of one or more samples, all with the same first columns, below one another into a Parquet file."""
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    of_value = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    of_dtype = {"int64": pa.int64(), "Int64": pa.int64(), "float64": pa.float64(), "object": pa.list_(pa.int64())}
    waiting = iter(transcripts)
    first = next(waiting)
    schema = pa.schema(
        [
            *((name, of_value[type(value)]) for name, value in first[0].items()),
            *((name, of_dtype[dtype]) for name, dtype in EVICTION_COLUMNS.items()),
        ]
    )
    with pq.ParquetWriter(path, schema) as writer:
        for whose, transcript in chain([first], waiting):
            table = evictions_table(whose, transcript)
            writer.write_table(pa.Table.from_pandas(table, schema=schema, preserve_index=False))


def _rows_of(transcript: EvictionTranscript) -> Iterator[dict[str, Any]]:
    for number, event in enumerate(transcript.events, start=1):
        shared = {
            "event": number, "n_written": event.n_written, "cache_before": event.n_before, "cache_after": event.n_after,
        }  # fmt: skip
        of_prompt = [token for token in event.evicted if token < 0]
        if not event.step_starts or of_prompt:
            evicted = of_prompt if event.step_starts else list(event.evicted)
            yield {**shared, "n_evicted": len(evicted), "evicted": evicted}
        for step, (first, behind) in enumerate(pairwise([*event.step_starts, event.n_written])):
            evicted = [token for token in event.evicted if first <= token < behind]
            score = event.step_scores[step]
            if score is None and not evicted:
                continue
            yield {
                **shared, "step": step, "first_token": first, "last_token": behind - 1,
                "score": math.nan if score is None else score, "n_evicted": len(evicted), "evicted": evicted,
            }  # fmt: skip


def rewritten_tokens(ids: Sequence[int], events: Sequence[EvictionEvent], *, length: int = _LENGTH) -> tuple[int, ...]:
    """Find the tokens that were written again after their eviction, by number in ``ids``.

    Parameters
    ----------
    ids
        All that was written.
    events
        What was evicted of it.
    length
        A token counts if it is in a row of so many tokens that had all been evicted, in a row, before the first of them was
        written again, while the same row stood nowhere in what was left.

    Examples
    --------
    >>> rewritten_tokens([5, 6, 7, 1, 5, 6, 7], [EvictionEvent(4, (0, 1, 2), 4, 1)], length=3)
    (4, 5, 6)
    """
    gone_at = [math.inf] * len(ids)
    for event in events:
        for token in event.evicted:
            if token >= 0:
                gone_at[token] = event.n_written
    rewritten = set[int]()
    known: dict[tuple[int, ...], tuple[float, float]] = {}  # when one of its rows was gone, when all of them were touched
    for first in range(len(ids) - length + 1):
        if (earlier := first - length) >= 0:
            row, times = tuple(ids[earlier:first]), gone_at[earlier:first]
            gone, touched = known.get(row, (math.inf, -math.inf))
            known[row] = min(gone, max(times)), max(touched, min(times))
        gone, touched = known.get(tuple(ids[first : first + length]), (math.inf, math.inf))
        if max(gone, touched) <= first:
            rewritten.update(range(first, first + length))
    return tuple(sorted(rewritten))
