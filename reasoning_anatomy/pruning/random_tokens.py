"""Pruning at random, token by token, a baseline."""

from dataclasses import dataclass

from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.pruning import PruningJob
from reasoning_anatomy.pruning._curve import FixedOrder, evaluated, ordered, until
from reasoning_anatomy.randomness import chain_generator
from reasoning_anatomy.types import EncodedChain, PruningPath


@dataclass(frozen=True, kw_only=True)
class RandomTokens(FixedOrder):
    """Delete uniformly random tokens, one at a time.

    Attributes
    ----------
    seed
        The same seed gives the same order on a chain, whatever other chains are measured.
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
        order = chain_generator("random_tokens", self.seed, chain.chain_id).permutation(chain.n_reasoning)
        return ordered(self, until(self.keep_ratio, order), chain)
