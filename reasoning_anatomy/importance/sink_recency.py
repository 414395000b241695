"""Importance by position, as for a cache that keeps its first and its latest tokens, a baseline."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from reasoning_anatomy.options import expect_at_least
from reasoning_anatomy.types import EncodedChain, TokenScores

if TYPE_CHECKING:
    from reasoning_anatomy.models.loading import LoadedModel


@dataclass(frozen=True, kw_only=True)
class SinkRecency:
    """Position in the reasoning, but its first tokens (the sinks) count for most.

    The score of a token is its position; each of the ``n_sink`` first tokens has n, more than every other. So the k
    tokens with the highest scores are, for every k of at least ``n_sink``, those that StreamingLLM keeps with a cache of
    k tokens. The prompt is always kept and not counted: sinks are the first tokens of the reasoning.

    Attributes
    ----------
    n_sink
        Tokens at the beginning that are kept longest.

    References
    ----------
    Xiao et al., Efficient Streaming Language Models with Attention Sinks, arXiv:2309.17453, section 3.2.
    """

    needs_no_model: ClassVar[Literal[True]] = True
    kind_of_score: ClassVar[str] = "trivial competitor"

    n_sink: int = 4

    def __post_init__(self) -> None:
        expect_at_least(self, n_sink=0)

    def score(self, chain: EncodedChain, *, loaded: "LoadedModel | None") -> TokenScores:
        """Score the reasoning tokens of one chain; the model is not used."""
        position = np.arange(chain.n_reasoning, dtype=np.float64)
        return TokenScores(np.where(position < self.n_sink, chain.n_reasoning, position))
