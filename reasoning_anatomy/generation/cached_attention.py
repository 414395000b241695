"""Attention to what is left in a cache: the model's own, but what a token sees follows from what the slots hold."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from reasoning_anatomy.errors import ModelError
from reasoning_anatomy.models.attention_interface import handling, installed, model_attention
from reasoning_anatomy.models.loading import LoadedModel


@dataclass(eq=False)
class CachedAttention:
    """What the layers of one forward pass do, of Q new tokens in every row of a batch.

    A token sees the slots that hold a token, up to its own, and in a layer with a sliding window those whose position is near
    enough: the mask of transformers takes the number of a slot for its position, which is wrong once something was evicted.

    Attributes
    ----------
    holds_token
        (rows, K) whether a slot holds a token; the last Q are the new ones.
    slot_positions
        (rows, K) position of every slot; None if heads hold different tokens.
    wants_weights, wants_queries
        What to note of the newest token.
    weights
        (rows, heads, K) float32 weights of the newest token, by layer, if wanted.
    queries
        (rows, heads, head_dim) float32 of the newest token times the scaling of the scores, by layer, if wanted.
    windows
        The sliding window of every layer, by number; None for full attention.
    """

    holds_token: Tensor
    slot_positions: Tensor | None
    wants_weights: bool = False
    wants_queries: bool = False
    weights: dict[int, Tensor] = field(default_factory=dict)
    queries: dict[int, Tensor] = field(default_factory=dict)
    windows: dict[int, int | None] = field(default_factory=dict)
    _visible: dict[tuple[int | None, int], Tensor | None] = field(default_factory=dict)

    def weights_by_layer(self) -> Tensor:
        """(rows, layers, heads, K) weights of the newest token."""
        return torch.stack([self.weights[layer] for layer in sorted(self.weights)], dim=1)

    @contextmanager
    def of(self, loaded: LoadedModel) -> Iterator[None]:
        """Let the model attend like this."""
        with installed(loaded.model), handling(self._attend):
            yield

    def _attend(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
    ) -> tuple[Tensor, None]:
        layer = module.layer_idx
        self.windows[layer] = options.get("sliding_window")
        visible = self._seen_by(query.shape[2], self.windows[layer])
        if self.wants_weights:
            self.weights[layer] = _weights_of_newest(query, key, visible, options)
        if self.wants_queries:
            self.queries[layer] = query[:, :, -1].float() * _scaling(query, options)
        return model_attention(module, query, key, value, visible, **options)

    def _seen_by(self, n_new: int, window: int | None) -> Tensor | None:
        """(rows, 1, n_new, K) whether a new token sees a slot; None if they see all that is before them."""
        if (window, n_new) not in self._visible:
            self._visible[window, n_new] = self._visibility(n_new, window)
        return self._visible[window, n_new]

    def _visibility(self, n_new: int, window: int | None) -> Tensor | None:
        n_slots = self.holds_token.shape[1]
        is_full = bool(self.holds_token.all())
        if is_full and (window is None or n_slots <= window) and (n_new == 1 or n_new == n_slots):
            return None
        slots = torch.arange(n_slots, device=self.holds_token.device)
        visible = self.holds_token[:, None] & (slots <= slots[-n_new:, None])
        if window is not None:
            if self.slot_positions is None:
                raise ModelError("heads hold different tokens, so they cannot share a sliding window")
            distance = self.slot_positions[:, -n_new:, None] - self.slot_positions[:, None]
            visible &= distance < window
        return visible[:, None]


def _scaling(query: Tensor, options: dict[str, Any]) -> float:
    scaling: float | None = options.get("scaling")
    return query.shape[-1] ** -0.5 if scaling is None else scaling


def _weights_of_newest(query: Tensor, key: Tensor, visible: Tensor | None, options: dict[str, Any]) -> Tensor:
    """(rows, heads, K) float32 weights of the last of queries (rows, heads, Q, head_dim) on (rows, kv_heads, K, head_dim)."""
    n_rows, n_heads, _, head_dim = query.shape
    newest = query[:, :, -1].float().view(n_rows, key.shape[1], -1, head_dim) * _scaling(query, options)
    scores = (newest @ key.float().transpose(2, 3)).view(n_rows, n_heads, -1)
    if (cap := options.get("softcap")) is not None:
        scores = (scores / cap).tanh() * cap
    if visible is not None:
        scores = scores.masked_fill(~visible[:, :, -1], -torch.inf)
    weights = scores.softmax(dim=-1)
    if (sinks := options.get("s_aux")) is not None:
        weights = weights * torch.sigmoid(scores.logsumexp(dim=-1, keepdim=True) - sinks.float()[:, None])
    return weights
