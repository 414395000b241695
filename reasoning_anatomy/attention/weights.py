"""Attention weights of some queries of one layer, in float32, from what the layer passes to its attention function."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from reasoning_anatomy.attention.projection import output_matrix
from reasoning_anatomy.attention.visibility import Visibility, causal_visibility, visibility_in_mask


@dataclass(frozen=True, eq=False)
class AttentionCall:
    """One call of a layer's attention function, for the tokens ``start`` .. ``start + Q`` of a sequence.

    Attributes
    ----------
    module
        The attention layer.
    query, key, value
        (1, heads, Q, head_dim) and (1, kv_heads, K, ...), after the rotation. The last Q of the K keys are those of the
        queries' own tokens. A layer with a sliding window may pass only the last keys of the sequence.
    mask
        (1, 1, Q, K), True or 0 if a query sees a key; None = causal.
    options
        ``scaling``, ``softcap``, ``s_aux``, ``position_bias``, ... as the model passes them.
    start
        Index of the first query in the sequence.
    """

    module: Any
    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    options: dict[str, Any]
    start: int

    @property
    def n_queries(self) -> int:
        """Number Q of queries."""
        return self.query.shape[2]

    @property
    def group(self) -> int:
        """Number of heads that share one KV head."""
        return self.query.shape[1] // self.key.shape[1]

    def heads_of(self, kv_heads: slice) -> slice:
        """Heads that share the KV heads ``kv_heads``."""
        return slice(kv_heads.start * self.group, kv_heads.stop * self.group)

    @property
    def first_key(self) -> int:
        """Index in the sequence of the first key."""
        return self.start + self.n_queries - self.key.shape[2]

    @cached_property
    def keys_by_channel(self) -> Tensor:
        """(kv_heads, head_dim, K) float32: the layout that the product with a few queries reads at its full speed."""
        return self.key[0].transpose(1, 2).float().contiguous()

    @cached_property
    def _queries_by_token(self) -> Tensor:
        """(Q, heads, head_dim): the layout of most layers, in which a query's heads are contiguous."""
        return self.query[0].transpose(0, 1).contiguous()

    def block(self, rows: Tensor, *, exclude_sink: int = 0) -> "QueryBlock":
        """Return some queries of the call and what they see.

        Parameters
        ----------
        rows
            (R,) the queries, ascending, as indices into the Q queries.
        exclude_sink
            Number of tokens at the beginning of the sequence that are dropped as keys, and with them a learned sink: the
            softmax runs over the rest.
        """
        head_dim, scaling = self.query.shape[3], self.options.get("scaling")
        queries = self._queries_by_token.index_select(0, rows).transpose(0, 1).float()
        queries = queries.reshape(-1, self.group * len(rows), head_dim) * (head_dim**-0.5 if scaling is None else scaling)
        sinks = None if exclude_sink else self.options.get("s_aux")
        return QueryBlock(self, rows, queries, self._visibility(rows, max(0, exclude_sink - self.first_key)), sinks)

    def _visibility(self, rows: Tensor, first_visible: int) -> Visibility:
        if self.mask is None:
            return causal_visibility(rows + self.key.shape[2] - self.n_queries, first_visible)
        mask = self.mask[0, 0][rows]
        visible = mask if mask.dtype == torch.bool else mask > torch.finfo(mask.dtype).min / 2
        return visibility_in_mask(visible, first_visible)

    def output_norms(self) -> Tensor:
        """(heads, Q) Euclidean length of what each query token's value adds to the layer's output at a weight of 1.

        The value times the head's part of the output projection, without its bias: ‖v W_O‖ = √(v W_O W_Oᵀ vᵀ), in float64,
        because squares need twice the digits.
        """
        n_heads, n_kv_heads = self.query.shape[1], self.value.shape[1]
        device = torch.device("cpu") if self.value.device.type == "mps" else self.value.device  # mps has no float64
        values = self.value[0, :, -self.n_queries :].to(device).double()
        n_inputs = n_heads * values.shape[2]
        norms = values.new_empty(n_heads, self.n_queries, dtype=torch.float32)
        for head, matrix in enumerate(output_matrix(self.module, n_inputs, self.value).view(n_heads, values.shape[2], -1)):
            of_head, squared = values[head * n_kv_heads // n_heads], matrix.to(device).double() @ matrix.to(device).double().T
            norms[head] = ((of_head @ squared) * of_head).sum(dim=1).clamp_min(0).sqrt()
        return norms.to(self.value.device)


@dataclass(frozen=True, eq=False)
class QueryBlock:
    """Some queries of a call.

    Attributes
    ----------
    call
        The call.
    rows
        (R,) indices into its Q queries, ascending.
    queries
        (kv_heads, group * R, head_dim) float32, times the scaling of the scores.
    visibility
        Which K keys they see.
    sinks
        (heads,) scores of the learned sinks; None if there are none.
    """

    call: AttentionCall
    rows: Tensor
    queries: Tensor
    visibility: Visibility
    sinks: Tensor | None

    def weights(self, kv_heads: slice, out: Tensor) -> Tensor:
        """(heads, R, K) float32 weights, after the softmax, of the heads that share ``kv_heads``.

        Written into ``out``, (at least heads * R * K,) float32. A query that sees no key has weights of 0.
        """
        heads = self.call.heads_of(kv_heads)
        scores = self._scores(kv_heads, out)
        self.visibility.hide(scores)
        kept = None if self.sinks is None else torch.sigmoid(scores.logsumexp(dim=2) - self.sinks[heads].float()[:, None])
        weights = torch.softmax(scores, dim=2, out=scores)
        if kept is not None:
            weights *= kept[:, :, None]
        if (masked := self.visibility.fully_masked()) is not None:
            weights.masked_fill_(masked[:, None], 0.0)
        return weights

    def _scores(self, kv_heads: slice, out: Tensor) -> Tensor:
        """(heads, R, K) scores before the softmax, of all keys whether or not a query sees them; written into ``out``."""
        call, rows, keys = self.call, self.rows, self.visibility.keys
        heads, queries = call.heads_of(kv_heads), self.queries[kv_heads]
        shape = (*queries.shape[:2], self.visibility.n_keys)
        scores = torch.bmm(queries, call.keys_by_channel[kv_heads, :, keys], out=out[: math.prod(shape)].view(shape))
        scores = scores.view(-1, len(rows), self.visibility.n_keys)
        if (cap := call.options.get("softcap")) is not None:
            scores.div_(cap).tanh_().mul_(cap)
        if (bias := call.options.get("position_bias")) is not None:
            scores += bias[0].expand(call.query.shape[1], -1, -1)[heads, rows][:, :, keys]
        if call.mask is not None and call.mask.dtype != torch.bool:
            scores += call.mask[0][:, rows][:, :, keys]
        return scores
