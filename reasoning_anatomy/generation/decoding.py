"""Writing on from contexts, many samples at a time: every sample ends at its own stop and leaves the batch."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Final, Generic, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from reasoning_anatomy.generation.choosing import choose
from reasoning_anatomy.generation.completion import FinishReason, Sampling
from reasoning_anatomy.generation.contexts import OpenContext, fill, is_joinable, keys_and_values, selected_slots
from reasoning_anatomy.generation.stopping import StopRules
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.types import IntArray

Key = TypeVar("Key")

EndReason = FinishReason | Literal["not_finite"]
"""Why a sample is not written on: it is finished, or the model's logits for its next token are not finite numbers."""

_LARGEST_SHARE_OF_FINISHED: Final = 0.25
"""Rows that have ended stay in the batch up to this share of it, since leaving copies what the others remember."""


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


Chooser = Callable[[Tensor, Sequence[Sample[Key]]], IntArray]


def sampler(sampling: Sampling) -> Chooser[Any]:
    """Make what chooses the next tokens as ``sampling`` says, with the random numbers of each sample."""

    def next_ids(logits: Tensor, samples: Sequence[Sample[Any]]) -> IntArray:
        seeds = np.array([sample.seed for sample in samples], dtype=np.int64)
        steps = np.array([len(sample.ids) for sample in samples], dtype=np.int64)
        return choose(logits, seeds=seeds, steps=steps, sampling=sampling)

    return next_ids


class Decoder(Generic[Key]):
    """Writes samples with one model.

    Parameters
    ----------
    loaded
        The model.
    choose
        Takes logits (rows, vocabulary) float32 and the sample of every row, and gives the next id of every row (rows,); see
        `sampler`.
    rules
        When a sample ends.
    n_rows
        Samples that are written at the same time at most. Models that do not attend fully in every layer write only those of
        one context at the same time.

    Attributes
    ----------
    row_forwards
        Tokens that have been run through the model so far, rows that had ended already included.
    """

    def __init__(self, loaded: LoadedModel, *, choose: "Chooser[Key]", rules: StopRules, n_rows: int) -> None:
        self.row_forwards = 0
        self._loaded = loaded
        self._choose = choose
        self._rules = rules
        self._n_rows = n_rows

    def write(self, contexts: Iterable[tuple[OpenContext, Sequence[Sample[Key]]]]) -> Iterator[Sample[Key]]:
        """Write samples to their ends.

        Parameters
        ----------
        contexts
            Open contexts, each with the samples that go on from it; the next is asked for only when there is room for it.

        Yields
        ------
        The samples, as they end. If logits are not finite numbers, that ends the one sample, and the others go on.
        """
        waiting: Iterator[tuple[OpenContext, Sequence[Sample[Key]]]] = iter(contexts)
        batch: _Batch[Key] | None = None
        while True:
            arriving: list[_Batch[Key]] = [] if batch is None else [batch]
            while (room := self._n_rows - sum(len(part.samples) for part in arriving)) > 0 and (arrived := next(waiting, None)):
                opened, samples = arrived
                if len(samples) > room:
                    waiting = chain([(replace(opened, cache=self._copied(opened.cache)), samples[room:])], waiting)
                    samples = samples[:room]
                self._extend(samples, opened.logits.expand(len(samples), -1))
                yield from (sample for sample in samples if sample.finish_reason)
                if going_on := [sample for sample in samples if not sample.finish_reason]:
                    arriving.append(_begun(opened, going_on))
                if arriving and not is_joinable(arriving[-1].cache):
                    break
            if not arriving:
                return
            batch = _joined(arriving, self._loaded)
            yield from self._until_there_is_room(batch)
            batch = batch if batch.n_going_on else None

    def _until_there_is_room(self, batch: "_Batch[Key]") -> Iterator[Sample[Key]]:
        """Write until at most half of the rows are left, or all have ended if no other context can join."""
        most_left = self._n_rows // 2 if is_joinable(batch.cache) else 0
        while batch.n_going_on:
            logits = self._step(batch)
            going_on = [row for row, sample in enumerate(batch.samples) if not sample.finish_reason]
            self._extend([batch.samples[row] for row in going_on], logits[going_on])
            yield from (batch.samples[row] for row in going_on if batch.samples[row].finish_reason)
            if batch.n_going_on <= (1 - _LARGEST_SHARE_OF_FINISHED) * len(batch.samples):
                batch.leave_out_finished(self._loaded)
                if len(batch.samples) <= most_left:
                    return

    @torch.inference_mode()
    def _step(self, batch: "_Batch[Key]") -> Tensor:
        """Run the last id of every row. -> (rows, vocabulary) float32."""
        model: Any = self._loaded.model
        device = self._loaded.device
        ids = torch.tensor([[sample.ids[-1]] for sample in batch.samples], device=device)
        batch.mask = torch.cat([batch.mask, batch.mask.new_ones(len(ids), 1)], dim=1)
        output = model(
            input_ids=ids,
            attention_mask=None if batch.is_unpadded else batch.mask.long(),
            position_ids=batch.positions[:, None],
            past_key_values=batch.cache,
            use_cache=True,
            logits_to_keep=torch.zeros(1, dtype=torch.long, device=device),
        )
        batch.positions = batch.positions + torch.tensor([not sample.finish_reason for sample in batch.samples], device=device)
        self.row_forwards += len(ids)
        logits: Tensor = output.logits[:, -1].float()
        return logits

    def _extend(self, samples: Sequence[Sample[Key]], logits: Tensor) -> None:
        """Add the next id to each sample, and say which have ended."""
        are_finite = logits.amax(dim=1).isfinite().tolist()
        for sample, is_finite in zip(samples, are_finite, strict=True):
            if not is_finite:
                sample.finish_reason = "not_finite"
        going_on = [row for row, is_finite in enumerate(are_finite) if is_finite]
        if not going_on:
            return
        samples = [samples[row] for row in going_on]
        for sample, token in zip(samples, self._choose(logits[going_on], samples).tolist(), strict=True):
            sample.ids.append(token)
            sample.finish_reason = self._rules.reason(sample.ids, self._text, max_tokens=sample.max_tokens)

    def _copied(self, cache: DynamicCache) -> DynamicCache:
        return selected_slots(cache, None, self._loaded) if is_joinable(cache) else copy.deepcopy(cache)

    def _text(self, ids: Sequence[int]) -> str:
        tokenizer: Any = self._loaded.tokenizer
        text: str = tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)
        return text


@dataclass(eq=False)
class _Batch(Generic[Key]):
    """Samples that are written together.

    Attributes
    ----------
    samples
        One a row.
    cache
        What they have read and written, padded on the left.
    mask
        (rows, slots) whether a slot holds a token.
    positions
        (rows,) of the token that is read next; those of samples that have ended stay, so that none is beyond the context.
    """

    samples: list[Sample[Key]]
    cache: DynamicCache
    mask: Tensor
    positions: Tensor

    @property
    def n_going_on(self) -> int:
        """Samples that have not ended."""
        return sum(sample.finish_reason is None for sample in self.samples)

    @property
    def is_unpadded(self) -> bool:
        """Whether every slot holds a token."""
        return bool(self.mask.all())

    def leave_out_finished(self, loaded: LoadedModel) -> None:
        """Keep the rows of the samples that go on, and no padding that none of them needs."""
        left = [row for row, sample in enumerate(self.samples) if not sample.finish_reason]
        rows = torch.tensor(left, dtype=torch.long, device=loaded.device)
        self.samples = [self.samples[row] for row in left]
        self.mask, self.positions = self.mask[rows], self.positions[rows]
        if not left:
            return
        _reorder(self.cache, rows)
        n_padding = int(self.mask.any(dim=0).int().argmax())
        if n_padding:
            self.mask = self.mask[:, n_padding:]
            self.cache = _together([self.cache], loaded, lambda part, _: part[:, :, n_padding:])


def _begun(opened: OpenContext, samples: list[Sample[Key]]) -> _Batch[Key]:
    """Give every sample a row that begins as the context; `_joined` repeats the keys."""
    device = opened.logits.device
    n_slots = opened.cache.get_seq_length() if is_joinable(opened.cache) else opened.n_positions
    mask = torch.ones(len(samples), n_slots, dtype=torch.bool, device=device)
    return _Batch(samples, opened.cache, mask, torch.full((len(samples),), opened.n_positions, device=device))


def _joined(parts: list[_Batch[Key]], loaded: LoadedModel) -> _Batch[Key]:
    """Make one batch of several, the shorter ones padded on the left."""
    first = parts[0]
    if len(parts) == 1:
        n_rows = len(first.samples)
        if not is_joinable(first.cache) or _n_rows_of(first.cache) != n_rows:
            _reorder(first.cache, torch.zeros(n_rows, dtype=torch.long, device=loaded.device))
        return first
    n_slots = max(part.mask.shape[1] for part in parts)

    def padded(values: Tensor, index: int) -> Tensor:
        rows = values.expand(len(parts[index].samples), -1, -1, -1)
        return torch.nn.functional.pad(rows, (0, 0, n_slots - rows.shape[2], 0))

    cache = _together([part.cache for part in parts], loaded, padded)
    masks = [torch.nn.functional.pad(part.mask, (n_slots - part.mask.shape[1], 0)) for part in parts]
    samples = [sample for part in parts for sample in part.samples]
    return _Batch(samples, cache, torch.cat(masks), torch.cat([part.positions for part in parts]))


def _reorder(cache: Any, rows: Tensor) -> None:
    """Keep these rows of a cache of any kind, in this order, as often as they are named."""
    cache.reorder_cache(rows)


def _n_rows_of(cache: DynamicCache) -> int:
    return next(len(parts[0]) for parts in keys_and_values(cache) if parts is not None)


def _together(caches: list[DynamicCache], loaded: LoadedModel, change: Callable[[Tensor, int], Tensor]) -> DynamicCache:
    """Put the rows of caches below one another, after ``change`` of each part and the index of its cache."""
    whole = DynamicCache(config=loaded.model.config)
    by_cache = [keys_and_values(cache) for cache in caches]
    for layer, of_layer in enumerate(zip(*by_cache, strict=True)):
        pairs = [(change(pair[0], index), change(pair[1], index)) for index, pair in enumerate(of_layer) if pair is not None]
        if pairs:
            keys, values = (torch.cat(parts) if len(parts) > 1 else parts[0] for parts in zip(*pairs, strict=True))
            fill(whole, layer, keys, values)
    return whole


def ends_of_turn(loaded: LoadedModel) -> frozenset[int]:
    """Ids that end a turn, as the files of a model name them."""
    configurations = [loaded.model.generation_config, loaded.model.config, loaded.text_config]
    named = [getattr(configuration, "eos_token_id", None) for configuration in configurations]
    return frozenset(int(token) for ids in named if ids is not None for token in (ids if isinstance(ids, list) else [ids]))
