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

from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from reasoning_anatomy.errors import ModelError

IMPLEMENTATION: Final = "reasoning_anatomy"

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


def _plain(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any) -> tuple[Tensor, None]:
    unknown = [name for name in ("softcap", "s_aux", "position_bias") if options.get(name) is not None]
    if unknown:
        raise ModelError(f"{type(module).__name__} attends with {unknown[0]}, which cannot run beside a recording of attention")
    return sdpa_attention_forward(module, query, key, value, mask, **options)


def _attend(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any) -> tuple[Tensor, None]:
    handler = _handler.get() or _plain
    return handler(module, query, key, value, mask, **options)
