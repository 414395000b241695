"""Short keys are kept."""

from dataclasses import dataclass

from reasoning_anatomy.importance._ranks import rank_mean
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.models.passes import by_key_head
from reasoning_anatomy.types import EncodedChain, TokenScores


@dataclass(frozen=True, kw_only=True)
class KeyNorm:
    """Minus the Euclidean norm of the token's key: tokens with short keys count for more.

    By layer and KV head, in the profile; the score is the mean of the normalised ranks over layers and KV heads, in 0..1
    (``knorm-rankmean``). The rotation does not change a norm. One pass over prompt and reasoning.

    References
    ----------
    Devoto et al., A Simple and Effective L2 Norm-Based Strategy for KV Cache Compression, arXiv:2406.11430, section 3.
    """

    def score(self, chain: EncodedChain, *, loaded: LoadedModel) -> TokenScores:
        """Score the reasoning tokens of one chain; the profile is (layers, kv_heads, n), in units of the keys.

        Raises
        ------
        ModelError
            The model's keys cannot be read.
        """
        values = by_key_head(loaded, chain, lambda layer: -layer.key.norm(dim=-1))
        return rank_mean("key_norm", values, queries="none; minus the norm of the key, by KV head", normalisation="none")
