"""Attention weights of some queries of one layer, in float32, from what the layer hands to its attention function."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import torch
from torch import Tensor, nn

from reasoning_anatomy.attention_sight import Sight, causal_sight, masked_sight
from reasoning_anatomy.errors import ModelError

_OUTPUT_PROJECTIONS: Final = ("o_proj", "out_proj", "dense", "c_proj", "wo")
_TOKENS_AT_ONCE: Final = 1024


@dataclass(frozen=True, eq=False)
class AttentionCall:
    """One call of a layer's attention function, for the tokens ``start`` .. ``start + Q`` of a sequence.

    Attributes
    ----------
    module
        The attention layer.
    query, key, value
        (1, heads, Q, head_dim) and (1, kv_heads, K, ...): rotated, and the last Q of the K keys are those of the queries.
        A layer with a sliding window may hand over the last keys alone.
    mask
        (1, 1, Q, K), True or 0 where a query sees a key; None = causal.
    options
        ``scaling``, ``softcap``, ``s_aux``, ``position_bias``, ... as the model gives them.
    start
        Number of tokens before the first query.
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
        """Number of heads that share the keys of one kv head."""
        return self.query.shape[1] // self.key.shape[1]

    @property
    def first_key(self) -> int:
        """Place in the sequence of the first key."""
        return self.start + self.n_queries - self.key.shape[2]

    def sight(self, rows: Tensor, *, exclude_sink: int = 0) -> Sight:
        """Tell which keys the queries ``rows`` (R,) see, ascending and counted from ``start``.

        With ``exclude_sink`` the first tokens of the sequence, that many, are no keys.
        """
        hidden = max(0, exclude_sink - self.first_key)
        if self.mask is None:
            return causal_sight(rows + self.key.shape[2] - self.n_queries, hidden)
        of_rows = self.mask[0, 0][rows]
        return masked_sight(of_rows if of_rows.dtype == torch.bool else of_rows > torch.finfo(of_rows.dtype).min / 2, hidden)

    def weights(self, rows: Tensor, sight: Sight, kv_heads: slice, *, learned_sink: bool = True) -> Tensor:
        """(heads, R, K) float32 weights of the queries ``rows`` (R,) on the K keys of their ``sight``, after the softmax.

        Of those heads that share the keys of ``kv_heads``. A query that sees no key has no weights but 0. Without the
        ``learned_sink``, if there is one, each row sums to 1.
        """
        heads = self.heads_of(kv_heads)
        scores = self._scores(rows, sight.keys, kv_heads, heads)
        sight.hide(scores)
        weights = torch.softmax(scores, dim=2)
        if learned_sink and self.options.get("s_aux") is not None:
            sinks = self.options["s_aux"][heads].float().view(-1, 1)
            weights *= torch.sigmoid(scores.logsumexp(dim=2) - sinks)[:, :, None]
        if (blind := sight.blind()) is not None:
            weights.masked_fill_(blind[:, None], 0.0)
        return weights

    def heads_of(self, kv_heads: slice) -> slice:
        """Heads whose queries look at the keys of ``kv_heads``."""
        return slice(kv_heads.start * self.group, kv_heads.stop * self.group)

    @cached_property
    def _keys_by_channel(self) -> Tensor:
        """(kv_heads, head_dim, K) float32: the layout that the product with a few queries reads at its full speed."""
        return self.key[0].transpose(1, 2).float().contiguous()

    def _scores(self, rows: Tensor, keys: slice, kv_heads: slice, heads: slice) -> Tensor:
        """(heads, R, keys) before the softmax, nothing hidden yet."""
        head_dim = self.query.shape[3]
        scaling = self.options.get("scaling")
        queries = self.query[0][heads, rows].float() * (head_dim**-0.5 if scaling is None else scaling)
        grouped = queries.reshape(-1, self.group * len(rows), head_dim)
        scores: Tensor = (grouped @ self._keys_by_channel[kv_heads, :, keys]).view(len(queries), len(rows), -1)
        if (cap := self.options.get("softcap")) is not None:
            scores.div_(cap).tanh_().mul_(cap)
        if (bias := self.options.get("position_bias")) is not None:
            scores += bias[0].expand(self.query.shape[1], -1, -1)[heads, rows][:, :, keys]
        if self.mask is not None and self.mask.dtype != torch.bool:
            scores += self.mask[0][:, rows][:, :, keys]
        return scores

    def output_norms(self) -> Tensor:
        """(heads, Q) Euclidean length of what each new token's value adds to the layer's output, at a weight of 1.

        The value times the head's part of the output projection, without its bias: ‖v W_O‖.
        """
        n_heads, n_kv_heads = self.query.shape[1], self.value.shape[1]
        values = self.value[0, :, -self.n_queries :].float()
        heads = _output_matrix(self.module, n_heads * values.shape[2], self.value.dtype).view(n_heads, values.shape[2], -1)
        norms = values.new_empty(n_heads, self.n_queries)
        for head in range(n_heads):
            for first in range(0, self.n_queries, _TOKENS_AT_ONCE):
                tokens = slice(first, first + _TOKENS_AT_ONCE)
                norms[head, tokens] = (values[head * n_kv_heads // n_heads, tokens] @ heads[head]).norm(dim=1)
        return norms


def _output_matrix(module: Any, n_inputs: int, dtype: torch.dtype) -> Tensor:
    """Return the (inputs, hidden) float32 matrix of a layer's output projection, however it is held."""
    projection = next((getattr(module, name) for name in _OUTPUT_PROJECTIONS if hasattr(module, name)), None)
    if projection is None:
        raise ModelError(
            f"{type(module).__name__} has no output projection of a known name ({', '.join(_OUTPUT_PROJECTIONS)}), so what a "
            "value contributes is unknown; leave out the scorer contribution"
        )
    if type(projection) is nn.Linear:
        return projection.weight.T.float()
    unit = torch.eye(n_inputs, device=next(projection.parameters()).device, dtype=dtype)  # quantised weights have no rows
    matrix: Tensor = projection(unit).float() - projection(torch.zeros_like(unit[:1])).float()
    return matrix
