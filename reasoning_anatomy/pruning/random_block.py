"""Pruning of one random block, a baseline."""

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np

from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.pruning import PruningJob
from reasoning_anatomy.pruning._curve import FixedOrder, evaluated, ordered, until
from reasoning_anatomy.randomness import chain_generator
from reasoning_anatomy.types import EncodedChain, IntArray, PruningPath


@dataclass(frozen=True, kw_only=True)
class RandomBlock(FixedOrder):
    """Delete one contiguous block that grows at its ends; at every length its position is uniform.

    One number in 0..1 per chain says where in the reasoning the block is, whatever its length.

    Attributes
    ----------
    seed
        The same seed gives the same block on a chain, whatever other chains are measured.
    """

    seed: int = 0
    keep_ratio: float = 0.0
    curve_points: int = 0
    token_budget: int | None = None

    def prune(self, chain: EncodedChain, *, loaded: LoadedModel, job: PruningJob | None = None) -> PruningPath:
        """Delete tokens of one chain; see `Strategy.prune`."""
        return evaluated(self, self.order(chain, loaded=loaded), chain, loaded=loaded, job=job)

    def order(self, chain: EncodedChain, *, loaded: LoadedModel) -> PruningPath:
        """Find the deletions alone; see `OrdersBeforehand`."""
        place = chain_generator("random_block", self.seed, chain.chain_id).random()
        return ordered(self, until(self.keep_ratio, _block_order(place, chain.n_reasoning)), chain)


def _block_order(place: float, n: int) -> IntArray:
    """Order (n,) in which a block grows that starts at floor(place * (n - length + 1)); 0 <= place < 1.

    From one length to the next the start stays, and the block grows at its end, or goes down by one.
    """
    exact = Fraction(place)  # no rounding, so that the start moves by one at most
    starts = [int(exact * (n - length + 1)) for length in range(1, n + 1)]
    order = [starts[0]]
    for length, (before, start) in enumerate(pairwise(starts), 1):
        order.append(start if start < before else start + length)
    return np.array(order)
