"""Attention from the last token."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reasoning_anatomy.attention.observation import Observation
from reasoning_anatomy.importance._attention_scorer import AttentionScorer, places_of, reasoning_keys
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.types import EncodedChain, Float32Array, TokenScores


@dataclass(frozen=True, kw_only=True)
class LastTokenAttention(AttentionScorer):
    """Attention that a reasoning token receives from the last token alone.

    Post-softmax weight per layer and head; the score is the mean over layers and heads.

    Attributes
    ----------
    last_of
        ``"chain"``: the end of turn, or the last token of the answer if the template has none, as published for pruning
        steps. ``"reasoning"``: the last reasoning token, which has not seen the answer, as for a cache (TOVA).

    References
    ----------
    Oren et al., Transformers are Multi-State RNNs (TOVA), arXiv:2401.06104.
    """

    last_of: Literal["chain", "reasoning"] = "chain"

    def observe(self, chain: EncodedChain) -> list[Observation]:
        """Record the row of one query."""
        queries = places_of(chain, "both" if self.last_of == "chain" else "reasoning")[-1:]
        keys = reasoning_keys(chain)
        return [Observation(reduction="sum", queries=queries, keys=keys, exclude_sink=self.exclude_sink)]

    def score(self, chain: EncodedChain, *, loaded: LoadedModel, observed: Sequence[Float32Array] | None = None) -> TokenScores:
        """Score the reasoning tokens of one chain, 0..1; the profile is (layers, heads, n)."""
        (received,) = self.recorded(chain, loaded, observed)
        return self.mean_over_heads(received, scorer="last_token_attention", queries=f"last token of the {self.last_of}")
