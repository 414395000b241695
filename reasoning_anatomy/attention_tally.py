"""One observation as far as it has come: sums that grow by a share of each block of weights."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reasoning_anatomy.attention_observation import Observation, Reduction
from reasoning_anatomy.attention_sight import Sight
from reasoning_anatomy.attention_weights import AttentionCall
from reasoning_anatomy.types import IntArray


@dataclass(frozen=True, eq=False)
class _Piece:
    """Queries of a block that count for the same keys.

    Attributes
    ----------
    queries
        Which of the observation's queries.
    chosen
        (q,) where they are in the block, ascending.
    factors
        (R,) weight of each query of the block from the first of them to the last, 0 of those between that are not ours.
    ours, theirs
        The keys they count for: in the observation, and in the block.
    """

    queries: slice
    chosen: IntArray
    factors: Tensor
    ours: slice
    theirs: slice

    @property
    def lines(self) -> slice:
        """From the first of them to the last in the block."""
        return slice(int(self.chosen[0]), int(self.chosen[-1]) + 1)


@dataclass(frozen=True, eq=False)
class Share:
    """Where the weights of a block of queries go.

    Attributes
    ----------
    reduction
        How they are reduced.
    sums
        (heads, ...) to add to.
    pieces
        Of the block.
    """

    reduction: Reduction
    sums: Tensor
    pieces: list[_Piece]

    def add(self, heads: slice, weights: Tensor) -> None:
        """Add the weights (heads, R, K) of some heads."""
        sums = self.sums[heads]
        for piece in self.pieces:
            if self.reduction == "entropy":
                sums[:, piece.queries] = torch.special.entr(weights[:, piece.chosen]).sum(dim=2)
            elif self.reduction == "rows":
                sums[:, piece.queries, piece.ours] = weights[:, piece.chosen, piece.theirs]
            else:
                sums[:, piece.ours] += piece.factors @ weights[:, piece.lines, piece.theirs]


class Tally:
    """One observation as far as it has come, by layer.

    Parameters
    ----------
    of
        What is observed.
    """

    def __init__(self, of: Observation) -> None:
        self.of = of
        self._until = None if of.reduction in ("rows", "entropy") else of.until
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

    def share(self, call: AttentionCall, places: IntArray, sight: Sight) -> Share:
        """Return where the weights of the queries at ``places``, not all of which need be ours, are to be added.

        Exposure, which needs no weights, is added at once.
        """
        first, last = np.searchsorted(self.of.queries, [places[0], places[-1] + 1])
        keys = range(call.first_key + sight.keys.start, call.first_key + sight.keys.stop)
        pieces = [self._piece(queries, places, keys, call.query.device) for queries in self._of_one_limit(first, last)]
        sums = self._sums[call.module.layer_idx]
        if self.of.reduction != "exposure":
            return Share(self.of.reduction, sums, pieces)
        for piece in pieces:
            sums[0, piece.ours] += sight.exposure(piece.lines, piece.factors)[piece.theirs]
        return Share(self.of.reduction, sums, [])

    def _of_one_limit(self, first: int, last: int) -> list[slice]:
        """Pieces of our queries ``first`` .. ``last`` that count for the same keys."""
        if first == last:
            return []
        if self._until is None:
            return [slice(first, last)]
        starts = first + np.concatenate([[0], 1 + np.flatnonzero(np.diff(self._until[first:last]))])
        return [slice(int(a), int(b)) for a, b in zip(starts, [*starts[1:], last], strict=True)]

    def _piece(self, queries: slice, places: IntArray, keys: range, device: torch.device) -> _Piece:
        chosen = np.searchsorted(places, self.of.queries[queries])
        factors = np.zeros(chosen[-1] + 1 - chosen[0], dtype=np.float32)
        factors[chosen - chosen[0]] = 1.0 if self.of.weight is None else self.of.weight[queries]
        until = keys.stop if self._until is None else min(keys.stop, int(self._until[queries.start]))
        ours, theirs = _overlap(self.of.keys, keys.start, until - keys.start)
        return _Piece(queries, chosen, torch.from_numpy(factors).to(device), ours, theirs)

    def result(self, layer: int) -> Tensor:
        """Return what was recorded in a layer; `KeyError` where it did not attend."""
        sums = self._sums[layer]
        return sums * self._norms[layer] if self.of.reduction == "contribution" else sums


def _overlap(keys: range, start: int, length: int) -> tuple[slice, slice]:
    """Where ``keys`` and the places ``start`` .. ``start + length`` are the same: in the first, and in the second."""
    first = max(keys.start, start)
    last = max(first, min(keys.stop, start + length))
    return slice(first - keys.start, last - keys.start), slice(first - start, last - start)
