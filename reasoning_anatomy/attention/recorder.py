"""Records observations while a model attends: weights are computed in blocks of queries, reduced, and forgotten."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from reasoning_anatomy.attention.accumulator import Tally
from reasoning_anatomy.attention.observation import Observation
from reasoning_anatomy.attention.weights import AttentionCall
from reasoning_anatomy.errors import ModelError
from reasoning_anatomy.models.attention_interface import model_attention
from reasoning_anatomy.types import IntArray

_BLOCK_ELEMENTS: Final = {"cpu": 2**20, "cuda": 2**26}  # weights that are held at once
_BLOCK_QUERIES: Final = {"cpu": 64, "cuda": 512}  # enough for a fast product; more would compute what a causal mask hides


class Recorder:
    """An attention handler that attends as the model does and records beside it.

    Parameters
    ----------
    observations
        What to record.
    n_layers
        Of the model.

    Attributes
    ----------
    start
        Number of tokens of the sequence that were run before those which run now; set by whoever runs them.
    """

    def __init__(self, observations: Sequence[Observation], n_layers: int) -> None:
        self.start = 0
        self._heads_by_layer: dict[int, int] = {}
        self._n_layers = n_layers
        self._tallies = [Tally(observation, n_layers) for observation in observations]
        self._alike = [
            [tally for tally in self._tallies if tally.of.exclude_sink == exclude_sink]
            for exclude_sink in dict.fromkeys(observation.exclude_sink for observation in observations)
        ]

    def attend(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
    ) -> tuple[Tensor, None]:
        """Attend as the model does, and record.

        Raises
        ------
        ModelError
            The layer does not say which one it is, or has another number of heads than the layers before.
        """
        if getattr(module, "layer_idx", None) is None:
            raise ModelError(
                f"{type(module).__name__} has no layer_idx, so what it attends to cannot be told from that of other layers; "
                "name scorers that record no attention: --scorers surprisal"
            )
        self._heads_by_layer[module.layer_idx] = query.shape[1]
        if len(different := sorted(set(self._heads_by_layer.values()))) > 1:
            raise ModelError(
                f"layers of {type(module).__name__} have {', '.join(map(str, different))} heads, and attention is recorded "
                "where all have as many; name scorers that record no attention: --scorers surprisal"
            )
        call = AttentionCall(module, query, key, value, mask, options, self.start)
        norms = call.output_norms() if any(tally.of.reduction == "contribution" for tally in self._tallies) else None
        for tally in self._tallies:
            tally.begin(call, norms)
        for alike in self._alike:
            _add_to(alike, call)
        return model_attention(module, query, key, value, mask, **options)

    @property
    def missing_layers(self) -> list[int]:
        """Layers that did not attend."""
        return sorted(set(range(self._n_layers)) - set(self._heads_by_layer))

    def results(self) -> list[Tensor]:
        """Return one tensor per observation, see `Observation`; 0 in layers that did not attend."""
        return [tally.result() for tally in self._tallies]


def _add_to(tallies: Sequence[Tally], call: AttentionCall) -> None:
    """Add the weights of this call to tallies that exclude the same keys, some queries and heads at a time."""
    n_elements = _BLOCK_ELEMENTS.get(call.query.device.type, 2**24)
    blocks = _blocks(tallies, call, n_elements)
    most = call.key.shape[2] * max(map(len, blocks), default=0)  # weights of one head
    room = torch.empty(min(max(n_elements, call.group * most), call.query.shape[1] * most), device=call.query.device)
    for places in blocks:
        rows = torch.from_numpy(places - call.start).to(call.query.device)
        block = call.block(rows, exclude_sink=tallies[0].of.exclude_sink)
        shares = [share for tally in tallies if (share := tally.share(call, places, block.visibility)).pieces]
        if not shares:
            continue
        n_kv_heads = n_elements // (call.group * len(rows) * block.visibility.n_keys) or 1
        for first in range(0, call.key.shape[1], n_kv_heads):
            kv_heads = slice(first, first + n_kv_heads)
            weights = block.weights(kv_heads, room)
            for share in shares:
                share.add(call.heads_of(kv_heads), weights)


def _blocks(tallies: Sequence[Tally], call: AttentionCall, n_elements: int) -> list[IntArray]:
    """Places of the queries in this call that any tally asks for, some at a time.

    Blocks begin at multiples of their size, so that causal rows have lengths which suit vector instructions.
    """
    most = min(_BLOCK_QUERIES.get(call.query.device.type, 512), n_elements // (call.group * call.key.shape[2])) or 1
    n_rows = 2 ** (most.bit_length() - 1)
    places = np.unique(np.concatenate([tally.queries_of(call) for tally in tallies]))
    return np.split(places, 1 + np.flatnonzero(np.diff(places // n_rows))) if len(places) else []
