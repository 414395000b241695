"""One attention function inside the model, and the handlers that answer its calls.

transformers keeps attention functions in a global table, and a model's choice among them in its configuration. Ours calls the
handler that is set in the current context, so that threads can share a model.
"""

import sys
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
from reasoning_anatomy.models.change import ModelChange

IMPLEMENTATION: Final = "reasoning_anatomy"
_EAGER_ONLY: Final = ("softcap", "s_aux")
_BLOCK_ELEMENTS: Final = {"cpu": 2**22, "cuda": 2**26}  # weights that eager attention computes at once

Handler = Callable[..., tuple[Tensor, None]]
"""Takes module, query (1, heads, Q, head_dim), key and value (1, kv_heads, K, head_dim), mask and keyword options.

-> (1, Q, heads, head_dim), None.
"""

_handler: ContextVar[Handler | None] = ContextVar("reasoning_anatomy_attention", default=None)


def can_be_installed(model: PreTrainedModel) -> bool:
    """Tell whether the model's file calls attention through the interface of transformers, in some layers at least."""
    return bool(model._can_set_attn_implementation())


@contextmanager
def installed(model: PreTrainedModel) -> Iterator[None]:
    """Let ``model`` attend through the handlers of `handling`; when the last user leaves, its own attention is restored.

    Without a handler it attends by `model_attention`, as usual.

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
    with _installation(model):
        yield


def _install(model: PreTrainedModel) -> Callable[[], None]:
    AttentionInterface.register(IMPLEMENTATION, _attend)
    AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
    original = model.config._attn_implementation
    model.set_attn_implementation(IMPLEMENTATION)
    return lambda: model.set_attn_implementation(original)


_installation: Final = ModelChange(_install)


@contextmanager
def handling(handler: Handler) -> Iterator[None]:
    """Answer the attention calls of this context with ``handler``."""
    token = _handler.set(handler)
    try:
        yield
    finally:
        _handler.reset(token)


def model_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Attend as the model does without us: query (1, heads, Q, head_dim) -> (1, Q, heads, head_dim).

    That is scaled-dot-product attention or, for soft-capped scores (Gemma 2) and learned sinks (gpt-oss), which it does not
    know, the eager function of the model's own file, a block of queries at a time, so that memory grows only with the number
    of keys.
    """
    if all(options.get(name) is None for name in _EAGER_ONLY):
        return sdpa_attention_forward(module, query, key, value, mask, **options)
    n_rows = max(1, _BLOCK_ELEMENTS.get(query.device.type, 2**24) // (query.shape[1] * key.shape[2]))
    blocks = []
    for first in range(0, query.shape[2], n_rows):
        rows = slice(first, first + n_rows)
        added = _added_mask(query, key, mask, rows)
        blocks.append(_eager_function(module)(module, query[:, :, rows], key, value, added, **options)[0])
    return torch.cat(blocks, dim=1), None


def _eager_function(module: Any) -> Callable[..., tuple[Tensor, Tensor]]:
    function = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    if function is None:
        raise ModelError(
            f"{type(module).__name__} caps its attention scores or has a learned sink, and its file has no "
            "eager_attention_forward, without which it cannot be recorded; name scorers that record no attention: "
            "--scorers surprisal"
        )
    eager: Callable[..., tuple[Tensor, Tensor]] = function
    return eager


def _added_mask(query: Tensor, key: Tensor, mask: Tensor | None, rows: slice) -> Tensor:
    """(1, 1, R, K) mask of the queries ``rows``, as eager attention wants it: added to the scores, 0 or the lowest number."""
    if mask is not None and mask.dtype != torch.bool:
        return mask[:, :, rows]
    n_queries, n_keys = query.shape[2], key.shape[2]
    if mask is not None:
        visible = mask[:, :, rows]
    else:
        last_seen = torch.arange(n_queries, device=key.device)[rows] + n_keys - n_queries
        visible = (torch.arange(n_keys, device=key.device) <= last_seen[:, None])[None, None]
    lowest = torch.finfo(query.dtype).min
    return torch.zeros(visible.shape, dtype=query.dtype, device=query.device).masked_fill_(~visible, lowest)


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Call the handler; the parameters have the names by which some models pass them (AFMoE does)."""
    handler = _handler.get() or model_attention
    return handler(module, query, key, value, attention_mask, **options)
