"""Check that recorded attention is the model's own: the logits cannot show what is recorded wrongly."""

import math
import warnings
from typing import Final

import numpy as np
import torch

from reasoning_anatomy.attention.observation import Observation
from reasoning_anatomy.attention.own_weights import own_weights
from reasoning_anatomy.attention.recording import LEAST_CHUNK, longest_chunk, record
from reasoning_anatomy.errors import ModelError
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.models.memory import with_smaller_chunks_on_oom
from reasoning_anatomy.types import EncodedChain, Float32Array

_TOLERANCE: Final = 1e-4  # of any query, in float32
_ROUNDING_OF_HALF_PRECISION: Final = 0.1  # of the mean of a layer
_MOST_TOKENS: Final = 256
_MOST_WEIGHTS: Final = 2**26  # 256 MiB in float32


def largest_weight_difference(loaded: LoadedModel, chain: EncodedChain, *, in_pieces: bool = False) -> float:
    """Largest difference between recorded attention and the model's own eager attention, over all layers, heads and queries.

    The beginning of the chain is compared, at most 256 tokens: run as a whole and, with ``in_pieces``, in two chunks.
    The difference of a query is the total variation distance of its row of weights: the part of its attention that lies
    elsewhere, 0..1.

    Raises
    ------
    ModelError
        A row differs by more than 1e-4 in float32. In half precision and in 4 or 8 bits, hidden states differ by rounding
        between the two functions, and a layer may differ by a tenth on average. Or eager attention gives no weights.
    """

    def difference(n_tokens: int) -> float:
        ids = chain.ids[:n_tokens]
        rows = Observation(reduction="rows", queries=np.arange(n_tokens), keys=range(n_tokens))
        half = longest_chunk(loaded, n_tokens, (n_tokens + 1) // 2)
        own = {layer: weights.cpu().numpy() for layer, weights in own_weights(loaded, ids).items()}
        by_layer: dict[int, float] = {}
        for length in {n_tokens, half} if in_pieces else {n_tokens}:
            (recorded,) = record(loaded, ids, [rows], token_budget=length)
            for layer in np.flatnonzero(~np.isnan(recorded).all(axis=(1, 2, 3))).tolist():
                by_layer[layer] = max(by_layer.get(layer, 0.0), _difference(loaded, layer, recorded[layer], own.get(layer)))
        _name_those_that_attend(loaded, sorted(by_layer))
        return max(by_layer.values())

    n_most = math.isqrt(_MOST_WEIGHTS // max(1, loaded.n_layers * loaded.n_heads))
    return with_smaller_chunks_on_oom(difference, min(len(chain.ids), _MOST_TOKENS, n_most), least=LEAST_CHUNK)


def _difference(loaded: LoadedModel, layer: int, recorded: Float32Array, own: Float32Array | None) -> float:
    """Compare the weights (heads, T, T) of a layer; `ModelError` if they are not the same up to rounding."""
    remedy = "name scorers that record no attention: --scorers surprisal"
    if own is None:
        raise ModelError(
            f"{loaded.id}: the eager attention of layer {layer} gives no weights with which recorded ones could be "
            f"compared; {remedy}"
        )
    is_exact = loaded.model.dtype == torch.float32 and loaded.quantization is None
    tolerance = _TOLERANCE if is_exact else _ROUNDING_OF_HALF_PRECISION
    by_row = np.abs(recorded - own).sum(axis=-1) / 2
    difference = float(by_row.max() if is_exact else by_row.mean())
    if not difference <= tolerance:
        raise ModelError(
            f"{loaded.id}: recorded attention differs from eager attention by {difference:.2g} in layer {layer}, but rounding "
            f"explains at most {tolerance:.2g}; the attention of {type(loaded.model).__name__} cannot be recorded by this "
            f"version; {remedy}"
        )
    return difference


def _name_those_that_attend(loaded: LoadedModel, layers: list[int]) -> None:
    if len(layers) < loaded.n_layers:
        warnings.warn(
            f"{loaded.id}: only layer {', '.join(map(str, layers))} of 0..{loaded.n_layers - 1} can be recorded; the others "
            "(recurrent, linear attention, convolution) have no attention and are left out of every mean",
            UserWarning, stacklevel=2,
        )  # fmt: skip
