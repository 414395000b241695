"""One observation as far as it has come: sums that grow by a share of each block of weights."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reasoning_anatomy.attention.observation import Observation, Reduction
from reasoning_anatomy.attention.visibility import Visibility
from reasoning_anatomy.attention.weights import AttentionCall
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
    n_layers
        Of the model.
    """

    def __init__(self, of: Observation, n_layers: int) -> None:
        self.of = of
        self._n_layers = n_layers
        self._until = None if of.reduction in ("rows", "entropy") else of.until
        self._sums = torch.empty(0)
        self._norms = torch.empty(0)

    def queries_of(self, call: AttentionCall) -> IntArray:
        """Return those queries that this call runs."""
        first, last = np.searchsorted(self.of.queries, [call.start, call.start + call.n_queries])
        return self.of.queries[first:last]

    def begin(self, call: AttentionCall, norms: Tensor | None) -> None:
        """Keep the norms (heads, Q) of the keys of this call, and make room for all layers at the first call.

        Sums of one layer would lie between what other layers hold for a moment, and keep the freed memory in pieces.
        """
        if not len(self._sums):
            n_heads = 1 if self.of.reduction == "exposure" else call.query.shape[1]
            self._sums = call.query.new_zeros(self._n_layers, n_heads, *self._shape(), dtype=torch.float32)
            if self.of.reduction == "contribution":
                self._norms = torch.zeros_like(self._sums)
        if norms is not None and self.of.reduction == "contribution":
            ours, theirs = _overlap(self.of.keys, call.start, norms.shape[1])
            self._norms[call.module.layer_idx, :, ours] = norms[:, theirs]

    def _shape(self) -> tuple[int, ...]:
        n_queries, n_keys = len(self.of.queries), len(self.of.keys)
        return {"rows": (n_queries, n_keys), "entropy": (n_queries,)}.get(self.of.reduction, (n_keys,))

    def share(self, call: AttentionCall, places: IntArray, visibility: Visibility) -> Share:
        """Return where the weights of the queries at ``places``, not all of which need be ours, are to be added.

        Exposure, which needs no weights, is added at once.
        """
        first, last = np.searchsorted(self.of.queries, [places[0], places[-1] + 1])
        keys = range(call.first_key + visibility.keys.start, call.first_key + visibility.keys.stop)
        pieces = [self._piece(queries, places, keys, call.query.device) for queries in self._of_one_limit(first, last)]
        sums = self._sums[call.module.layer_idx]
        if self.of.reduction != "exposure":
            return Share(self.of.reduction, sums, pieces)
        for piece in pieces:
            sums[0, piece.ours] += visibility.exposure(piece.lines, piece.factors)[piece.theirs]
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

    def result(self) -> Tensor:
        """Return what was recorded, see `Observation`."""
        return self._sums * self._norms if self.of.reduction == "contribution" else self._sums


def _overlap(keys: range, start: int, length: int) -> tuple[slice, slice]:
    """Where ``keys`` and the places ``start`` .. ``start + length`` are the same: in the first, and in the second."""
    first = max(keys.start, start)
    last = max(first, min(keys.stop, start + length))
    return slice(first - keys.start, last - keys.start), slice(first - start, last - start)
