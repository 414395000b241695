"""Uncertainty of the model just before a token."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.models.passes import of_reasoning_logits
from reasoning_anatomy.options import expect_at_least
from reasoning_anatomy.types import EncodedChain, TokenScores


@dataclass(frozen=True, kw_only=True)
class TokenEntropy:
    """Entropy of the model's distribution over this token, given everything before it, in nats.

    Higher = the model was less certain how to continue: the forking tokens of a chain. Which token follows does not matter,
    only which could have. One pass over prompt and reasoning.

    Attributes
    ----------
    top_k
        Entropy of the k most likely tokens alone, their probabilities made to sum to one; None takes the whole
        vocabulary.
    as_confidence
        Reverse the direction: 1 - entropy / ln k, in 0..1, with k the number of tokens that enter. With ``top_k=20``
        it is the confidence by which TRAAC evicts, the least confident first.
    token_budget
        Tokens of one forward pass, as for the strategy `greedy`, but so few that their logits fit into 256 MiB; halved when
        memory runs out. Changes speed and memory, and numbers in the last digits.

    References
    ----------
    Wang et al., Beyond the 80/20 Rule: High-Entropy Minority Tokens Drive Effective Reinforcement Learning for LLM
    Reasoning, arXiv:2506.01939, equation 1. The confidence: TRAAC, arXiv:2510.01581.
    """

    top_k: int | None = None
    as_confidence: bool = False
    token_budget: int | None = None

    def __post_init__(self) -> None:
        expect_at_least(self, top_k=2, token_budget=1)

    def score(self, chain: EncodedChain, *, loaded: LoadedModel) -> TokenScores:
        """Score the reasoning tokens of one chain."""
        return TokenScores(of_reasoning_logits(loaded, chain, self._of, token_budget=self.token_budget))

    def _of(self, logits: Tensor) -> np.ndarray:
        """(rows, vocabulary) -> (rows,)."""
        if self.top_k is not None:
            logits = logits.topk(min(self.top_k, logits.shape[1]), dim=1).values
        logp = torch.log_softmax(logits, dim=1)
        entropy = torch.special.entr(logp.exp()).sum(dim=1).cpu().double()
        score = 1 - entropy / math.log(logits.shape[1]) if self.as_confidence else entropy
        values: np.ndarray = score.numpy()
        return values
