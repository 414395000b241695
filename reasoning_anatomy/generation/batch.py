"""Samples that are written together: one cache for all of them, a row each, padded on the left."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, Literal, TypeVar

import torch
from torch import Tensor
from transformers import DynamicCache

from reasoning_anatomy.generation.completion import FinishReason
from reasoning_anatomy.generation.contexts import OpenContext, empty_like, fill, is_joinable, keys_and_values

Key = TypeVar("Key")

EndReason = FinishReason | Literal["not_finite"]
"""Why a sample is not written on: it is finished, or the model's logits for its next token are not finite numbers."""

NO_TOKEN: Final = -1
"""In `Batch.index`, for a slot of the padding."""


@dataclass(eq=False)
class Sample(Generic[Key]):
    """A sample while it is written.

    Attributes
    ----------
    key
        By which the caller knows it.
    seed
        Of its random numbers.
    max_tokens
        Largest number of tokens.
    ids
        What it has written.
    finish_reason
        Why it ended; None while it goes on. One that ended as ``not_finite`` is no sample of the model.
    """

    key: Key
    seed: int
    max_tokens: int
    ids: list[int] = field(default_factory=list)
    finish_reason: EndReason | None = None

    @property
    def written(self) -> list[int]:
        """What it has written without the id that ends its turn."""
        return self.ids[:-1] if self.finish_reason == "eos" else self.ids


@dataclass(eq=False)
class Batch(Generic[Key]):
    """Samples that are written together.

    Attributes
    ----------
    samples
        One a row.
    cache
        What they have read and written, padded on the left.
    index
        (rows, slots) which token of its sequence a slot holds, prompt included, from 0; `NO_TOKEN` in the padding. (rows,
        layers, kv_heads, slots) if heads hold different tokens, as many in each.
    next_index
        (rows,) which token of its sequence is read next.
    positions
        (rows,) at which it is read; those of samples that have ended stay, so that none is beyond the context.
    received
        (rows, layers, kv_heads, slots) attention that each slot has received so far; None if that is not recorded.
    queries
        (rows, layers, heads, w, head_dim) of the last w tokens that were read; None if they are not recorded.
    """

    samples: list[Sample[Key]]
    cache: DynamicCache
    index: Tensor
    next_index: Tensor
    positions: Tensor
    received: Tensor | None = None
    queries: Tensor | None = None

    @property
    def n_going_on(self) -> int:
        """Samples that have not ended."""
        return sum(sample.finish_reason is None for sample in self.samples)

    @property
    def mask(self) -> Tensor:
        """(rows, slots) whether a slot holds a token."""
        index = self.index if self.index.ndim == 2 else self.index[:, 0, 0]
        return index >= 0

    @property
    def rows_going_on(self) -> list[int]:
        """Rows of the samples that have not ended."""
        return [row for row, sample in enumerate(self.samples) if not sample.finish_reason]

    def add_slot(self) -> None:
        """Make room for the token of every row that is read next."""
        newest = self.next_index.view(-1, *[1] * (self.index.ndim - 1)).expand(*self.index.shape[:-1], 1)
        self.index = torch.cat([self.index, newest], dim=-1)

    def go_on(self) -> None:
        """Step to the next token of every row that goes on."""
        goes_on = torch.tensor([not sample.finish_reason for sample in self.samples], device=self.index.device)
        self.next_index, self.positions = self.next_index + goes_on, self.positions + goes_on

    def leave_out_finished(self) -> None:
        """Keep the rows of the samples that go on, and no padding that none of them needs."""
        left = self.rows_going_on
        rows = torch.tensor(left, dtype=torch.long, device=self.index.device)
        self.samples = [self.samples[row] for row in left]
        self.index, self.next_index, self.positions = self.index[rows], self.next_index[rows], self.positions[rows]
        self.received = None if self.received is None else self.received[rows]
        self.queries = None if self.queries is None else self.queries[rows]
        if left:
            repeat(self.cache, rows)
            self.trim()

    def trim(self) -> None:
        """Leave out slots that are padding in every row."""
        n_padding = int(self.mask.any(dim=0).int().argmax())
        if n_padding:
            self.index = self.index[..., n_padding:]
            self.received = None if self.received is None else self.received[..., n_padding:]
            self.cache = _together([self.cache], lambda part, _: part[:, :, n_padding:])


def begun(opened: OpenContext, samples: list[Sample[Key]]) -> Batch[Key]:
    """Give every sample a row that begins as the context; `joined` repeats the keys."""
    device = opened.logits.device
    n_slots = opened.cache.get_seq_length() if is_joinable(opened.cache) else opened.n_positions
    index = torch.arange(n_slots, device=device).expand(len(samples), -1)
    behind = torch.full((len(samples),), opened.n_positions, device=device)
    return Batch(samples, opened.cache, index, behind, behind)


def joined(parts: list[Batch[Key]]) -> Batch[Key]:
    """Make one batch of several, the shorter ones padded on the left."""
    first = parts[0]
    if len(parts) == 1:
        n_rows = len(first.samples)
        if not is_joinable(first.cache) or _n_rows_of(first.cache) != n_rows:
            repeat(first.cache, torch.zeros(n_rows, dtype=torch.long, device=first.index.device))
        return first
    n_slots = max(part.index.shape[-1] for part in parts)

    def padded(values: Tensor, number: int) -> Tensor:
        rows = values.expand(len(parts[number].samples), -1, -1, -1)
        return torch.nn.functional.pad(rows, (0, 0, n_slots - rows.shape[2], 0))

    return Batch(
        [sample for part in parts for sample in part.samples],
        _together([part.cache for part in parts], padded),
        torch.cat([_padded_slots(part.index, n_slots, NO_TOKEN) for part in parts]),
        torch.cat([part.next_index for part in parts]),
        torch.cat([part.positions for part in parts]),
        None if first.received is None else torch.cat([_padded_slots(part.received, n_slots, 0) for part in parts]),
        None if first.queries is None else torch.cat([part.queries for part in parts if part.queries is not None]),
    )


def _padded_slots(values: Tensor | None, n_slots: int, value: int) -> Tensor:
    """Pad values (rows, ..., slots) on the left."""
    assert values is not None
    return torch.nn.functional.pad(values, (n_slots - values.shape[-1], 0), value=value)


def repeat(cache: DynamicCache, rows: Tensor) -> None:
    """Keep these rows of a cache of any kind, in this order, as often as they are named."""
    cache.reorder_cache(rows)  # type: ignore[arg-type]


def _n_rows_of(cache: DynamicCache) -> int:
    return next(len(parts[0]) for parts in keys_and_values(cache) if parts is not None)


def _together(caches: Sequence[DynamicCache], change: Callable[[Tensor, int], Tensor]) -> DynamicCache:
    """Put the rows of caches below one another, after ``change`` of each part and the number of its cache."""
    whole = empty_like(caches[0])
    for layer, of_layer in enumerate(zip(*map(keys_and_values, caches), strict=True)):
        pairs = [(change(pair[0], number), change(pair[1], number)) for number, pair in enumerate(of_layer) if pair is not None]
        if pairs:
            keys, values = (torch.cat(parts) if len(parts) > 1 else parts[0] for parts in zip(*pairs, strict=True))
            fill(whole, layer, keys, values)
    return whole
