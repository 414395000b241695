"""Writing on from contexts, many samples at a time: every sample ends at its own stop and leaves the batch."""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain
from typing import Any, Final, Generic

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from reasoning_anatomy.generation.batch import Batch, Key, Sample, begun, joined
from reasoning_anatomy.generation.choosing import choose
from reasoning_anatomy.generation.completion import Sampling
from reasoning_anatomy.generation.contexts import OpenContext, is_joinable, selected_slots
from reasoning_anatomy.generation.evicting import Evictor
from reasoning_anatomy.generation.stopping import StopRules
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.types import IntArray

_LARGEST_SHARE_OF_FINISHED: Final = 0.25
"""Rows that have ended stay in the batch up to this share of it, since leaving copies what the others remember."""


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
    evictor
        Evicts what leaves the cache while samples are written, of contexts read with ``keeps_all``; None evicts nothing.

    Attributes
    ----------
    row_forwards
        Tokens that have been run through the model so far, rows that had ended already included.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        choose: "Chooser[Key]",
        rules: StopRules,
        n_rows: int,
        evictor: Evictor | None = None,
    ) -> None:
        self.row_forwards = 0
        self._evictor = evictor
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
        batch: Batch[Key] | None = None
        while True:
            arriving: list[Batch[Key]] = [] if batch is None else [batch]
            while (room := self._n_rows - sum(len(part.samples) for part in arriving)) > 0 and (arrived := next(waiting, None)):
                opened, samples = arrived
                if len(samples) > room:
                    waiting = chain([(replace(opened, cache=self._copied(opened.cache)), samples[room:])], waiting)
                    samples = samples[:room]
                if self._evictor:
                    self._evictor.follow(opened, samples)
                self._extend(samples, opened.logits.expand(len(samples), -1))
                yield from (sample for sample in samples if sample.finish_reason)
                if going_on := [sample for sample in samples if not sample.finish_reason]:
                    arriving.append(begun(opened, going_on))
                    if self._evictor:
                        self._evictor.begin(arriving[-1])
                if arriving and not is_joinable(arriving[-1].cache):
                    break
            if not arriving:
                return
            batch = joined(arriving)
            yield from self._until_there_is_room(batch)
            batch = batch if batch.n_going_on else None

    def _until_there_is_room(self, batch: Batch[Key]) -> Iterator[Sample[Key]]:
        """Write until at most half of the rows are left, or all have ended if no other context can join."""
        most_left = self._n_rows // 2 if is_joinable(batch.cache) else 0
        while batch.n_going_on:
            writing = [batch.samples[row] for row in batch.rows_going_on]
            logits = self._step(batch)
            going_on = batch.rows_going_on
            self._extend([batch.samples[row] for row in going_on], logits[going_on])
            yield from (sample for sample in writing if sample.finish_reason)
            if batch.n_going_on <= (1 - _LARGEST_SHARE_OF_FINISHED) * len(batch.samples):
                batch.leave_out_finished()
                if len(batch.samples) <= most_left:
                    return

    @torch.inference_mode()
    def _step(self, batch: Batch[Key]) -> Tensor:
        """Run the last id of every row. -> (rows, vocabulary) float32."""
        model: Any = self._loaded.model
        device = self._loaded.device
        ids = torch.tensor([[sample.ids[-1]] for sample in batch.samples], device=device)
        if self._evictor:
            self._evictor.evict(batch)
        batch.add_slot()
        mask = batch.mask
        with self._evictor.attending(batch) if self._evictor else nullcontext():
            output = model(
                input_ids=ids,
                attention_mask=None if self._evictor or mask.all() else mask.long(),
                position_ids=batch.positions[:, None],
                past_key_values=batch.cache,
                use_cache=True,
                logits_to_keep=torch.zeros(1, dtype=torch.long, device=device),
            )
        batch.go_on()
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
        return selected_slots(cache, None) if is_joinable(cache) else copy.deepcopy(cache)

    def _text(self, ids: Sequence[int]) -> str:
        tokenizer: Any = self._loaded.tokenizer
        text: str = tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)
        return text


def ends_of_turn(loaded: LoadedModel) -> frozenset[int]:
    """Ids that end a turn, as the files of a model name them."""
    configurations = [loaded.model.generation_config, loaded.model.config, loaded.text_config]
    named = [getattr(configuration, "eos_token_id", None) for configuration in configurations]
    return frozenset(int(token) for ids in named if ids is not None for token in (ids if isinstance(ids, list) else [ids]))
