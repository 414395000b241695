"""Importance by chance, a baseline."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from reasoning_anatomy.randomness import chain_generator
from reasoning_anatomy.types import EncodedChain, TokenScores

if TYPE_CHECKING:
    from reasoning_anatomy.models.loading import LoadedModel


@dataclass(frozen=True, kw_only=True)
class Random:
    """Uniform random numbers: what a scorer that knows nothing would say.

    Attributes
    ----------
    seed
        The same seed gives the same scores of a chain, whatever other chains are measured.

    References
    ----------
    A baseline; RandomPress in NVIDIA's kvpress.
    """

    needs_no_model: ClassVar[Literal[True]] = True
    kind_of_score: ClassVar[str] = "trivial competitor"

    seed: int = 0

    def score(self, chain: EncodedChain, *, loaded: "LoadedModel | None") -> TokenScores:
        """Score the reasoning tokens of one chain, in 0..1; the model is not asked."""
        return TokenScores(chain_generator("random", self.seed, chain.chain_id).random(chain.n_reasoning))
