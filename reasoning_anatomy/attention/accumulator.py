"""The sums of one observation, to which every block of attention weights adds its part."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reasoning_anatomy.attention.observation import OF_QUERIES, ROW_MEASURES, Observation, Reduction
from reasoning_anatomy.attention.rows import RowWeights
from reasoning_anatomy.attention.visibility import Visibility
from reasoning_anatomy.attention.weights import AttentionCall
from reasoning_anatomy.types import IntArray


@dataclass(frozen=True, eq=False)
class _BlockPart:
    """Queries of a block that count for the same keys.

    Attributes
    ----------
    queries
        Which q of the observation's queries they are.
    rows
        (q,) their rows in the block, ascending.
    factors
        (rows[-1] + 1 - rows[0],) factor of each row of the block from their first to their last: the query's weight, or 0
        for a row that the observation does not ask for.
    observed_keys, block_keys
        The keys for which they count, among the observation's and among the block's.
    """

    queries: slice
    rows: IntArray
    factors: Tensor
    observed_keys: slice
    block_keys: slice

    @property
    def row_span(self) -> slice:
        """Rows of the block from their first to their last."""
        return slice(int(self.rows[0]), int(self.rows[-1]) + 1)


@dataclass(frozen=True, eq=False)
class BlockSums:
    """The sums of one layer to which one block of queries adds.

    Attributes
    ----------
    reduction
        How weights are reduced.
    sums
        (heads, ...) of the layer, shaped as in `Observation`.
    parts
        The queries of the block that the observation asks for, by the keys for which they count; may be empty.
    """

    reduction: Reduction
    sums: Tensor
    parts: list[_BlockPart]

    @property
    def needs_weights(self) -> bool:
        """Whether the weights enter, and not only who sees whom."""
        return self.reduction not in ("exposure", "visible")

    def add_weights(self, heads: slice, rows: RowWeights) -> None:
        """Add the weights (heads, R, K) of some heads."""
        sums, weights = self.sums[heads], rows.weights
        for part in self.parts:
            if self.reduction in ROW_MEASURES:
                sums[:, part.queries] = getattr(rows, self.reduction)[:, part.rows]
            elif self.reduction == "rows":
                sums[:, part.queries, part.observed_keys] = weights[:, part.rows, part.block_keys]
            else:
                sums[:, part.observed_keys] += part.factors @ weights[:, part.row_span, part.block_keys]

    def add_visibility(self, visibility: Visibility) -> None:
        """Add how many queries see each key, or how many keys each query sees, which needs no weights."""
        for part in self.parts:
            if self.reduction == "visible":
                self.sums[0, part.queries] = visibility.n_visible()[part.rows]
            else:
                self.sums[0, part.observed_keys] += visibility.exposure(part.row_span, part.factors)[part.block_keys]


class Accumulator:
    """The sums of one observation over all layers.

    Parameters
    ----------
    observation
        What is observed.
    n_layers
        Number of layers of the model.
    """

    def __init__(self, observation: Observation, n_layers: int) -> None:
        self.observation = observation
        self._n_layers = n_layers
        self._key_stop = None if observation.reduction in ("rows", *OF_QUERIES) else observation.key_stop
        self._sums = torch.empty(0)
        self._norms = torch.empty(0)

    def queries_of(self, call: AttentionCall) -> IntArray:
        """(q,) indices in the sequence of the observed queries that this call runs."""
        first, last = np.searchsorted(self.observation.queries, [call.start, call.start + call.n_queries])
        return self.observation.queries[first:last]

    def begin(self, call: AttentionCall, norms: Tensor | None) -> None:
        """Keep the norms (heads, Q) of this call's values; the first call allocates the sums of all layers.

        Allocated layer by layer, they would lie between the temporary tensors of the layers and fragment the freed memory.
        """
        observation = self.observation
        if not len(self._sums):
            n_heads = 1 if observation.reduction in ("exposure", "visible") else call.query.shape[1]
            n_queries, n_keys = len(observation.queries), len(observation.keys)
            of_query = (n_queries,) if observation.reduction in ("rows", *OF_QUERIES) else ()
            of_key = () if observation.reduction in OF_QUERIES else (n_keys,)
            self._sums = call.query.new_zeros(self._n_layers, n_heads, *of_query, *of_key, dtype=torch.float32)
            if observation.reduction == "contribution":
                self._norms = torch.zeros_like(self._sums)
        if norms is not None and observation.reduction == "contribution":
            observed_keys, call_keys = _overlap(observation.keys, call.start, norms.shape[1])
            self._norms[call.module.layer_idx, :, observed_keys] = norms[:, call_keys]

    def block_sums(self, call: AttentionCall, indices: IntArray, visibility: Visibility) -> BlockSums:
        """Return the sums to which a block adds.

        Parameters
        ----------
        call
            The call that runs the block.
        indices
            (R,) indices of its queries in the sequence, ascending; some may not be queries of this observation.
        visibility
            Which keys of the call they see.
        """
        first, last = np.searchsorted(self.observation.queries, [indices[0], indices[-1] + 1])
        keys = range(call.first_key + visibility.keys.start, call.first_key + visibility.keys.stop)
        parts = [self._part(queries, indices, keys, call.query.device) for queries in self._by_key_stop(first, last)]
        return BlockSums(self.observation.reduction, self._sums[call.module.layer_idx], parts)

    def _by_key_stop(self, first: int, last: int) -> list[slice]:
        """Cut the observation's queries ``first`` .. ``last`` into runs that count for the same keys."""
        if first == last:
            return []
        if self._key_stop is None:
            return [slice(first, last)]
        starts = first + np.concatenate([[0], 1 + np.flatnonzero(np.diff(self._key_stop[first:last]))])
        return [slice(int(a), int(b)) for a, b in zip(starts, [*starts[1:], last], strict=True)]

    def _part(self, queries: slice, indices: IntArray, keys: range, device: torch.device) -> _BlockPart:
        rows = np.searchsorted(indices, self.observation.queries[queries])
        factors = np.zeros(rows[-1] + 1 - rows[0], dtype=np.float32)
        factors[rows - rows[0]] = 1.0 if self.observation.weight is None else self.observation.weight[queries]
        stop = keys.stop if self._key_stop is None else min(keys.stop, int(self._key_stop[queries.start]))
        observed_keys, block_keys = _overlap(self.observation.keys, keys.start, stop - keys.start)
        return _BlockPart(queries, rows, torch.from_numpy(factors).to(device), observed_keys, block_keys)

    def result(self) -> Tensor:
        """Return what was recorded, shaped as in `Observation`."""
        return self._sums * self._norms if self.observation.reduction == "contribution" else self._sums


def _overlap(keys: range, start: int, length: int) -> tuple[slice, slice]:
    """Slices of ``keys`` and of the indices ``start`` .. ``start + length`` that hold what both have in common."""
    first = max(keys.start, start)
    last = max(first, min(keys.stop, start + length))
    return slice(first - keys.start, last - keys.start), slice(first - start, last - start)
