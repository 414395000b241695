"""Attention per token that could have attended."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reasoning_anatomy.attention.observation import Observation
from reasoning_anatomy.importance._attention_scorer import AttentionScorer, Part, name_of, places_of, reasoning_keys
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.types import EncodedChain, Float32Array, TokenScores


@dataclass(frozen=True, kw_only=True)
class ExposureNormalisedAttention(AttentionScorer):
    """Attention that a reasoning token receives, per query token that could see it.

    Sum over the query tokens of the post-softmax weight, divided by the number of them that see the token: itself and
    later ones, within the window of a layer that has one. Per layer and head; the score is the mean over layers and heads. A
    token that none of the queries can see in a layer has 0 in that layer.

    Attributes
    ----------
    queries
        Who attends: ``"reasoning"`` tokens, ``"answer"`` tokens (separator and end of turn included), or ``"both"``.

    References
    ----------
    ObservedAttentionPress in NVIDIA's kvpress, https://github.com/NVIDIA/kvpress; presented in Devoto et al., Expected
    Attention, arXiv:2510.00636.
    """

    queries: Part = "both"

    def observe(self, chain: EncodedChain) -> list[Observation]:
        """Sum over the query tokens, and how many of them see each token."""
        queries, keys = places_of(chain, self.queries), reasoning_keys(chain)
        return [
            Observation(reduction="sum", queries=queries, keys=keys, exclude_sink=self.exclude_sink),
            Observation(reduction="exposure", queries=queries, keys=keys, exclude_sink=self.exclude_sink),
        ]

    def score(self, chain: EncodedChain, *, loaded: LoadedModel, observed: Sequence[Float32Array] | None = None) -> TokenScores:
        """Score the reasoning tokens of one chain, 0..1; the profile is (layers, heads, n)."""
        sums, exposure = self.recorded(chain, loaded, observed)
        return self.mean_over_heads(
            (sums / np.maximum(exposure, 1)).astype(np.float32), scorer="exposure_normalised_attention",
            queries=f"mean over those {name_of(self.queries)} that see the token",
        )  # fmt: skip
