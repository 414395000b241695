"""What to record of the attention in one sequence: which queries, which keys, and how weights are reduced."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from reasoning_anatomy.types import FloatArray, IntArray

Reduction = Literal["sum", "contribution", "exposure", "rows", "entropy", "gini", "top_decile", "visible"]

ROW_MEASURES: Final = ("entropy", "gini", "top_decile")
"""Reductions of a row to one number, properties of `RowWeights`."""
OF_QUERIES: Final = (*ROW_MEASURES, "visible")
"""Reductions with a value of each query, whatever the keys of the observation."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Observation:
    r"""Attention of some queries, reduced as it is computed.

    With the post-softmax weight :math:`\alpha_{ij}` of query i on key j in one head, and the weight :math:`w_i` of the query:

    ================  ==================  ==========================================================================
    reduction         result              of key j
    ================  ==================  ==========================================================================
    ``sum``           (layers, heads, k)  :math:`\sum_i w_i \alpha_{ij}`
    ``contribution``  (layers, heads, k)  :math:`\sum_i w_i \lVert \alpha_{ij} v_j W_O \rVert`, the head's part of W_O
    ``exposure``      (layers, 1, k)      :math:`\sum_i w_i [i \text{ sees } j]`
    ================  ==================  ==========================================================================

    and ``rows`` (layers, heads, q, k), the weights themselves. The others say of each query how evenly it attends, over all
    keys that it sees, with :math:`p_{ij} = \alpha_{ij} / \sum_k \alpha_{ik}`, which is :math:`\alpha_{ij}` unless a learned
    sink has the rest; `RowWeights` has the formulas:

    ================  ==================  ==========================================================================
    reduction         result              of query i
    ================  ==================  ==========================================================================
    ``entropy``       (layers, heads, q)  :math:`-\sum_j p_{ij} \ln p_{ij}` in nats
    ``gini``          (layers, heads, q)  Gini coefficient, 0 = all keys alike
    ``top_decile``    (layers, heads, q)  mass of the largest tenth of the keys
    ``visible``       (layers, 1, q)      number of keys that it sees
    ================  ==================  ==========================================================================

    Attributes
    ----------
    reduction
        See above.
    queries
        (q,) indices of the query tokens in the sequence, ascending. An index counts all tokens of the sequence, prompt
        included, from 0; the token at reasoning position i has index len(prompt_ids) + i.
    keys
        Consecutive indices of the k key tokens. The measures of a query are over all keys that it sees, whatever is given here.
    weight
        (q,) weight of each query in the three sums; None = 1.
    key_stop
        (q,) the last key of each query, exclusive, in the three sums: it counts only for keys whose index is lower.
        Ascending; None = it counts for all keys that it sees.
    exclude_sink
        Number of tokens at the beginning of the sequence that are dropped as keys, and with them a learned sink; the rest of
        each row is renormalised to 1. 0 = as the model attends.
    """

    reduction: Reduction
    queries: IntArray
    keys: range
    weight: FloatArray | None = None
    key_stop: IntArray | None = None
    exclude_sink: int = 0

    def __post_init__(self) -> None:
        if self.queries.ndim != 1 or not len(self.queries) or np.any(np.diff(self.queries) <= 0):
            raise ValueError(f"queries are {self.queries}, expected one or more ascending indices")
        if self.keys.step != 1 or not len(self.keys):
            raise ValueError(f"keys are {self.keys}, expected one or more consecutive indices")
        for name in ("weight", "key_stop"):
            of_queries = getattr(self, name)
            if of_queries is not None and of_queries.shape != self.queries.shape:
                raise ValueError(f"{name} has shape {of_queries.shape}, expected one for each of {len(self.queries)} queries")
        if self.key_stop is not None and np.any(np.diff(self.key_stop) < 0):
            raise ValueError(f"key_stop is {self.key_stop}, expected ascending indices")

    @property
    def identity(self) -> tuple[object, ...]:
        """Equal for two observations only if they record the same."""
        arrays = [None if array is None else array.tobytes() for array in (self.queries, self.weight, self.key_stop)]
        return (self.reduction, self.keys, self.exclude_sink, *arrays)
