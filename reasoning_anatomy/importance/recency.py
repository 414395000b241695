"""Importance by position, a baseline."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from reasoning_anatomy.types import EncodedChain, TokenScores

if TYPE_CHECKING:
    from reasoning_anatomy.models.loading import LoadedModel


@dataclass(frozen=True, kw_only=True)
class Recency:
    """Position in the reasoning: later tokens count for more.

    References
    ----------
    A baseline; window attention in Xiao et al., Efficient Streaming Language Models with Attention Sinks, arXiv:2309.17453.
    """

    needs_no_model: ClassVar[Literal[True]] = True
    kind_of_score: ClassVar[str] = "trivial competitor"

    def score(self, chain: EncodedChain, *, loaded: "LoadedModel | None") -> TokenScores:
        """Score the reasoning tokens of one chain; the model is not used."""
        return TokenScores(np.arange(chain.n_reasoning, dtype=np.float64))
