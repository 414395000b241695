"""Attention for many continuations of one shared prefix, packed in a row of tokens without padding.

A *base* sequence keeps its keys and values in slots. A *branch* sees the first tokens of the base, then its own:
those that an earlier pass stored, and those of this pass. The linear layers of the model run over the tokens of
all branches in one flat row; only the attention, here, knows which token belongs to which branch.
"""

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


class Slots:
    """Keys and values of every layer, addressed by slot.

    Parameters
    ----------
    n_slots
        Number of slots; memory is taken when a layer is first written.
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
class Pass:
    """What each token of one forward pass may see, for T tokens in B branches of at most L tokens each.

    Attributes
    ----------
    place
        (T,) row of every token in the padded layout: branch times L, plus its place in the branch.
    token
        (B * L,) the token in every row of the padded layout; any token where the row is padding.
    length
        L.
    base, base_slots
        The base and (P,) the slots of its first tokens, in order.
    n_base
        (B,) how many of the P tokens each branch sees; at least one wherever a branch is padded.
    own, own_slots, n_own
        The store of branch tokens, (B, S) the slots of each branch, and (B,) how many of them count.
    target, target_tokens, target_slots
        The store that keeps this pass's keys and values: of which tokens (W,), in which slots (W,).
    """

    place: Tensor
    token: Tensor
    length: int
    base: Slots
    base_slots: Tensor
    n_base: Tensor
    own: Slots
    own_slots: Tensor
    n_own: Tensor
    target: Slots
    target_tokens: Tensor
    target_slots: Tensor
    _masks: dict[tuple[int | None, torch.dtype], Tensor] = field(default_factory=dict)

    @property
    def position(self) -> Tensor:
        """(B, L) position of every row in its closed-up sequence."""
        return (self.n_base + self.n_own)[:, None] + self._range(self.length)

    def mask(self, window: int | None, dtype: torch.dtype) -> Tensor:
        """(B, L, P + S + L) added to the scores: 0 where a row may look, -inf elsewhere; computed once a pass."""
        if (window, dtype) not in self._masks:
            visible = self._visible(window)
            self._masks[window, dtype] = torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(
                ~visible, -torch.inf
            )
        return self._masks[window, dtype]

    def _visible(self, window: int | None) -> Tensor:
        n_branches, length = len(self.n_base), self.length
        base, own, new = self._range(len(self.base_slots)), self._range(self.own_slots.shape[1]), self._range(length)
        shared = torch.cat([base < self.n_base[:, None], own < self.n_own[:, None]], dim=1)
        causal = (new <= new[:, None]).expand(n_branches, -1, -1)
        visible = torch.cat([shared[:, None].expand(-1, length, -1), causal], dim=2)
        if window is not None:
            position = torch.cat([base.expand(n_branches, -1), self.n_base[:, None] + own, self.position], dim=1)
            visible = visible & (self.position[:, :, None] - position[:, None] < window)
        return visible

    def _range(self, size: int) -> Tensor:
        return torch.arange(size, device=self.n_base.device)


def run_pass(model: PreTrainedModel, layout: Pass, ids: Tensor, *, logits_at: Tensor) -> Tensor:
    """Forward ``ids`` (T,) under ``layout`` and return the logits (len(logits_at), vocabulary) of some tokens.

    Must be called inside `reasoning_anatomy.models.attention_interface.installed`.
    """
    position_ids = layout.position.flatten().index_select(0, layout.place)[None]
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
    module: Any, query: Tensor, key: Tensor, value: Tensor, _: Tensor | None, *, layout: Pass,
    scaling: float | None = None, sliding_window: int | None = None, softcap: float | None = None,
    s_aux: Tensor | None = None, position_bias: Tensor | None = None, **__: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """Attention handler: query (1, heads, T, head_dim), key and value with kv_heads."""
    if position_bias is not None:
        raise ModelError(
            f"{type(module).__name__} adds a position bias to its attention, which prefix sharing does not support"
        )
    keys, values = key[0].transpose(0, 1), value[0].transpose(0, 1)
    n_branches, n_heads, n_kv_heads, head_dim = len(layout.n_base), query.shape[1], keys.shape[1], query.shape[3]

    padded = query[0].transpose(0, 1).index_select(0, layout.token)
    grouped = padded.view(n_branches, layout.length, n_kv_heads, -1, head_dim).permute(0, 2, 3, 1, 4)
    all_keys, all_values = _seen(layout, module.layer_idx, keys, values)
    mask = layout.mask(sliding_window, query.dtype)
    n_groups, outputs = grouped.shape[2], []
    n_rows = max(1, _MASK_ELEMENTS // (n_branches * n_groups * mask.shape[2]))
    for first in range(0, layout.length, n_rows):
        rows = slice(first, first + n_rows)
        folded, of_folded = grouped[:, :, :, rows].flatten(2, 3), mask[:, rows].repeat(1, n_groups, 1)[:, None]
        if softcap is None and s_aux is None:
            output = scaled_dot_product_attention(folded, all_keys, all_values, attn_mask=of_folded, scale=scaling)
        else:
            output = _capped_attention(folded, all_keys, all_values, of_folded, scaling=scaling, softcap=softcap, sinks=s_aux)
        outputs.append(output.view(n_branches, n_kv_heads, n_groups, -1, output.shape[3]))

    if len(layout.target_tokens):
        tokens = layout.target_tokens
        layout.target.write(module.layer_idx, layout.target_slots, keys.index_select(0, tokens), values.index_select(0, tokens))
    by_row = torch.cat(outputs, dim=3).permute(0, 3, 1, 2, 4)
    return by_row.reshape(n_branches * layout.length, n_heads, -1).index_select(0, layout.place)[None], None


def _seen(layout: Pass, layer: int, keys: Tensor, values: Tensor) -> list[Tensor]:
    """Keys and values of every branch, each (B, kv_heads, P + S + L, head_dim): base, stored, new."""
    n_branches, n_own = layout.own_slots.shape
    base = layout.base.read(layer, layout.base_slots) if len(layout.base_slots) else None
    own = layout.own.read(layer, layout.own_slots.flatten()) if n_own else None
    seen = []
    for index, new in enumerate((keys, values)):
        parts = [new.index_select(0, layout.token).view(n_branches, layout.length, *new.shape[1:])]
        if own:
            parts.insert(0, own[index].view(n_branches, n_own, *new.shape[1:]))
        if base:
            parts.insert(0, base[index].expand(n_branches, -1, -1, -1))
        seen.append(torch.cat(parts, dim=1).transpose(1, 2))
    return seen


def _capped_attention(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor, *,
    scaling: float | None, softcap: float | None, sinks: Tensor | None,
) -> Tensor:  # fmt: skip
    """Attention with soft-capped scores (Gemma 2) or a learned sink per head that takes weight and gives nothing."""
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
