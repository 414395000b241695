"""Eviction while samples are written: a policy is asked after every token, and what it gives up leaves the cache."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from reasoning_anatomy import plugins
from reasoning_anatomy.errors import MeasurementError, ModelError, PluginError
from reasoning_anatomy.eviction import (
    AccumulatesAttention,
    Eviction,
    EvictionPolicy,
    KeepsQueries,
    Moment,
    ProbesAttention,
    WaitsForClosing,
    Writing,
)
from reasoning_anatomy.generation.batch import NO_TOKEN, Batch, Sample
from reasoning_anatomy.generation.cached_attention import CachedAttention
from reasoning_anatomy.generation.contexts import Context, ContextReader, OpenContext, empty_like, fill, keys_and_values
from reasoning_anatomy.generation.evictable import expect_evictable_by
from reasoning_anatomy.generation.rows import bytes_per_token
from reasoning_anatomy.generation.written_steps import WrittenSteps
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.models.passes import LAST_LOGITS
from reasoning_anatomy.models.rotation import Rotation, open_rotation
from reasoning_anatomy.transcripts import EvictionEvent, EvictionTranscript, rewritten_tokens
from reasoning_anatomy.types import IntArray

_CLOSING: Final = "</think>"


@dataclass(eq=False)
class _Sequence:
    """What is known of a sample while it is written."""

    prompt: IntArray
    steps: WrittenSteps
    events: list[EvictionEvent] = field(default_factory=list)
    n_written_then: int = 0
    n_skipped: int = 0
    n_slots: int = 0
    peak: int = 0
    is_closed: bool = False
    n_thinking: int | None = None

    def holds(self, n_slots: int, *, for_now: int = 0) -> None:
        """Note how many tokens are in the cache, and how many more for a moment."""
        self.n_slots = n_slots
        self.peak = max(self.peak, n_slots + for_now)


class Evictor:
    """Evicts from the caches of samples while they are written.

    Parameters
    ----------
    loaded
        The model.
    policy
        What it evicts, and when.
    encoder
        Of the prompts.
    n_positions
        Tokens of the longest sequence that will be written, prompt included.

    Raises
    ------
    ModelError
        Single tokens cannot be evicted from what this model remembers; or the policy waits for the end of a thinking that this
        model does not close.
    PluginError
        The policy's segmenter needs more than text.
    """

    def __init__(self, loaded: LoadedModel, policy: EvictionPolicy, encoder: ChainEncoder, *, n_positions: int) -> None:
        expect_evictable_by(policy, loaded, n_positions)
        self._loaded = loaded
        self._probe_forwards = 0
        self._policy = policy
        self._encoder = encoder
        self._sequences: dict[Sample[Any], _Sequence] = {}
        self._closing = encoder.tag_ids(encoder.closing_tag).tolist() if encoder.closing_tag else []
        self._probe = _probe_ids(policy, encoder)
        self._segmenter = plugins.load("segmenter", policy.steps)
        if isinstance(policy, WaitsForClosing) and policy.waits_for_closing and not self._closing:
            raise ModelError(
                f"{loaded.id}: does not think in tags, as far as its files tell, and {plugins.key_of(policy)} waits for the "
                "end of thinking; add every=200, or name another policy"
            )
        self._rotation: Rotation | None = None
        if policy.positions == "rerotate":
            self._rotation = open_rotation(loaded, n_positions, remedy="write positions=keep")
        self._reader = ContextReader(loaded, keeps_all=True)
        self._bytes_per_token = bytes_per_token(loaded)
        self._expect_steps_of_text()

    @property
    def token_forwards(self) -> int:
        """Tokens of probes, and of what was read anew, that have been run through the model so far."""
        return self._probe_forwards + self._reader.token_forwards

    def follow(self, opened: OpenContext, samples: Sequence[Sample[Any]]) -> None:
        """Follow samples that are written behind a context."""
        for sample in samples:
            steps = WrittenSteps(self._loaded.tokenizer, self._segmenter, opened.ids)
            self._sequences[sample] = _Sequence(opened.ids, steps)
            self._sequences[sample].holds(len(opened.ids))

    def begin(self, batch: Batch[Any]) -> None:
        """Prepare a batch for what the policy wants to see, all of its rows behind one context."""
        both = [parts for parts in keys_and_values(batch.cache) if parts is not None]
        keys = [parts[0] for parts in both]
        self._bytes_per_token = sum(part[0, :, 0].numel() * part.element_size() for parts in both for part in parts)
        if len(keys) != self._loaded.n_layers or len({layer.shape for layer in keys}) > 1:
            raise ModelError(
                f"{self._loaded.id}: its layers differ in their keys, so that not the same can be evicted from all; leave out "
                "--evict"
            )
        _, n_key_heads, n_slots, head_dim = keys[0].shape
        shape = len(batch.samples), len(keys), n_key_heads, n_slots
        if self._policy.per_head:
            batch.index = batch.index[:, None, None].expand(shape)
        if isinstance(self._policy, AccumulatesAttention):
            batch.received = torch.zeros(shape, device=keys[0].device)
        if isinstance(self._policy, KeepsQueries):
            wanted = *shape[:2], self._loaded.n_heads, self._policy.window, head_dim
            batch.queries = torch.zeros(wanted, device=keys[0].device)

    @contextmanager
    def attending(self, batch: Batch[Any]) -> Iterator[None]:
        """Run the newest token of every row, for which there is a slot already, and note what the policy wants to see."""
        observed = self._attention(
            batch.mask,
            None if self._policy.per_head else batch.index,
            wants_weights=isinstance(self._policy, AccumulatesAttention),
            wants_queries=isinstance(self._policy, KeepsQueries),
        )
        with observed.of(self._loaded):
            yield
        for sample in batch.samples:
            if (sequence := self._sequences.get(sample)) is not None:
                sequence.holds(sequence.n_slots + 1)
        if batch.received is not None:
            n_rows, n_layers, n_key_heads, n_before = batch.received.shape
            of_key_heads = observed.weights_by_layer().view(n_rows, n_layers, n_key_heads, -1, n_before + 1).sum(dim=3)
            batch.received = torch.nn.functional.pad(batch.received, (0, 1)) + of_key_heads
        if batch.queries is not None:
            newest = torch.stack([observed.queries[layer] for layer in sorted(observed.queries)], dim=1)
            batch.queries = torch.cat([batch.queries[:, :, :, 1:], newest[:, :, :, None]], dim=3)

    def evict(self, batch: Batch[Any]) -> None:
        """Let the policy evict from the rows where it is due, before their newest tokens are read."""
        due: dict[int, Writing] = {}
        for row, sample in enumerate(batch.samples):
            if (writing := self._asked(sample)) is not None and self._policy.is_due(writing):
                due[row] = writing
        if not due:
            return
        attention = self._probed(batch, due)
        kept: dict[int, Tensor] = {}
        for row, writing in due.items():
            if self._probe is not None and row not in attention:
                self._sequences[batch.samples[row]].n_skipped += 1
                continue
            moment = self._moment(batch, row, writing, attention.get(row))
            if not all(seen is None or bool(seen.isfinite().all()) for seen in (moment.attention, moment.received)):
                batch.samples[row].finish_reason = "not_finite"
                continue
            eviction = self._policy.evict(moment)
            _expect_eviction(self._policy, eviction, moment)
            self._record(batch.samples[row], moment, eviction)
            if eviction.gone.any():
                kept[row] = ~eviction.gone
        if kept:
            self._keep(batch, kept)

    def transcript(self, sample: Sample[Any]) -> EvictionTranscript:
        """Say what was evicted from a sample that has ended, and forget it."""
        sequence = self._sequences.pop(sample)
        sequence.steps.cut(sample.ids)
        return EvictionTranscript(
            policy=repr(self._policy),
            n_prompt=len(sequence.prompt),
            n_written=len(sample.ids),
            n_thinking=len(sample.ids) if sequence.n_thinking is None else sequence.n_thinking,
            text=sequence.steps.text(),
            token_ends=tuple(sequence.steps.token_ends().tolist()),
            finish_reason=sample.finish_reason or "length",
            events=tuple(sequence.events),
            n_skipped=sequence.n_skipped,
            peak_tokens=sequence.peak,
            peak_bytes=sequence.peak * self._bytes_per_token,
            rewritten=rewritten_tokens(sample.ids, sequence.events),
        )

    def _asked(self, sample: Sample[Any]) -> Writing | None:
        """Say how far a sample is; None if it has ended, or its thinking has."""
        if sample.finish_reason or (sequence := self._sequences[sample]).is_closed:
            return None
        sequence.is_closed = self._has_closed(sample.ids)
        if sequence.is_closed:
            sequence.n_thinking = len(sample.ids) - len(self._closing)
        return Writing(
            n_prompt=len(sequence.prompt),
            n_written=len(sample.ids),
            n_slots=sequence.n_slots,
            closes_thinking=sequence.is_closed,
            n_events=len(sequence.events),
            n_written_then=sequence.n_written_then,
            seed=sample.seed,
            cut=lambda: sequence.steps.cut(sample.ids),
        )

    def _has_closed(self, ids: Sequence[int]) -> bool:
        """Tell whether the newest token closes the thinking; a tag of several may be written with other tokens than its own."""
        n_closing = len(self._closing)
        if n_closing <= 1:
            return n_closing == 1 and ids[-1] == self._closing[0]
        tokenizer: Any = self._loaded.tokenizer
        tail: str = tokenizer.decode(list(ids[-n_closing - 1 :]), clean_up_tokenization_spaces=False)
        return self._encoder.closing_tag in tail

    def _probed(self, batch: Batch[Any], due: dict[int, Writing]) -> dict[int, Tensor]:
        """Weights (layers, heads, slots) of the probe by row, for all rows that have room for it."""
        if self._probe is None:
            return {}
        weights: dict[int, Tensor] = {}
        for closes in (False, True):
            rows = [row for row, writing in due.items() if writing.closes_thinking == closes and self._has_room(batch, row)]
            if rows:
                newest_is_read = not (closes and len(self._closing) == 1)
                found = self._weights_of_probe(self._probe, batch, rows, newest_is_read=newest_is_read)
                weights |= zip(rows, found, strict=True)
        return weights

    def _has_room(self, batch: Batch[Any], row: int) -> bool:
        length = self._loaded.context_length
        return length is None or int(batch.positions[row]) + 1 + len(self._probe or ()) <= length

    @torch.inference_mode()
    def _weights_of_probe(
        self, probe: Sequence[int], batch: Batch[Any], rows: list[int], *, newest_is_read: bool
    ) -> list[Tensor]:
        """Read the newest tokens of some rows and the probe, on a copy of the cache that is then dropped."""
        device, chosen = batch.index.device, torch.tensor(rows, device=batch.index.device)
        newest = [batch.samples[row].ids[-1:] if newest_is_read else [] for row in rows]
        ids = torch.tensor([[*token, *probe] for token in newest], device=device)
        n_new, n_slots = ids.shape[1], batch.index.shape[-1]
        cache = empty_like(batch.cache)
        for layer, parts in enumerate(keys_and_values(batch.cache)):
            assert parts is not None
            fill(cache, layer, *(part if len(rows) == len(batch.samples) else part.index_select(0, chosen) for part in parts))
        ahead = torch.arange(n_new, device=device)
        index = None
        if not self._policy.per_head:
            index = torch.cat([batch.index[chosen], batch.next_index[chosen, None] + ahead], dim=1)
        holds_token = torch.nn.functional.pad(batch.mask[chosen], (0, n_new), value=True)
        observed = self._attention(holds_token, index, wants_weights=True)
        model: Any = self._loaded.model
        with observed.of(self._loaded):
            model(
                input_ids=ids,
                position_ids=batch.positions[chosen, None] + ahead,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=LAST_LOGITS.to(device),
            )
        self._probe_forwards += ids.numel()
        weights = observed.weights_by_layer()[..., :n_slots]
        sequences = [self._sequences[batch.samples[row]] for row in rows]
        for sequence in sequences:
            sequence.holds(sequence.n_slots, for_now=n_new)
        return [of_row[..., n_slots - sequence.n_slots :] for of_row, sequence in zip(weights, sequences, strict=True)]

    def _attention(
        self, holds_token: Tensor, index: Tensor | None, *, wants_weights: bool = False, wants_queries: bool = False
    ) -> CachedAttention:
        positions = index if self._policy.positions == "keep" else holds_token.cumsum(dim=1) - 1
        return CachedAttention(holds_token, positions, wants_weights=wants_weights, wants_queries=wants_queries)

    def _moment(self, batch: Batch[Any], row: int, writing: Writing, attention: Tensor | None) -> Moment:
        k = writing.n_slots
        queries = keys = None
        if batch.queries is not None:
            n_known = min(batch.queries.shape[3], writing.n_written - 1)
            queries = batch.queries[row][:, :, batch.queries.shape[3] - n_known :]
            keys = [parts[0][row, :, -k:] for parts in keys_and_values(batch.cache) if parts is not None]
        received = None if batch.received is None else batch.received[row, ..., -k:]
        return Moment(writing, batch.index[row, ..., -k:], attention, received, queries, keys)

    def _record(self, sample: Sample[Any], moment: Moment, eviction: Eviction) -> None:
        sequence, writing = self._sequences[sample], moment.writing
        n_gone = int(eviction.gone.reshape(-1, writing.n_slots)[0].sum())
        if n_gone == 0 and eviction.step_score is None:
            return
        before, after = (_tokens(moment.index[among], writing.n_read) for among in (slice(None), ~eviction.gone))
        scores = () if eviction.step_score is None else eviction.step_score.tolist()
        step = writing.cut()
        event = EvictionEvent(
            n_written=writing.n_written,
            evicted=tuple((np.flatnonzero(before & ~after) - writing.n_prompt).tolist()),
            n_before=writing.n_slots,
            n_after=writing.n_slots - n_gone,
            step_starts=tuple(np.flatnonzero(np.diff(step, prepend=-1)).tolist()) if scores else (),
            step_scores=tuple(score if np.isfinite(score) else None for score in scores),
        )
        sequence.events.append(event)
        if n_gone:
            sequence.n_written_then = writing.n_written
            sequence.holds(event.n_after)

    @torch.inference_mode()
    def _keep(self, batch: Batch[Any], kept: dict[int, Tensor]) -> None:
        """Leave only the slots that are kept in the rows ``kept``, of all heads or of each."""
        n_padding = (~batch.mask).sum(dim=1).tolist()
        left = _slots_left(batch.index, kept, n_padding)
        slots, is_token = _padded(list(left.values()))
        batch.index = batch.index.gather(-1, slots).masked_fill(~is_token, NO_TOKEN)
        if batch.received is not None:
            of_head = slots if self._policy.per_head else slots[:, None, None].expand(*batch.received.shape[:3], -1)
            batch.received = batch.received.gather(-1, of_head)
        layers: Any = batch.cache.layers
        for number, layer in enumerate(layers):
            of_layer = slots[:, number] if self._policy.per_head else slots[:, None].expand(-1, layer.keys.shape[1], -1)
            for name in ("keys", "values"):
                part = getattr(layer, name)
                setattr(layer, name, part.gather(2, of_layer[..., None].expand(-1, -1, -1, part.shape[3])))
        if self._policy.positions != "keep":
            batch.positions = batch.positions.clone()
            for row in kept:
                self._close_up(batch, row, left[row] - n_padding[row])

    def _close_up(self, batch: Batch[Any], row: int, before: Tensor) -> None:
        """Give the tokens that are left in a row positions without gaps; they were at positions ``before``."""
        n_left = before.shape[-1]
        batch.positions[row] = n_left
        if n_left == 0:
            return
        layers: Any = batch.cache.layers
        if self._rotation is None:
            sample = batch.samples[row]
            sequence = np.concatenate([self._sequences[sample].prompt, sample.ids[:-1]])
            opened = self._reader.open(Context(sequence[batch.index[row, -n_left:].cpu().numpy()]))
            for layer, parts in zip(layers, keys_and_values(opened.cache), strict=True):
                assert parts is not None
                layer.keys[row, :, -n_left:], layer.values[row, :, -n_left:] = parts[0][0], parts[1][0]
            return
        after = torch.arange(n_left, device=before.device)
        for number, layer in enumerate(layers):
            keys = layer.keys[row, :, -n_left:]
            n_together = 1 if self._policy.per_head else len(keys)
            for first in range(0, len(keys), n_together):
                heads = slice(first, first + n_together)
                of_heads = before[number, first] if self._policy.per_head else before
                moved = self._rotation.move(self._rotation.modules[number], keys[heads].float(), before=of_heads, after=after)
                keys[heads] = moved.to(keys.dtype)

    def _expect_steps_of_text(self) -> None:
        try:
            WrittenSteps(self._loaded.tokenizer, self._segmenter, np.array([], dtype=np.int64)).cut(
                self._encoder.text_ids("So 1 + 1 = 2. Wait.").tolist()
            )
        except MeasurementError as error:
            raise PluginError(
                f"policy {plugins.label(self._policy)!r}: {self._policy.steps} cannot cut what is being written "
                f"({error.reason}); name another segmenter with steps=KEY"
            ) from None


def _slots_left(index: Tensor, kept: dict[int, Tensor], n_padding: Sequence[int]) -> dict[int, Tensor]:
    """Slots (k,), or (layers, kv_heads, k), that are left in every row of an index (rows, ..., slots)."""
    left = {}
    for row, padding in enumerate(n_padding):
        if row in kept:
            left[row] = kept[row].nonzero()[:, -1].view(*index.shape[1:-1], -1) + padding
        else:
            left[row] = torch.arange(padding, index.shape[-1], device=index.device).expand(*index.shape[1:-1], -1)
    return left


def _padded(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Put rows (..., k) of numbers below one another, padded on the left with 0, and tell what is no padding."""
    width = max(row.shape[-1] for row in rows)
    padded = torch.stack([torch.nn.functional.pad(row, (width - row.shape[-1], 0), value=NO_TOKEN) for row in rows])
    return padded.clamp_min(0), padded >= 0


def _tokens(index: Tensor, n_tokens: int) -> npt.NDArray[np.bool_]:
    """(n_tokens,) whether a token of the sequence is in an index."""
    is_there = torch.zeros(n_tokens, dtype=torch.bool, device=index.device)
    is_there[index.flatten()] = True
    return is_there.cpu().numpy()


def _probe_ids(policy: EvictionPolicy, encoder: ChainEncoder) -> tuple[int, ...] | None:
    """Ids of the sentence and the tag that a policy probes with; None if it does not."""
    if not isinstance(policy, ProbesAttention):
        return None
    sentence = policy.probe if policy.probe[:1].isspace() else f" {policy.probe}"  # it follows a word
    return (*encoder.text_ids(sentence).tolist(), *encoder.tag_ids(encoder.closing_tag or _CLOSING).tolist())


def _expect_eviction(policy: EvictionPolicy, eviction: Eviction, moment: Moment) -> None:
    """Refuse what a policy of a user's gives that is not one flag for every slot, as many in every head."""
    gone = eviction.gone
    if gone.shape != moment.index.shape or gone.dtype != torch.bool:
        raise PluginError(
            f"policy {plugins.label(policy)!r}: gave {tuple(gone.shape)} {gone.dtype}, expected {tuple(moment.index.shape)} of "
            "torch.bool, whether each slot goes"
        )
    if len(counts := set(gone.sum(dim=-1).flatten().tolist())) > 1:
        raise PluginError(f"policy {plugins.label(policy)!r}: evicts {sorted(counts)} tokens; as many must go in every head")
