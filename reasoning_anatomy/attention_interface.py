"""One attention function inside the model, and who answers its calls.

transformers keeps attention functions in a global table and a model's choice in its configuration. Ours is put in
once and calls whatever handler is set in the current context, so that threads can share a model.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from reasoning_anatomy.errors import ModelError

IMPLEMENTATION: Final = "reasoning_anatomy"
_ROWS_AT_ONCE: Final = 256

Handler = Callable[..., tuple[Tensor, None]]
"""Takes module, query (1, heads, T, head_dim), key, value (1, kv_heads, T, head_dim), mask and keyword options."""

_handler: ContextVar[Handler | None] = ContextVar("reasoning_anatomy_attention", default=None)
_lock: Final = threading.Lock()
_users: Final[Counter[int]] = Counter()
_original: Final[dict[int, str]] = {}


def can_be_installed(model: PreTrainedModel) -> bool:
    """Tell whether the model calls its attention through the interface of transformers."""
    return bool(model._supports_attention_backend and model._can_set_attn_implementation())


@contextmanager
def installed(model: PreTrainedModel) -> Iterator[None]:
    """Let ``model`` attend through the handlers of `handling`; its own attention is back when the last user leaves.

    Without a handler it attends by scaled-dot-product attention, as usual.

    Raises
    ------
    ModelError
        The model does not call its attention through the interface of transformers.
    """
    if not can_be_installed(model):
        raise ModelError(
            f"{type(model).__name__} does not call its attention through the attention interface of transformers, so it "
            "cannot be recorded; name scorers that record no attention (--scorers surprisal), or use a model that does "
            "(Llama, Qwen, Mistral, Phi, ...)"
        )
    with _lock:
        if not _users[id(model)]:
            AttentionInterface.register(IMPLEMENTATION, _attend)
            AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
            _original[id(model)] = model.config._attn_implementation
            model.set_attn_implementation(IMPLEMENTATION)
        _users[id(model)] += 1
    try:
        yield
    finally:
        with _lock:
            _users[id(model)] -= 1
            if not _users[id(model)]:
                model.set_attn_implementation(_original.pop(id(model)))
                del _users[id(model)]


@contextmanager
def handling(handler: Handler) -> Iterator[None]:
    """Answer the attention calls of this context with ``handler``."""
    token = _handler.set(handler)
    try:
        yield
    finally:
        _handler.reset(token)


def attend_as_usual(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Attend as the model does without us: by scaled-dot-product attention, or by `capped_attention` where it must."""
    softcap, sinks = options.get("softcap"), options.get("s_aux")
    if softcap is None and sinks is None:
        return sdpa_attention_forward(module, query, key, value, mask, **options)
    n_groups = query.shape[1] // key.shape[1]
    keys, values = key.repeat_interleave(n_groups, dim=1), value.repeat_interleave(n_groups, dim=1)
    output = torch.cat(
        [
            capped_attention(
                query[:, :, start : start + _ROWS_AT_ONCE], keys, values, _added(mask, query, key, start),
                scaling=options.get("scaling"), softcap=softcap, sinks=sinks,
            )
            for start in range(0, query.shape[2], _ROWS_AT_ONCE)
        ],
        dim=2,
    )  # fmt: skip
    return output.transpose(1, 2).contiguous(), None


def capped_attention(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor, *,
    scaling: float | None, softcap: float | None, sinks: Tensor | None,
) -> Tensor:  # fmt: skip
    """Attention with soft-capped scores (Gemma 2) or a learned sink per head that takes weight and gives nothing.

    (B, heads, Q, d), (B, heads, K, d), (B, heads, K, e) and a mask that is added -> (B, heads, Q, e).
    """
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


def _added(mask: Tensor | None, query: Tensor, key: Tensor, start: int) -> Tensor:
    """Mask of the rows from ``start`` on as it is added to the scores; without one, attention is causal."""
    n_queries, n_keys = query.shape[2], key.shape[2]
    rows = slice(start, min(start + _ROWS_AT_ONCE, n_queries))
    if mask is None:
        last_seen = torch.arange(rows.start, rows.stop, device=query.device) + (n_keys - n_queries)
        mask_of_rows = (torch.arange(n_keys, device=query.device) <= last_seen[:, None])[None, None]
    else:
        mask_of_rows = mask[:, :, rows]
    if mask_of_rows.dtype != torch.bool:
        return mask_of_rows
    return torch.zeros_like(mask_of_rows, dtype=query.dtype).masked_fill_(~mask_of_rows, -torch.inf)


def _attend(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any) -> tuple[Tensor, None]:
    handler = _handler.get() or attend_as_usual
    return handler(module, query, key, value, mask, **options)
