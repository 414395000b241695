"""Attention received by every reasoning token, without ever holding a T x T matrix.

The model runs on scaled-dot-product attention as usual. Beside it, the weights of the few query tokens that were
asked for are computed row by row from the same queries and keys, and averaged at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from reasoning_anatomy.attention_interface import handling, installed
from reasoning_anatomy.errors import ModelError
from reasoning_anatomy.models import LoadedModel
from reasoning_anatomy.types import EncodedChain, Float32Array


@dataclass(eq=False)
class _Recorder:
    """Mean weight of the queries ``rows`` on the keys ``columns``, by layer."""

    rows: slice
    columns: slice
    received: dict[int, Tensor] = field(default_factory=dict)

    def attend(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
    ) -> tuple[Tensor, None]:
        """Attend as usual and keep the mean weights of this layer."""
        for name in ("softcap", "s_aux", "position_bias"):
            if options.get(name) is not None:
                raise ModelError(
                    f"{type(module).__name__} changes its attention by {name!r}, which the recorder does not support; "
                    "name scorers that record no attention: --scorers surprisal"
                )
        self.received[module.layer_idx] = _mean_weight(module, query, key, mask, options.get("scaling"), self)
        output: Tensor = sdpa_attention_forward(module, query, key, value, mask, **options)[0]
        return output, None


def received_from_answer(loaded: LoadedModel, chain: EncodedChain) -> Float32Array:
    """Attention that every reasoning token receives from the answer tokens.

    Parameters
    ----------
    loaded
        The model.
    chain
        Encoded for it.

    Returns
    -------
    (layers, heads, n) mean over the m answer tokens, as queries, of the post-softmax weight on each reasoning
    token; nothing is renormalised. Weights are computed in float32 whatever the model's dtype.

    Raises
    ------
    ModelError
        The model's attention cannot be recorded.
    """
    n_prompt, n_reasoning = len(chain.prompt_ids), chain.n_reasoning
    recorder = _Recorder(rows=slice(n_prompt + n_reasoning, len(chain.ids)), columns=slice(n_prompt, n_prompt + n_reasoning))
    with _recording(loaded.model, recorder):
        last_logits(loaded, chain)
    if sorted(recorder.received) != list(range(loaded.n_layers)):
        raise ModelError(
            f"{loaded.id}: only {len(recorder.received)} of {loaded.n_layers} layers let their attention be recorded; "
            "models with recurrent or linear-attention layers cannot be measured so"
        )
    layers = [recorder.received[layer] for layer in range(loaded.n_layers)]
    received: Float32Array = torch.stack(layers).cpu().numpy().astype(np.float32, copy=False)
    return received


def largest_logit_change(loaded: LoadedModel, chain: EncodedChain) -> float:
    """Largest absolute change of the last token's logits that recording makes (0 = it only looks on)."""
    plain = last_logits(loaded, chain)
    recorder = _Recorder(rows=slice(len(chain.ids) - 1, len(chain.ids)), columns=slice(0, 1))
    with _recording(loaded.model, recorder):
        recorded = last_logits(loaded, chain)
    return float((plain - recorded).abs().max())


@torch.inference_mode()
def last_logits(loaded: LoadedModel, chain: EncodedChain) -> Tensor:
    """(vocabulary,) logits after the last token of the chain, in one plain forward pass."""
    ids = torch.from_numpy(chain.ids)[None].to(loaded.device)
    logits: Tensor = loaded.model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[0, -1].float()
    return logits


@contextmanager
def _recording(model: PreTrainedModel, recorder: _Recorder) -> Iterator[None]:
    with installed(model), handling(recorder.attend):
        yield


def _mean_weight(
    module: Any, query: Tensor, key: Tensor, mask: Tensor | None, scaling: float | None, recorder: _Recorder
) -> Tensor:
    """(heads, columns) mean over rows of the softmax weights, in float32."""
    n_queries, n_keys = query.shape[2], key.shape[2]
    rows = query[0, :, recorder.rows].float()
    n_heads, n_rows, head_dim = rows.shape
    keys = key[0].float()
    grouped = rows.reshape(keys.shape[0], -1, head_dim)
    scores = (grouped @ keys.transpose(1, 2)).view(n_heads, n_rows, n_keys)
    scores = scores * (head_dim**-0.5 if scaling is None else scaling)
    if mask is None:
        last_seen = torch.arange(n_queries, device=scores.device)[recorder.rows] + (n_keys - n_queries)
        scores = scores.masked_fill(torch.arange(n_keys, device=scores.device) > last_seen[:, None], -torch.inf)
    elif mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask[0, :, recorder.rows], -torch.inf)
    else:
        scores = scores + mask[0, :, recorder.rows].float()
    return torch.softmax(scores, dim=-1)[:, :, recorder.columns].mean(dim=1)
