"""What a model reads before it writes: contexts that begin alike are read once as far as they do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from reasoning_anatomy.errors import ModelError
from reasoning_anatomy.models.capabilities import can_be_chunked, longest_of_one_rotation, tokens_per_pass
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.models.memory import with_smaller_chunks_on_oom
from reasoning_anatomy.types import FloatArray, IntArray

_NONE: Final = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Context:
    """What a model reads.

    Attributes
    ----------
    ids
        (T,) read from position 0 on; T >= 1.
    evicted
        (e,) indices in ``ids`` whose keys and values are then removed; positions stay as they are.
    tail
        (t,) read after that, at the positions that follow.
    n_scored
        How many of the last ids are scored, as ids that the model might have written itself; all of them are in ``tail``, or,
        without an eviction, in ``ids`` behind the first.
    """

    ids: IntArray
    evicted: IntArray = field(default_factory=lambda: _NONE)
    tail: IntArray = field(default_factory=lambda: _NONE)
    n_scored: int = 0

    @property
    def n_positions(self) -> int:
        """Position of the token that the model writes first."""
        return len(self.ids) + len(self.tail)


@dataclass(frozen=True, eq=False)
class OpenContext:
    """A context that the model has read.

    Attributes
    ----------
    ids
        (n_positions,) what was read, evicted tokens included.
    cache
        Keys and values of one row.
    logits
        (vocabulary,) float32, of the token that comes next.
    n_positions
        Position of that token.
    logp
        (n_scored,) log-likelihood in nats of the ids that are scored.
    """

    ids: IntArray
    cache: DynamicCache
    logits: Tensor
    n_positions: int
    logp: FloatArray


class ContextReader:
    """Reads contexts with one model.

    Parameters
    ----------
    loaded
        The model.
    token_budget
        Tokens of one forward pass; None takes what suits the device. It is halved whenever memory runs out.
    keeps_all
        Whether layers with a sliding window remember what is behind it, too, so that single tokens can be evicted later.

    Attributes
    ----------
    token_forwards
        Tokens that have been run through the model so far.
    """

    def __init__(self, loaded: LoadedModel, *, token_budget: int | None = None, keeps_all: bool = False) -> None:
        self.token_forwards = 0
        self._loaded = loaded
        self._keeps_all = keeps_all
        self._token_budget = tokens_per_pass(loaded, token_budget)
        self._ids = _NONE
        self._cache = self._empty()

    def read(self, contexts: Sequence[Context]) -> Iterator[tuple[int, OpenContext]]:
        """Read contexts, in an order in which the beginning that two of them share is read once.

        Yields
        ------
        The index of each context, and the context, open.

        Raises
        ------
        ModelError
            Keys are to be evicted, but not from this model, see `expect_evictable`.
        """
        in_order = sorted(range(len(contexts)), key=lambda index: (len(contexts[index].tail), contexts[index].ids.tolist()))
        for index in in_order:
            yield index, self.open(contexts[index])
        self._forget()

    def score(self, contexts: Sequence[Context]) -> Iterator[tuple[int, FloatArray]]:
        """Score contexts that share little and of which nothing is evicted: those of similar length in one pass.

        Yields
        ------
        The index of each context, and its (n_scored,) log-likelihood in nats of the ids that are scored.
        """
        waiting = sorted(range(len(contexts)), key=lambda index: len(contexts[index].ids), reverse=True)
        while waiting:
            longest = len(contexts[waiting[0]].ids)
            n = self._token_budget // longest if longest <= longest_of_one_rotation(self._loaded) else 1
            together, waiting = waiting[: max(1, n)], waiting[max(1, n) :]
            yield from zip(together, self._scored_together([contexts[index] for index in together]), strict=True)
        self._forget()

    @torch.inference_mode()
    def open(self, context: Context) -> OpenContext:
        """Read one context; of what the one before it began with, nothing is read again.

        Raises
        ------
        ModelError
            As for `read`.
        """
        has_tail = len(context.tail) > 0
        logits = self._read(context.ids, n_logits=1 if has_tail or not context.n_scored else context.n_scored + 1)
        cache = self._handed_out()
        if len(context.evicted):
            expect_evictable(self._loaded, context.n_positions)
            kept = np.setdiff1d(np.arange(len(context.ids)), context.evicted)
            cache = selected_slots(cache, torch.from_numpy(kept).to(self._loaded.device))
        if has_tail:
            tail_logits = self._forward(context.tail, cache, first_position=len(context.ids), n_logits=len(context.tail))
            logits = torch.cat([logits[-1:], tail_logits])
        ids = np.concatenate([context.ids, context.tail])
        logp = _logp(logits[-context.n_scored - 1 : -1], ids[len(ids) - context.n_scored :])
        return OpenContext(ids, cache, logits[-1], context.n_positions, logp)

    @torch.inference_mode()
    def _scored_together(self, contexts: Sequence[Context]) -> list[FloatArray]:
        """Score contexts side by side, padded behind their ends, where no token of theirs looks; fewer if memory runs out."""
        if len(contexts) == 1:
            return [self.open(contexts[0]).logp]  # in chunks, if it is long

        def at_once(n_rows: int) -> list[FloatArray]:
            parts = [contexts[first : first + n_rows] for first in range(0, len(contexts), n_rows)]
            return [logp for part in parts for logp in self._scored_rows(part)]

        return with_smaller_chunks_on_oom(at_once, len(contexts), least=1)

    def _scored_rows(self, contexts: Sequence[Context]) -> list[FloatArray]:
        """Score contexts in one pass, with the logits of those positions alone that score any of them."""
        model: Any = self._loaded.model
        device = self._loaded.device
        batch = np.zeros((len(contexts), max(len(context.ids) for context in contexts)), dtype=np.int64)
        for row, context in zip(batch, contexts, strict=True):
            row[: len(context.ids)] = context.ids
        scoring = [np.arange(len(context.ids) - context.n_scored, len(context.ids)) - 1 for context in contexts]
        positions = np.unique(np.concatenate(scoring))
        output = model(
            input_ids=torch.from_numpy(batch).to(device), use_cache=False, logits_to_keep=torch.from_numpy(positions).to(device)
        )
        self.token_forwards += batch.size
        places = [torch.from_numpy(np.searchsorted(positions, of_row)).to(device) for of_row in scoring]
        rows = zip(output.logits, places, contexts, strict=True)
        return [_logp(logits[at].float(), each.ids[len(each.ids) - each.n_scored :]) for logits, at, each in rows]

    def _read(self, ids: IntArray, *, n_logits: int) -> Tensor:
        """Read ``ids`` (T,) and leave the cache behind them. -> (n_logits, vocabulary) float32, of the last."""
        n_shared = self._shared_with(ids, n_logits)
        if n_shared < len(self._ids):
            self._cut_to(n_shared)
        start = len(self._ids)
        length = min(self._token_budget, len(ids) - start) if can_be_chunked(self._loaded, len(ids)) else len(ids) - start
        base, base_ids = self._cache, self._ids

        def in_chunks(chunk: int) -> Tensor:
            self._token_budget = chunk if chunk < length else self._token_budget
            self._cache, self._ids = self._restored(base), base_ids
            wanted = []
            for first in range(start, len(ids), chunk):
                piece = ids[first : first + chunk]
                n_wanted = min(len(piece), max(0, first + len(piece) - (len(ids) - n_logits)))
                found = self._forward(piece, self._cache, first_position=first, n_logits=max(1, n_wanted))
                self._ids = ids[: first + len(piece)]
                wanted += [found] if n_wanted else []
            return torch.cat(wanted)

        return with_smaller_chunks_on_oom(in_chunks, length, least=1 if can_be_chunked(self._loaded, len(ids)) else length)

    def _shared_with(self, ids: IntArray, n_logits: int) -> int:
        """How much of what the cache holds can be kept for ``ids``: what predicts the last of them is run again."""
        longest = max(len(ids), len(self._ids))
        if not (self._loaded.may_share and is_joinable(self._cache) and can_be_chunked(self._loaded, longest)):
            return 0
        shortest = min(len(ids) - n_logits, len(self._ids))
        differs = np.flatnonzero(ids[:shortest] != self._ids[:shortest])
        return int(differs[0]) if differs.size else max(0, shortest)

    def _forward(self, ids: IntArray, cache: DynamicCache, *, first_position: int, n_logits: int) -> Tensor:
        """Run ``ids`` (T,) behind what ``cache`` holds. -> (n_logits, vocabulary) float32."""
        model: Any = self._loaded.model
        device = self._loaded.device
        batch = torch.from_numpy(np.ascontiguousarray(ids)).to(device)[None]
        positions = torch.arange(first_position, first_position + len(ids), device=device)[None]
        last = torch.arange(len(ids) - n_logits, len(ids), device=device)
        output = model(input_ids=batch, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=last)
        self.token_forwards += len(ids)
        logits: Tensor = output.logits[0].float()
        return logits

    def _cut_to(self, n_tokens: int) -> None:
        if n_tokens == 0:
            self._forget()
        else:
            self._cache = selected_slots(self._cache, torch.arange(n_tokens, device=self._loaded.device))
            self._ids = self._ids[:n_tokens]

    def _handed_out(self) -> DynamicCache:
        """Give the cache away: a copy that shares its tensors, or the cache itself if it is changed in place."""
        if is_joinable(self._cache):
            return selected_slots(self._cache, None)
        cache = self._cache
        self._forget()
        return cache

    def _restored(self, cache: DynamicCache) -> DynamicCache:
        return selected_slots(cache, None) if is_joinable(cache) and len(self._ids) else self._empty()

    def _forget(self) -> None:
        self._cache, self._ids = self._empty(), _NONE

    def _empty(self) -> DynamicCache:
        return DynamicCache() if self._keeps_all else DynamicCache(config=self._loaded.model.config)


def is_joinable(cache: DynamicCache) -> bool:
    """Whether all that a cache holds is keys and values of full attention, one slot a token."""
    return all(type(layer) is DynamicLayer for layer in cache.layers)


def empty_like(cache: DynamicCache) -> DynamicCache:
    """Make an empty cache with the layers of another one, all of full attention."""
    empty: Any = DynamicCache()
    make: Any = DynamicLayer
    empty.layers = [make() for _ in cache.layers]
    return empty  # type: ignore[no-any-return]


def selected_slots(cache: DynamicCache, slots: Tensor | None) -> DynamicCache:
    """Make a cache of some ``slots`` (k,) of another one, in that order; of all, sharing the tensors, if None."""
    selected = empty_like(cache)
    for layer, parts in enumerate(keys_and_values(cache)):
        if parts is not None:
            keys, values = parts if slots is None else (part.index_select(2, slots) for part in parts)
            fill(selected, layer, keys, values)
    return selected


def keys_and_values(cache: DynamicCache) -> list[tuple[Tensor, Tensor] | None]:
    """Keys and values (rows, kv_heads, slots, head_dim) by layer; None for a layer that has none."""
    layers: Any = cache.layers
    return [(layer.keys, layer.values) if layer.is_initialized else None for layer in layers]


def fill(cache: DynamicCache, layer: int, keys: Tensor, values: Tensor) -> None:
    """Put keys and values (rows, kv_heads, slots, head_dim) into an empty layer, without a copy."""
    empty: Any = cache.layers[layer]
    empty.lazy_initialization(keys, values)
    empty.keys, empty.values = keys, values


def expect_evictable(loaded: LoadedModel, n_positions: int) -> None:
    """Raise `ModelError` if single tokens cannot be removed from what a model remembers of ``n_positions`` tokens.

    Some layers remember in another way than by keys and values of every token, and some models do not take positions as given.
    """
    if not (is_joinable(DynamicCache(config=loaded.model.config)) and can_be_chunked(loaded, n_positions)):
        raise ModelError(
            f"{loaded.id}: keys and values can be evicted only from full attention with positions that are given, and this "
            "model attends or remembers in another way; use the reading closed_up"
        )


def _logp(logits: Tensor, ids: IntArray) -> FloatArray:
    """(k,) log-likelihood in nats of ``ids`` (k,) under ``logits`` (k, vocabulary)."""
    chosen = logits.gather(1, torch.from_numpy(np.ascontiguousarray(ids)).to(logits.device)[:, None])[:, 0]
    return (chosen - logits.logsumexp(dim=1)).double().cpu().numpy()
