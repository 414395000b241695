"""Attention from the answer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reasoning_anatomy.attention.observation import Observation
from reasoning_anatomy.importance._attention_scorer import AttentionScorer, name_of, places_of, reasoning_keys
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.types import EncodedChain, Float32Array, TokenScores


@dataclass(frozen=True, kw_only=True)
class AnswerAttention(AttentionScorer):
    """Attention that a reasoning token receives from the answer tokens.

    Mean over answer tokens (separator and end of turn included) of the post-softmax weight, per layer and head; the
    score is the mean over layers and heads. The prompt is in context.

    References
    ----------
    Singh and Hakkani-Tür, Do LLMs Encode Functional Importance of Reasoning Tokens?, arXiv:2601.03066.
    """

    def observe(self, chain: EncodedChain) -> list[Observation]:
        """Mean over the answer tokens."""
        queries = places_of(chain, "answer")
        weight = np.full(len(queries), 1 / len(queries))
        keys = reasoning_keys(chain)
        return [Observation(reduction="sum", queries=queries, keys=keys, weight=weight, exclude_sink=self.exclude_sink)]

    def score(self, chain: EncodedChain, *, loaded: LoadedModel, observed: Sequence[Float32Array] | None = None) -> TokenScores:
        """Score the reasoning tokens of one chain, 0..1; the profile is (layers, heads, n)."""
        (received,) = self.recorded(chain, loaded, observed)
        return self.mean_over_heads(received, scorer="answer_attention", queries=name_of("answer"))
