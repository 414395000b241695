"""Pruning at random, step by step, a baseline."""

from dataclasses import dataclass

import numpy as np

from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.pruning import PruningJob
from reasoning_anatomy.pruning._curve import evaluated, ordered
from reasoning_anatomy.pruning._steps import StepOptions, in_order, steps_of
from reasoning_anatomy.randomness import chain_generator
from reasoning_anatomy.types import EncodedChain, PruningPath


@dataclass(frozen=True, kw_only=True)
class RandomSteps(StepOptions):
    """Delete whole steps in random order.

    The last token of a step goes first, so that wherever the path is cut, all steps but one are whole or gone, and of that
    one the beginning is left. Use the segmenter of the strategy that it is compared with.

    Attributes
    ----------
    seed
        The same seed gives the same order on a chain, whatever other chains are measured.
    """

    seed: int = 0
    steps: str = "sentences"
    curve_points: int = 10
    token_budget: int | None = None

    def prune(self, chain: EncodedChain, *, loaded: LoadedModel, job: PruningJob | None = None) -> PruningPath:
        """Delete tokens of one chain; see `Strategy.prune`."""
        return evaluated(self, self.order(chain, loaded=loaded), chain, loaded=loaded, job=job)

    def order(self, chain: EncodedChain, *, loaded: LoadedModel) -> PruningPath:
        """Find the deletions alone; see `OrdersBeforehand`."""
        step = steps_of(self.steps, chain)
        order = chain_generator("random_steps", self.seed, chain.chain_id).permutation(step[-1] + 1)
        deleted, unit = in_order(order, step, within=-np.arange(chain.n_reasoning))
        return ordered(self, deleted, chain, unit=unit)
