"""Attention weights of some queries of one layer, in float32, from what the layer hands to its attention function."""

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from reasoning_anatomy.errors import ModelError

_OUTPUT_PROJECTIONS: Final = ("o_proj", "out_proj", "dense", "c_proj", "wo")
_TOKENS_AT_ONCE: Final = 1024


@dataclass(frozen=True, eq=False)
class Weights:
    """Attention of R queries on the keys that any of them sees.

    Attributes
    ----------
    weights
        (heads, R, K) float32, after the softmax; a row without any key it may look at is zero.
    visible
        (R, K) which query sees which key.
    first_key
        Place in the sequence of the first of the K keys.
    """

    weights: Tensor
    visible: Tensor
    first_key: int


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
    def first_key(self) -> int:
        """Place in the sequence of the first key."""
        return self.start + self.n_queries - self.key.shape[2]

    def weights(self, rows: Tensor, *, exclude_sink: int = 0) -> Weights:
        """Weights of the queries ``rows`` (R,), ascending, counted from ``start``.

        With ``exclude_sink`` the first tokens of the sequence, that many, are no keys, nor is a learned sink: the softmax
        runs over the rest.
        """
        visible = self._visible(rows)
        if exclude_sink:
            visible[:, : max(0, exclude_sink - self.first_key)] = False
        seen = _any(visible, dim=0).nonzero()
        columns = slice(int(seen[0]), int(seen[-1]) + 1) if len(seen) else slice(0, 1)
        visible = visible[:, columns]
        scores = self._scores(rows, columns)
        _hide(scores, visible)
        weights = torch.softmax(scores, dim=2)
        if not exclude_sink and self.options.get("s_aux") is not None:
            sinks = self.options["s_aux"].float().view(-1, 1)
            weights *= torch.sigmoid(scores.logsumexp(dim=2) - sinks)[:, :, None]
        blind = ~_any(visible, dim=1)
        if blind.any():
            weights.masked_fill_(blind[:, None], 0.0)
        return Weights(weights, visible, self.first_key + columns.start)

    def _visible(self, rows: Tensor) -> Tensor:
        n_keys = self.key.shape[2]
        if self.mask is None:
            last_seen = rows + n_keys - self.n_queries
            first, stop = int(last_seen[0]) + 1, int(last_seen[-1]) + 1
            visible = torch.ones(len(rows), n_keys, dtype=torch.bool, device=rows.device)
            visible[:, first:stop] = torch.arange(first, stop, device=rows.device) <= last_seen[:, None]
            visible[:, stop:] = False
            return visible
        of_rows = self.mask[0, 0].index_select(0, rows)
        return of_rows if of_rows.dtype == torch.bool else of_rows > torch.finfo(of_rows.dtype).min / 2

    def _scores(self, rows: Tensor, columns: slice) -> Tensor:
        """(heads, R, columns) before the softmax, nothing hidden yet."""
        _, n_heads, _, head_dim = self.query.shape
        keys = self.key[0, :, columns].float()
        scaling = self.options.get("scaling")
        queries = self.query[0].index_select(1, rows).float() * (head_dim**-0.5 if scaling is None else scaling)
        grouped = queries.reshape(len(keys), -1, head_dim)
        scores: Tensor = (grouped @ keys.transpose(1, 2)).view(n_heads, len(rows), -1)
        if (cap := self.options.get("softcap")) is not None:
            scores.div_(cap).tanh_().mul_(cap)
        if (bias := self.options.get("position_bias")) is not None:
            scores += bias[0].index_select(1, rows)[:, :, columns]
        if self.mask is not None and self.mask.dtype != torch.bool:
            scores += self.mask[0].index_select(1, rows)[:, :, columns]
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


def _hide(scores: Tensor, visible: Tensor) -> None:
    """Set the scores (heads, R, K) to -inf where a query does not see a key."""
    partly = _any(~visible, dim=0).nonzero()
    if len(partly):
        columns = slice(int(partly[0]), int(partly[-1]) + 1)
        scores[:, :, columns].masked_fill_(~visible[:, columns], -torch.inf)


def _any(flags: Tensor, *, dim: int) -> Tensor:
    """Reduce flags as `Tensor.any` does, ten times as fast."""
    return flags.view(torch.uint8).amax(dim=dim).bool()


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
