"""How evenly each query spreads its attention over the keys that it sees: measures of one row of weights."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import torch
from torch import Tensor

_TOP_SHARE: Final = 0.1


@dataclass(frozen=True, eq=False)
class RowWeights:
    """Weights of a block of queries, and what their rows say; each measure is computed once, for whoever asks first.

    Rows are divided by their sum, which is below 1 only if a learned sink (gpt-oss) has the rest. A query that sees no key
    has 0 in every measure.

    Attributes
    ----------
    weights
        (heads, R, K) of the block, 0 for keys that a query does not see.
    n_visible
        (R,) float32 number of keys that each query sees.
    """

    weights: Tensor
    n_visible: Tensor

    @cached_property
    def entropy(self) -> Tensor:
        r"""(heads, R) :math:`-\sum_j p_j \ln p_j` in nats."""
        total = self.weights.sum(dim=2)
        entropy: Tensor = torch.special.entr(self.weights).sum(dim=2) / total + total.log()
        return entropy.masked_fill(total == 0, 0.0)

    @property
    def gini(self) -> Tensor:
        r"""(heads, R) Gini coefficient over the n visible keys, 0 = all alike to 1 - 1/n = a single one.

        :math:`(n + 1 - 2 \sum_r r p_{(r)}) / n`, with the r-th largest share :math:`p_{(r)}`. Ties do not change it.
        """
        return self._of_sorted[0]

    @property
    def top_decile(self) -> Tensor:
        """(heads, R) mass of the largest tenth of the visible keys, from 0.1 = all alike to 1.

        A tenth of n keys is no whole number for most n: of 25 keys, it is the two largest and half of the third. Rounding up
        would give equal weights between 0.1 and 1, depending on n. Ties do not change it.
        """
        return self._of_sorted[1]

    @cached_property
    def _of_sorted(self) -> tuple[Tensor, Tensor]:
        """Gini coefficient and mass of the top decile, which need the weights in order; one head after another."""
        n, n_keys = self.n_visible[:, None], self.weights.shape[2]
        rank = torch.arange(1, n_keys + 1, device=self.weights.device, dtype=torch.float32)
        counted = (_TOP_SHARE * n + 1 - rank).clamp(0, 1)
        counted = counted[:, : int((counted > 0).any(dim=0).sum())]
        gini, top = (torch.zeros(self.weights.shape[:2], device=self.weights.device) for _ in range(2))
        for head, ordered in enumerate(self._descending()):
            total = ordered.sum(dim=1)
            seen = total != 0
            mean_rank = (ordered @ rank)[seen] / total[seen]
            gini[head, seen] = (n[seen, 0] + 1 - 2 * mean_rank) / n[seen, 0]
            top[head, seen] = (ordered[:, : counted.shape[1]] * counted).sum(dim=1)[seen] / total[seen]
        return gini, top

    def _descending(self) -> Iterator[Tensor]:
        """(R, K) weights of each head, every row from the largest to the smallest."""
        for weights in self.weights:
            if weights.device.type == "cpu":  # NumPy sorts ten times as fast there
                yield torch.from_numpy(np.sort(weights.numpy(), axis=1)).flip(1)
            else:
                yield weights.sort(dim=1, descending=True).values
