"""Attention for many continuations of one shared prefix, packed in a row of tokens without padding.

The *prefix* keeps its keys and values in KV slots. A *continuation* sees the first tokens of the prefix, then its own: those
that an earlier pass stored, and those of this pass. The linear layers of the model run over the tokens of all continuations in
one flat row; only the attention, here, knows which token belongs to which continuation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import PreTrainedModel

from reasoning_anatomy.errors import ModelError
from reasoning_anatomy.models.attention_interface import handling

_MASK_ELEMENTS: Final = 2**28  # kernels of CUDA go wrong beyond 2**32 rows times keys (pytorch issue 187227)


class KVSlots:
    """Keys and values of tokens in every layer, addressed by slot.

    Parameters
    ----------
    n_slots
        Number of slots, one per token; memory is taken when a layer is first written.
    """

    def __init__(self, n_slots: int) -> None:
        self.n_slots = n_slots
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    @property
    def bytes_per_slot(self) -> int:
        """Memory of one slot over all layers that were written so far."""
        return sum(part[0].nbytes for layer in self._layers.values() for part in layer)

    def write(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """Store ``keys`` and ``values`` (tokens, kv_heads, head_dim) in ``slots`` (tokens,)."""
        if layer not in self._layers:
            self._layers[layer] = self._empty(keys), self._empty(values)
        for stored, new in zip(self._layers[layer], (keys, values), strict=True):
            stored[slots] = new

    def _empty(self, part: Tensor) -> Tensor:
        return part.new_zeros(self.n_slots, *part.shape[1:])

    def read(self, layer: int, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values, each (slots, kv_heads, head_dim), of ``slots`` (slots,)."""
        keys, values = self._layers[layer]
        return keys.index_select(0, slots), values.index_select(0, slots)


@dataclass(frozen=True, eq=False)
class PackedLayout:
    """What each token of one forward pass may see: T tokens of B continuations, each of at most L tokens.

    Attributes
    ----------
    row
        (T,) row of every token in the padded layout: its continuation times L, plus its index among the new tokens of that
        continuation.
    token
        (B * L,) the token in every row of the padded layout; any token if the row is padding.
    length
        L.
    prefix, prefix_slots
        The shared prefix, and (P,) the slots of its first tokens, in order.
    n_prefix
        (B,) how many of the P tokens each continuation sees; at least one for each that is padded.
    own, own_slots, n_own
        The store of the continuations' own tokens, (B, S) the slots that earlier passes filled for each of them, and (B,)
        how many of these count.
    written_tokens, written_slots
        (W,) tokens of this pass whose keys and values ``own`` keeps, and (W,) the slots that they fill.
    """

    row: Tensor
    token: Tensor
    length: int
    prefix: KVSlots
    prefix_slots: Tensor
    n_prefix: Tensor
    own: KVSlots
    own_slots: Tensor
    n_own: Tensor
    written_tokens: Tensor
    written_slots: Tensor
    _masks: dict[tuple[int | None, torch.dtype], Tensor] = field(default_factory=dict)

    @property
    def position(self) -> Tensor:
        """(B, L) position of every row in its closed-up sequence."""
        return (self.n_prefix + self.n_own)[:, None] + self._range(self.length)

    def mask(self, window: int | None, dtype: torch.dtype) -> Tensor:
        """(B, L, P + S + L) added to the scores: 0 if a row sees a key, -inf if not; computed once a pass."""
        if (window, dtype) not in self._masks:
            visible = self._visible(window)
            self._masks[window, dtype] = torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(
                ~visible, -torch.inf
            )
        return self._masks[window, dtype]

    def _visible(self, window: int | None) -> Tensor:
        """(B, L, P + S + L) whether a row sees a key: of the prefix, stored, new."""
        n_continuations, length = len(self.n_prefix), self.length
        prefix, own, new = self._range(len(self.prefix_slots)), self._range(self.own_slots.shape[1]), self._range(length)
        earlier = torch.cat([prefix < self.n_prefix[:, None], own < self.n_own[:, None]], dim=1)
        causal = (new <= new[:, None]).expand(n_continuations, -1, -1)
        visible = torch.cat([earlier[:, None].expand(-1, length, -1), causal], dim=2)
        if window is not None:
            position = torch.cat([prefix.expand(n_continuations, -1), self.n_prefix[:, None] + own, self.position], dim=1)
            visible = visible & (self.position[:, :, None] - position[:, None] < window)
        return visible

    def _range(self, size: int) -> Tensor:
        return torch.arange(size, device=self.n_prefix.device)


def run_packed(model: PreTrainedModel, layout: PackedLayout, ids: Tensor, *, logits_at: Tensor) -> Tensor:
    """Forward ``ids`` (T,) under ``layout`` and return the logits (len(logits_at), vocabulary) of some tokens.

    Must be called inside `reasoning_anatomy.models.attention_interface.installed`.
    """
    position_ids = layout.position.flatten().index_select(0, layout.row)[None]
    with handling(partial(_attend, layout=layout)):
        output = model(
            input_ids=ids[None],
            position_ids=position_ids,
            attention_mask=ids.new_zeros(1, 1, 1, 1),  # four dimensions: handed on as it is, and not looked at
            use_cache=False,
            logits_to_keep=logits_at,
        )
    logits: Tensor = output.logits[0]
    return logits


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, _: Tensor | None, *, layout: PackedLayout, **options: Any
) -> tuple[Tensor, None]:
    """Attention handler: query (1, heads, T, head_dim), key and value with kv_heads -> (1, T, heads, head_dim)."""
    if options.get("position_bias") is not None:
        raise ModelError(
            f"{type(module).__name__} adds a position bias to its attention, which prefix sharing does not support"
        )
    keys, values = key[0].transpose(0, 1), value[0].transpose(0, 1)
    n_continuations, n_heads, n_kv_heads, head_dim = len(layout.n_prefix), query.shape[1], keys.shape[1], query.shape[3]

    padded = query[0].transpose(0, 1).index_select(0, layout.token)
    grouped = padded.view(n_continuations, layout.length, n_kv_heads, -1, head_dim).permute(0, 2, 3, 1, 4)
    seen_keys, seen_values = _seen(layout, module.layer_idx, keys, values)
    mask = layout.mask(options.get("sliding_window"), query.dtype)
    attended = _grouped_attention(grouped, seen_keys, seen_values, mask, options)

    if len(tokens := layout.written_tokens):
        layout.own.write(module.layer_idx, layout.written_slots, keys.index_select(0, tokens), values.index_select(0, tokens))
    by_row = attended.permute(0, 3, 1, 2, 4).reshape(n_continuations * layout.length, n_heads, -1)
    return by_row.index_select(0, layout.row)[None], None


def _seen(layout: PackedLayout, layer: int, keys: Tensor, values: Tensor) -> list[Tensor]:
    """Keys and values of every continuation, each (B, kv_heads, P + S + L, head_dim): of the prefix, stored, new."""
    n_continuations, n_own = layout.own_slots.shape
    prefix = layout.prefix.read(layer, layout.prefix_slots) if len(layout.prefix_slots) else None
    own = layout.own.read(layer, layout.own_slots.flatten()) if n_own else None
    seen = []
    for index, new in enumerate((keys, values)):
        parts = [new.index_select(0, layout.token).view(n_continuations, layout.length, *new.shape[1:])]
        if own:
            parts.insert(0, own[index].view(n_continuations, n_own, *new.shape[1:]))
        if prefix:
            parts.insert(0, prefix[index].expand(n_continuations, -1, -1, -1))
        seen.append(torch.cat(parts, dim=1).transpose(1, 2))
    return seen


def _grouped_attention(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor, options: Mapping[str, Any]) -> Tensor:
    """Attend with the heads of a group as rows of one KV head, some of the L rows at a time.

    Query (B, kv_heads, groups, L, head_dim), keys and values (B, kv_heads, P + S + L, head_dim), mask (B, L, P + S + L).
    -> (B, kv_heads, groups, L, head_dim).
    """
    n_groups, outputs = query.shape[2], []
    n_rows = max(1, _MASK_ELEMENTS // (len(query) * n_groups * mask.shape[2]))
    for first in range(0, query.shape[3], n_rows):
        rows = slice(first, first + n_rows)
        folded_mask = mask[:, rows].repeat(1, n_groups, 1)[:, None]
        output = _attention(query[:, :, :, rows].flatten(2, 3), keys, values, folded_mask, options)
        outputs.append(output.view(*query.shape[:3], -1, output.shape[3]))
    return torch.cat(outputs, dim=3)


def _attention(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor, options: Mapping[str, Any]) -> Tensor:
    """Attend as the layer's options say: plainly, with soft-capped scores (Gemma 2), or with a learned sink per head.

    Query (B, kv_heads, rows, head_dim) -> (B, kv_heads, rows, head_dim). A sink takes weight and gives nothing.
    """
    scaling, softcap, sinks = (options.get(name) for name in ("scaling", "softcap", "s_aux"))
    if softcap is None and sinks is None:
        return scaled_dot_product_attention(query, keys, values, attn_mask=mask, scale=scaling)
    scores = query @ keys.transpose(2, 3) * (query.shape[3] ** -0.5 if scaling is None else scaling)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    scores = scores + mask
    if sinks is not None:
        n_rows = scores.shape[2] * scores.shape[1] // len(sinks)
        column = sinks.view(1, scores.shape[1], -1, 1).repeat_interleave(n_rows, dim=2).expand(len(scores), -1, -1, -1)
        scores = torch.cat([scores, column.to(scores.dtype)], dim=3)
    weights = torch.softmax(scores, dim=3, dtype=torch.float32).to(values.dtype)
    return weights[..., : keys.shape[2]] @ values
