"""Pruning from one end, a baseline."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.pruning import PruningJob
from reasoning_anatomy.pruning._curve import FixedOrder, evaluated, ordered, until
from reasoning_anatomy.types import EncodedChain, PruningPath


@dataclass(frozen=True, kw_only=True)
class Truncation(FixedOrder):
    """Delete from one end of the reasoning.

    Attributes
    ----------
    end
        ``"tail"`` deletes the last token first, as a limit on length does; ``"head"`` the first.
    """

    end: Literal["head", "tail"] = "tail"
    keep_ratio: float = 0.0
    curve_points: int = 0
    token_budget: int | None = None

    def prune(self, chain: EncodedChain, *, loaded: LoadedModel, job: PruningJob | None = None) -> PruningPath:
        """Delete tokens of one chain; see `Strategy.prune`."""
        return evaluated(self, self.order(chain, loaded=loaded), chain, loaded=loaded, job=job)

    def order(self, chain: EncodedChain, *, loaded: LoadedModel) -> PruningPath:
        """Find the deletions alone; see `OrdersBeforehand`."""
        positions = np.arange(chain.n_reasoning)
        order = positions if self.end == "head" else positions[::-1]
        return ordered(self, until(self.keep_ratio, order), chain)
