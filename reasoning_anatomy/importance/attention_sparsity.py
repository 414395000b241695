"""How focused the attention of a token itself is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from reasoning_anatomy.attention.observation import Observation, Reduction
from reasoning_anatomy.importance._attention_scorer import AttentionScorer, places_of, reasoning_keys
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.types import EncodedChain, Float32Array, TokenScores

Measure = Literal["entropy", "effective_tokens", "gini", "top_decile"]


@dataclass(frozen=True, kw_only=True)
class AttentionSparsity(AttentionScorer):
    """How focused the attention is that a reasoning token pays: on few of the tokens that it sees, or on all alike.

    The other scorers of attention say what a token receives; this one is about the row of its own weights. Higher = more
    focused (sparser), in 0..1, and relative to the number of tokens that are seen, which grows along the chain. Per layer and
    head; the score is the mean over layers and heads. The analysis of the same name compares correct chains with wrong ones.

    Attributes
    ----------
    measure
        Of a row over n visible tokens, with entropy H: ``entropy``, 1 - H / ln n; ``effective_tokens``, 1 - exp(H) / n, since
        exp(H) tokens with equal weights have the same entropy; ``gini``, the Gini coefficient; ``top_decile``, the mass of
        the largest tenth. All weights alike: 0, for ``top_decile`` 0.1. A single visible token counts as alike in the first
        three.

    References
    ----------
    Choi et al., Think Clearly: Improving Reasoning via Redundant Token Pruning, arXiv:2507.08806, for the observation; Hurley
    & Rickard, Comparing Measures of Sparsity, arXiv:0811.4706, for the measures.
    """

    measure: Measure = "entropy"

    def observe(self, chain: EncodedChain) -> list[Observation]:
        """Record the measure of each reasoning token's row, and how many tokens it sees if the measure needs it."""
        reductions: dict[Measure, list[Reduction]] = {"gini": ["gini"], "top_decile": ["top_decile"]}
        queries, keys = places_of(chain, "reasoning"), reasoning_keys(chain)
        return [
            Observation(reduction=reduction, queries=queries, keys=keys, exclude_sink=self.exclude_sink)
            for reduction in reductions.get(self.measure, ["entropy", "visible"])
        ]

    def score(self, chain: EncodedChain, *, loaded: LoadedModel, observed: Sequence[Float32Array] | None = None) -> TokenScores:
        """Score the reasoning tokens of one chain, 0..1; the profile is (layers, heads, n)."""
        measured, *visible = self.recorded(chain, loaded, observed)
        focus = self._relative(measured, visible[0]) if visible else measured
        return self.mean_over_heads(
            focus, scorer="attention_sparsity", queries=f"each reasoning token is the query: {self.measure} of its own row"
        )

    def _relative(self, entropy: Float32Array, n_visible: Float32Array) -> Float32Array:
        if self.measure == "entropy":
            relative = 1 - entropy / np.log(np.maximum(n_visible, 2)) - (n_visible <= 1)
        else:
            relative = 1 - np.exp(entropy) / np.maximum(n_visible, 1)
        return relative.astype(np.float32)
