"""Records observations while a model attends: weights are computed in blocks of queries, reduced, and forgotten."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from reasoning_anatomy.attention_interface import model_attention
from reasoning_anatomy.attention_observation import Observation
from reasoning_anatomy.attention_weights import AttentionCall, Weights
from reasoning_anatomy.errors import ModelError
from reasoning_anatomy.types import IntArray

_BLOCK_ELEMENTS: Final = {"cpu": 2**20, "cuda": 2**26}  # weights that are held at once


class Recorder:
    """An attention handler that attends as the model does and records beside it.

    Parameters
    ----------
    observations
        What to record.

    Attributes
    ----------
    start
        Number of tokens of the sequence that were run before those which run now; set by whoever runs them.
    """

    def __init__(self, observations: Sequence[Observation]) -> None:
        self.start = 0
        self._tallies = [_Tally(observation) for observation in observations]
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
            The layer does not say which one it is.
        """
        if getattr(module, "layer_idx", None) is None:
            raise ModelError(
                f"{type(module).__name__} has no layer_idx, so what it attends to cannot be told from that of other layers; "
                "name scorers that record no attention: --scorers surprisal"
            )
        call = AttentionCall(module, query, key, value, mask, options, self.start)
        norms = call.output_norms() if any(tally.of.reduction == "contribution" for tally in self._tallies) else None
        for tally in self._tallies:
            tally.begin(call, norms)
        for alike in self._alike:
            for rows in self._blocks(call, alike):
                weights = call.weights(rows - self.start, exclude_sink=alike[0].of.exclude_sink)
                for tally in alike:
                    tally.add(module.layer_idx, rows, weights)
        return model_attention(module, query, key, value, mask, **options)

    def results(self, layers: range) -> list[Tensor]:
        """Return one tensor per observation, see `Observation`; `KeyError` names a layer that did not attend."""
        return [torch.stack([tally.result(layer) for layer in layers]) for tally in self._tallies]

    def _blocks(self, call: AttentionCall, tallies: list["_Tally"]) -> Iterator[Tensor]:
        """Places of the queries that any of the tallies asks for in this call, some at a time."""
        places = np.unique(np.concatenate([tally.queries_of(call) for tally in tallies]))
        n_keys, n_heads = call.key.shape[2], call.query.shape[1]
        n_rows = max(1, _BLOCK_ELEMENTS.get(call.query.device.type, 2**24) // (n_heads * n_keys))
        for first in range(0, len(places), n_rows):
            yield torch.from_numpy(places[first : first + n_rows]).to(call.query.device)


class _Tally:
    """One observation as far as it has come, by layer."""

    def __init__(self, observation: Observation) -> None:
        self.of = observation
        self._sums: dict[int, Tensor] = {}
        self._norms: dict[int, Tensor] = {}

    def queries_of(self, call: AttentionCall) -> IntArray:
        """Return those queries that this call runs."""
        first, last = np.searchsorted(self.of.queries, [call.start, call.start + call.n_queries])
        return self.of.queries[first:last]

    def begin(self, call: AttentionCall, norms: Tensor | None) -> None:
        """Make room for a layer, and keep the norms (heads, Q) of the keys of this call."""
        layer, n_keys = call.module.layer_idx, len(self.of.keys)
        if layer not in self._sums:
            n_heads = 1 if self.of.reduction == "exposure" else call.query.shape[1]
            shape = {"rows": (len(self.of.queries), n_keys), "entropy": (len(self.of.queries),)}.get(
                self.of.reduction, (n_keys,)
            )
            self._sums[layer] = call.query.new_zeros(n_heads, *shape, dtype=torch.float32)
            self._norms[layer] = torch.zeros_like(self._sums[layer]) if self.of.reduction == "contribution" else torch.empty(0)
        if norms is not None and self.of.reduction == "contribution":
            ours, theirs = _overlap(self.of.keys, call.start, norms.shape[1])
            self._norms[layer][:, ours] = norms[:, theirs]

    def add(self, layer: int, rows: Tensor, weights: Weights) -> None:
        """Add a block of weights of the queries at the places ``rows``, not all of which need be ours."""
        places = rows.cpu().numpy()
        first, last = np.searchsorted(self.of.queries, [places[0], places[-1] + 1])
        if first == last:
            return
        chosen = np.searchsorted(places, self.of.queries[first:last])
        if self.of.reduction == "entropy":
            self._sums[layer][:, first:last] = torch.special.entr(weights.weights[:, chosen]).sum(dim=2)
            return
        ours, theirs = _overlap(self.of.keys, weights.first_key, weights.weights.shape[2])
        if self.of.reduction == "rows":
            self._sums[layer][:, first:last, ours] = weights.weights[:, chosen][:, :, theirs]
            return
        for alike in self._of_one_limit(first, last):
            limited = self._limited(alike, ours, theirs)
            self._add_sum(layer, weights, chosen[alike.start - first : alike.stop - first], alike, *limited)

    def _of_one_limit(self, first: int, last: int) -> list[slice]:
        """Pieces of our queries ``first`` .. ``last`` that count for the same keys."""
        if self.of.until is None:
            return [slice(first, last)]
        starts = first + np.concatenate([[0], 1 + np.flatnonzero(np.diff(self.of.until[first:last]))])
        return [slice(int(a), int(b)) for a, b in zip(starts, [*starts[1:], last], strict=True)]

    def _limited(self, queries: slice, ours: slice, theirs: slice) -> tuple[slice, slice]:
        if self.of.until is None:
            return ours, theirs
        n_kept = int(np.clip(self.of.until[queries.start] - self.of.keys.start - ours.start, 0, ours.stop - ours.start))
        return slice(ours.start, ours.start + n_kept), slice(theirs.start, theirs.start + n_kept)

    def _add_sum(self, layer: int, weights: Weights, chosen: IntArray, queries: slice, ours: slice, theirs: slice) -> None:
        sums = self._sums[layer]
        of_block = np.zeros(weights.weights.shape[1], dtype=np.float32)
        of_block[chosen] = 1.0 if self.of.weight is None else self.of.weight[queries]
        factors = torch.from_numpy(of_block).to(sums.device)
        lines = slice(int(chosen[0]), int(chosen[-1]) + 1)
        if self.of.reduction == "exposure":
            sums[0, ours] += factors[lines] @ weights.visible[lines, theirs].float()
        else:
            sums[:, ours] += factors[lines] @ weights.weights[:, lines, theirs]

    def result(self, layer: int) -> Tensor:
        sums = self._sums[layer]
        return sums * self._norms[layer] if self.of.reduction == "contribution" else sums


def _overlap(keys: range, start: int, length: int) -> tuple[slice, slice]:
    """Where ``keys`` and the places ``start`` .. ``start + length`` are the same: in the first, and in the second."""
    first = max(keys.start, start)
    last = max(first, min(keys.stop, start + length))
    return slice(first - keys.start, last - keys.start), slice(first - start, last - start)
