"""One score per token from a value per layer and KV head."""

import numpy as np
from scipy.stats import rankdata

from reasoning_anatomy.types import AttentionProfile, FloatArray, TokenScores


def rank_mean(scorer: str, values: FloatArray, *, queries: str, normalisation: str) -> TokenScores:
    """Average the ranks that a token has in every layer and KV head.

    A cache is pruned separately in each layer and KV head, so values of two heads need not be on the same scale. The
    normalised rank of a token in a head is (r - 1/2) / n, with r = 1..n its rank there among the n reasoning tokens, ties
    sharing their mean; the score is its mean over all layers and KV heads, in 0..1.

    Parameters
    ----------
    scorer
        Key of the scorer.
    values
        (layers, kv_heads, n), higher = kept longer; they become the profile as they are.
    queries, normalisation
        Of the profile, in words.
    """
    ranks = (rankdata(values, axis=-1) - 0.5) / values.shape[-1]
    profile = AttentionProfile(scorer, values.astype(np.float32), queries, normalisation, full_precision=True)
    return TokenScores(ranks.mean(axis=(0, 1)), profile)
