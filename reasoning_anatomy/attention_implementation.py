"""Put an attention function into a model for a while, and take it out again."""

from collections.abc import Iterator
from contextlib import contextmanager

from transformers import PreTrainedModel

from reasoning_anatomy.errors import ModelError


@contextmanager
def using_attention(model: PreTrainedModel, implementation: str) -> Iterator[None]:
    """Run ``model`` with a registered attention function; restore its own on leaving.

    Raises
    ------
    ModelError
        The model does not call its attention through the interface of transformers.
    """
    if not model._supports_attention_backend or not model._can_set_attn_implementation():
        raise ModelError(
            f"{type(model).__name__} does not call its attention through the attention interface of transformers, so it "
            "can be neither recorded nor pruned; use a model that does (Llama, Qwen, Mistral, Phi, Gemma, ...)"
        )
    before = model.config._attn_implementation
    model.set_attn_implementation(implementation)
    try:
        yield
    finally:
        model.set_attn_implementation(before)
