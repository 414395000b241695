"""What scorers read from a forward pass: logits, and what enters the attention of every layer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from reasoning_anatomy.errors import ModelError
from reasoning_anatomy.models.attention_interface import handling, installed, model_attention
from reasoning_anatomy.models.capabilities import shares_prefixes, tokens_per_pass
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.models.memory import with_smaller_chunks_on_oom
from reasoning_anatomy.types import EncodedChain, FloatArray, IntArray

Result = TypeVar("Result")

LAST_LOGITS: Final = torch.tensor([-1])
"""``logits_to_keep`` for those of the last token. The integer 1 would let Gemma 4 run some layers for that token alone."""
_LOGIT_BYTES: Final = 2**28


@dataclass(frozen=True, eq=False)
class LayerInput:
    """What enters the attention of one layer, for a sequence of T tokens.

    Attributes
    ----------
    module
        The attention module.
    query
        (heads, T, head_dim) after the rotation, as the cache would hold keys.
    key, value
        (kv_heads, T, head_dim); keys after the rotation.
    scaling
        Factor of the scores.
    """

    module: Any
    query: Tensor
    key: Tensor
    value: Tensor
    scaling: float


def of_reasoning_logits(
    loaded: LoadedModel, chain: EncodedChain, read: Callable[[Tensor], FloatArray], *, token_budget: int | None
) -> FloatArray:
    """Read a value of every reasoning token from the logits that predict it. -> (n,).

    A chain longer than the budget is run in chunks, each of which sees the earlier ones through the cache, if attention is
    all by which the model passes anything from token to token; in one pass otherwise. The logits of a chunk take 256 MiB at
    most in float32, however large the vocabulary; chunks are halved when memory runs out.

    Parameters
    ----------
    loaded, chain
        The model and a chain encoded for it.
    read
        From logits (rows, vocabulary) in float32 to (rows,).
    token_budget
        Tokens of one forward pass; None = what suits the device.
    """
    n_tokens = len(chain.prompt_ids) + chain.n_reasoning - 1
    is_chunked = shares_prefixes(loaded, len(chain.ids))
    most_rows = max(1, _LOGIT_BYTES // (4 * loaded.text_config.vocab_size))
    chunk_length = min(tokens_per_pass(loaded, token_budget), most_rows, n_tokens) if is_chunked else n_tokens
    return with_smaller_chunks_on_oom(
        lambda n: np.concatenate([read(logits) for logits in _reasoning_logits(loaded, chain, n)]),
        chunk_length,
        least=1 if is_chunked else n_tokens,
    )


@torch.inference_mode()
def _reasoning_logits(loaded: LoadedModel, chain: EncodedChain, chunk_length: int) -> Iterator[Tensor]:
    """Logits (rows, vocabulary) in float32 that predict the reasoning tokens, in order, ``chunk_length`` tokens at a time."""
    ids = torch.from_numpy(chain.ids[: len(chain.prompt_ids) + chain.n_reasoning - 1]).to(loaded.device)
    first_row = len(chain.prompt_ids) - 1
    cache = DynamicCache(config=loaded.model.config) if chunk_length < len(ids) else None
    for start in range(0, len(ids), chunk_length):
        chunk = ids[start : start + chunk_length]
        n_rows = start + len(chunk) - max(start, first_row)
        output = loaded.model(
            input_ids=chunk[None], past_key_values=cache, use_cache=cache is not None, logits_to_keep=max(1, n_rows)
        )
        if n_rows > 0:
            yield output.logits[0].float()


@torch.inference_mode()
def by_layer(
    loaded: LoadedModel, ids: IntArray, read: Callable[[LayerInput], Result], *, first_position: int = 0
) -> list[Result]:
    """Run a sequence and read what enters the attention of every layer.

    Parameters
    ----------
    loaded
        The model.
    ids
        (T,) the sequence.
    read
        Called once per layer, with tensors in float32.
    first_position
        Position id of the first token.

    Returns
    -------
    What ``read`` returned, one entry per layer, in order.

    Raises
    ------
    ModelError
        The model does not attend in every layer, or not through the interface of transformers.
    """
    reader = _Reader(read)
    inputs = torch.from_numpy(ids)[None].to(loaded.device)
    position_ids = torch.arange(first_position, first_position + len(ids), device=loaded.device)[None]
    with installed(loaded.model), handling(reader.attend):
        loaded.model(input_ids=inputs, position_ids=position_ids, use_cache=False, logits_to_keep=LAST_LOGITS)
    if sorted(reader.results) != list(range(loaded.n_layers)):
        raise ModelError(
            f"{loaded.id}: only {len(reader.results)} of {loaded.n_layers} layers have keys; models with recurrent or "
            "linear-attention layers have no score by this scorer"
        )
    return [reader.results[layer] for layer in range(loaded.n_layers)]


def by_key_head(loaded: LoadedModel, chain: EncodedChain, read: Callable[[LayerInput], Tensor]) -> FloatArray:
    """Read a value of every reasoning token from each layer and KV head, of a pass over prompt and reasoning.

    ``read`` returns (kv_heads, T) for the T tokens of prompt and reasoning. -> (layers, kv_heads, n).
    """
    context = chain.ids[: len(chain.prompt_ids) + chain.n_reasoning]
    of_layers = [values[:, len(chain.prompt_ids) :] for values in by_layer(loaded, context, read)]
    if len({values.shape for values in of_layers}) > 1:
        raise ModelError(
            f"{loaded.id}: its layers differ in their number of KV heads, so their values do not fit into one array"
        )
    return torch.stack(of_layers).cpu().numpy().astype(np.float64)


@dataclass(eq=False)
class _Reader(Generic[Result]):
    read: Callable[[LayerInput], Result]
    results: dict[int, Result] = field(default_factory=dict)

    def attend(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
    ) -> tuple[Tensor, None]:
        """Attend as usual, query (1, heads, T, head_dim) -> (1, T, heads, head_dim), and read what enters this layer."""
        scaling = options.get("scaling")
        scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
        entering = LayerInput(module, query[0].float(), key[0].float(), value[0].float(), scaling)
        self.results[module.layer_idx] = self.read(entering)
        return model_attention(module, query, key, value, mask, **options)
