"""Value-weighted attention."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reasoning_anatomy.attention.observation import Observation
from reasoning_anatomy.attention.projection import expect_plain_projections
from reasoning_anatomy.importance._attention_scorer import AttentionScorer, Part, name_of, places_of, reasoning_keys
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.types import EncodedChain, Float32Array, TokenScores


@dataclass(frozen=True, kw_only=True)
class Contribution(AttentionScorer):
    """Length of what a reasoning token adds to the attention output of later tokens: ‖weight * v W_O‖.

    A large weight on a token with a small value moves nothing; attention sinks are the known case. Per layer and head,
    the Euclidean length of weight times value times the head's part of the output projection (without its bias, before
    any norm after it), mean over the query tokens; the score is the mean over layers and heads. In units of the residual
    stream, so layers with a larger stream count for more.

    Attributes
    ----------
    queries
        Who attends: ``"reasoning"`` tokens, ``"answer"`` tokens (separator and end of turn included), or ``"both"``.

    References
    ----------
    Kobayashi et al., Attention is Not Only a Weight: Analyzing Transformers with Vector Norms, arXiv:2004.10102.
    """

    queries: Part = "answer"

    def observe(self, chain: EncodedChain) -> list[Observation]:
        """Mean over the query tokens."""
        queries, keys = places_of(chain, self.queries), reasoning_keys(chain)
        weight = np.full(len(queries), 1 / len(queries))
        return [
            Observation(reduction="contribution", queries=queries, keys=keys, weight=weight, exclude_sink=self.exclude_sink)
        ]

    def expect_model(self, loaded: LoadedModel, chain: EncodedChain) -> None:
        """Raise `ModelError` if a token adds something other than its value times the projection; tried on the first tokens."""
        expect_plain_projections(loaded, chain.ids)

    def score(self, chain: EncodedChain, *, loaded: LoadedModel, observed: Sequence[Float32Array] | None = None) -> TokenScores:
        """Score the reasoning tokens of one chain, 0 or more; the profile is (layers, heads, n)."""
        if observed is None:
            self.expect_model(loaded, chain)
        (received,) = self.recorded(chain, loaded, observed)
        return self.mean_over_heads(
            received, scorer="contribution", queries=f"mean over {name_of(self.queries)}; lengths, not weights"
        )
