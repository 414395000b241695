"""Pruning at random, token by token, a baseline."""

from dataclasses import dataclass

from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.options import expect_at_least, expect_ratio
from reasoning_anatomy.pruning import PruningJob
from reasoning_anatomy.pruning._curve import follow, until
from reasoning_anatomy.randomness import chain_generator
from reasoning_anatomy.types import EncodedChain, PruningPath


@dataclass(frozen=True, kw_only=True)
class RandomTokens:
    """Delete uniformly random tokens, one at a time.

    Attributes
    ----------
    seed
        The same seed gives the same order on a chain, whatever other chains are measured.
    keep_ratio
        Stop when this fraction of the reasoning tokens is left (rounded down); 0 deletes all.
    curve_points
        Number of equal steps of the keep ratio at which the likelihood is evaluated; 0 evaluates every deletion.
    token_budget
        Tokens of one forward pass, as for `greedy`; changes speed and memory, and numbers in the last digits.
    """

    seed: int = 0
    keep_ratio: float = 0.0
    curve_points: int = 0
    token_budget: int | None = None

    def __post_init__(self) -> None:
        expect_ratio(self, "keep_ratio")
        expect_at_least(self, curve_points=0, token_budget=1)

    def prune(self, chain: EncodedChain, *, loaded: LoadedModel, job: PruningJob | None = None) -> PruningPath:
        """Delete tokens of one chain; see `Strategy.prune`."""
        order = chain_generator("random_tokens", self.seed, chain.chain_id).permutation(chain.n_reasoning)
        return follow(self, until(self.keep_ratio, order), chain, loaded=loaded, job=job)
