"""Attention accumulated over all later tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

from reasoning_anatomy.attention.observation import Observation
from reasoning_anatomy.importance._attention_scorer import AttentionScorer, Part, name_of, places_of, reasoning_keys
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.types import EncodedChain, Float32Array, TokenScores


@dataclass(frozen=True, kw_only=True)
class AccumulatedAttention(AttentionScorer):
    """Attention that a reasoning token receives from all later tokens and itself, summed (H2O).

    Sum, not mean, over the query tokens of the post-softmax weight, per layer and head; the score is the mean over
    layers and heads. Causal: nothing is evicted on the way. Early tokens are seen by more queries, so sums favour them;
    `exposure_normalised_attention` is the control.

    Attributes
    ----------
    queries
        Who attends: ``"reasoning"`` tokens, ``"answer"`` tokens (separator and end of turn included), or ``"both"``.

    References
    ----------
    Zhang et al., H2O: Heavy-Hitter Oracle for Efficient Generative Inference, arXiv:2306.14048.
    """

    queries: Part = "both"

    def observe(self, chain: EncodedChain) -> list[Observation]:
        """Sum over the query tokens."""
        queries, keys = places_of(chain, self.queries), reasoning_keys(chain)
        return [Observation(reduction="sum", queries=queries, keys=keys, exclude_sink=self.exclude_sink)]

    def score(self, chain: EncodedChain, *, loaded: LoadedModel, observed: Sequence[Float32Array] | None = None) -> TokenScores:
        """Score the reasoning tokens of one chain, 0 to the number of queries; the profile is (layers, heads, n)."""
        (received,) = self.recorded(chain, loaded, observed)
        return self.mean_over_heads(received, scorer="accumulated_attention", queries=f"sum over {name_of(self.queries)}")
