"""Record observations while a model attends: weights are computed in blocks of queries, reduced, and dropped."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from reasoning_anatomy.attention.accumulator import Accumulator, BlockSums
from reasoning_anatomy.attention.observation import Observation
from reasoning_anatomy.attention.rows import RowWeights
from reasoning_anatomy.attention.weights import AttentionCall, QueryBlock
from reasoning_anatomy.errors import ModelError
from reasoning_anatomy.models.attention_interface import model_attention
from reasoning_anatomy.types import IntArray

_BLOCK_ELEMENTS: Final = {"cpu": 2**20, "cuda": 2**26}  # weights that are computed at once
_BLOCK_QUERIES: Final = {"cpu": 64, "cuda": 512}  # enough for a fast product; with more, more of them would be masked


class Recorder:
    """An attention handler that attends as the model does and records as well.

    Parameters
    ----------
    observations
        What to record.
    n_layers
        Number of layers of the model.
    """

    def __init__(self, observations: Sequence[Observation], n_layers: int) -> None:
        self._chunk = range(0)
        self._attended: set[int] = set()
        self._heads_by_layer: dict[int, int] = {}
        self._n_layers = n_layers
        self._accumulators = [Accumulator(observation, n_layers) for observation in observations]
        self._by_sink: dict[int, list[Accumulator]] = {}
        for accumulator in self._accumulators:
            self._by_sink.setdefault(accumulator.observation.exclude_sink, []).append(accumulator)

    def begin_chunk(self, start: int, n_tokens: int) -> None:
        """Expect one call of each attending layer for ``n_tokens`` from index ``start`` of the sequence."""
        self._chunk = range(start, start + n_tokens)
        self._attended.clear()

    def attend(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
    ) -> tuple[Tensor, None]:
        """Attend as the model does, and record.

        Parameters
        ----------
        module
            The attention layer.
        query
            (1, heads, Q, head_dim) of the Q tokens of this chunk.
        key, value
            (1, kv_heads, K, ...) of the tokens up to the end of this chunk, or the last K of them.
        mask
            (1, 1, Q, K), True or 0 if a query sees a key; None = causal.
        options
            Of the attention function, see `AttentionCall`.

        Returns
        -------
        (1, Q, heads, head_dim) what the attention gives, and None in place of the weights.

        Raises
        ------
        ModelError
            The layer does not say which one it is, its number of heads differs from that of earlier layers, or it does not
            attend once for every token of the chunk.
        """
        if getattr(module, "layer_idx", None) is None:
            raise ModelError(
                f"{type(module).__name__} has no layer_idx, so its attention cannot be assigned to a layer; "
                "name scorers that record no attention: --scorers surprisal"
            )
        if query.shape[2] != len(self._chunk) or module.layer_idx in self._attended:
            how_often = "more than once" if module.layer_idx in self._attended else "once"
            raise ModelError(
                f"layer {module.layer_idx} of {type(module).__name__} attends {how_often} for {query.shape[2]} of "
                f"{len(self._chunk)} tokens, so it cannot be recorded; name scorers that record no attention: "
                "--scorers surprisal"
            )
        self._attended.add(module.layer_idx)
        self._heads_by_layer[module.layer_idx] = query.shape[1]
        if len(different := sorted(set(self._heads_by_layer.values()))) > 1:
            raise ModelError(
                f"layers of {type(module).__name__} have {', '.join(map(str, different))} heads, and attention is recorded "
                "only if all layers have the same number; name scorers that record no attention: --scorers surprisal"
            )
        call = AttentionCall(module, query, key, value, mask, options, self._chunk.start)
        needs_norms = any(accumulator.observation.reduction == "contribution" for accumulator in self._accumulators)
        norms = call.output_norms() if needs_norms else None
        for accumulator in self._accumulators:
            accumulator.begin(call, norms)
        for exclude_sink, accumulators in self._by_sink.items():
            _add_call(accumulators, call, exclude_sink=exclude_sink)
        return model_attention(module, query, key, value, mask, **options)

    @property
    def layers(self) -> list[int]:
        """Layers that attended."""
        return sorted(self._heads_by_layer)

    @torch.inference_mode()
    def results(self) -> list[Tensor]:
        """Return one tensor per observation, see `Observation`; NaN in layers that did not attend.

        What is not a number in a layer that attended becomes infinite, so that it is not taken for a layer that did not.
        """
        results = [accumulator.result() for accumulator in self._accumulators]
        for result in results:
            result[result.isnan()] = torch.inf
            result[sorted(set(range(self._n_layers)) - set(self.layers))] = torch.nan
        return results


def _add_call(accumulators: Sequence[Accumulator], call: AttentionCall, *, exclude_sink: int) -> None:
    """Add the weights of this call to accumulators with the same ``exclude_sink``, a block of queries at a time."""
    n_elements = _BLOCK_ELEMENTS.get(call.query.device.type, 2**24)
    blocks = _blocks(accumulators, call, n_elements)
    most = call.key.shape[2] * max(map(len, blocks), default=0)  # weights of one head
    buffer = torch.empty(min(max(n_elements, call.group * most), call.query.shape[1] * most), device=call.query.device)
    for indices in blocks:
        block = call.block(torch.from_numpy(indices - call.start).to(call.query.device), exclude_sink=exclude_sink)
        targets = [accumulator.block_sums(call, indices, block.visibility) for accumulator in accumulators]
        for target in targets:
            if not target.needs_weights:
                target.add_visibility(block.visibility)
        if weighted := [target for target in targets if target.parts and target.needs_weights]:
            _add_weights(weighted, block, n_elements, buffer)


def _add_weights(targets: Sequence[BlockSums], block: QueryBlock, n_elements: int, buffer: Tensor) -> None:
    """Compute the weights of a block in ``buffer``, some heads at a time, and add them to all ``targets``."""
    call = block.call
    n_visible = block.visibility.n_visible()
    n_kv_heads = n_elements // (call.group * len(block.rows) * block.visibility.n_keys) or 1
    for first in range(0, call.key.shape[1], n_kv_heads):
        kv_heads = slice(first, first + n_kv_heads)
        rows = RowWeights(block.weights(kv_heads, buffer), n_visible)
        for target in targets:
            target.add_weights(call.heads_of(kv_heads), rows)


def _blocks(accumulators: Sequence[Accumulator], call: AttentionCall, n_elements: int) -> list[IntArray]:
    """Cut the queries that any accumulator asks of this call into blocks, each (R,) indices in the sequence.

    Blocks begin at multiples of their size, so that causal rows have lengths which suit vector instructions.
    """
    most = min(_BLOCK_QUERIES.get(call.query.device.type, 512), n_elements // (call.group * call.key.shape[2])) or 1
    n_rows = 2 ** (most.bit_length() - 1)
    indices = np.unique(np.concatenate([accumulator.queries_of(call) for accumulator in accumulators]))
    return np.split(indices, 1 + np.flatnonzero(np.diff(indices // n_rows))) if len(indices) else []
