"""Keys unlike the others are kept."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from reasoning_anatomy.importance._ranks import rank_mean
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.models.passes import LayerInput, by_key_head
from reasoning_anatomy.types import EncodedChain, TokenScores


@dataclass(frozen=True, kw_only=True)
class KeyDiff:
    """Minus the cosine of the token's key with the mean direction of all keys: unusual keys count for more.

    The keys are those of the cache, after the rotation; the mean direction is the mean of the unit keys of prompt and
    reasoning. By layer and KV head, in the profile, in -1..1; the score is the mean of the normalised ranks over layers and
    KV heads, in 0..1 (``keydiff-rankmean``). One pass over prompt and reasoning.

    References
    ----------
    Park et al., KeyDiff: Key Similarity-Based KV Cache Eviction for Long-Context LLM Inference in Resource-Constrained
    Environments, arXiv:2504.15364, algorithm 1.
    """

    def score(self, chain: EncodedChain, *, loaded: LoadedModel) -> TokenScores:
        """Score the reasoning tokens of one chain; the profile is (layers, kv_heads, n).

        Raises
        ------
        ModelError
            The model's keys cannot be read.
        """
        values = by_key_head(loaded, chain, _unlike_the_others)
        return rank_mean("key_diff", values, queries="none; minus the cosine with the mean unit key", normalisation="none")


def _unlike_the_others(layer: LayerInput) -> Tensor:
    """(kv_heads, T)."""
    anchor = normalize(layer.key, dim=-1).mean(dim=1, keepdim=True)
    return -cosine_similarity(layer.key, anchor, dim=-1)
