"""Attention from the answer."""

from dataclasses import dataclass
from typing import ClassVar

from reasoning_anatomy.attention import received_from_answer
from reasoning_anatomy.models import LoadedModel
from reasoning_anatomy.types import AttentionProfile, EncodedChain, TokenScores


@dataclass(frozen=True, kw_only=True)
class AnswerAttention:
    """Attention that a reasoning token receives from the answer tokens.

    Mean over answer tokens (separator and end of turn included) of the post-softmax weight, per layer and head; the
    score is the mean over layers and heads. The prompt is in context, nothing is renormalised, no token is left out.

    References
    ----------
    Singh and Hakkani-Tür, Do LLMs Encode Functional Importance of Reasoning Tokens?, arXiv:2601.03066.
    """

    records_attention: ClassVar[bool] = True

    def score(self, chain: EncodedChain, *, loaded: LoadedModel) -> TokenScores:
        """Score the reasoning tokens of one chain; the profile is (layers, heads, n)."""
        received = received_from_answer(loaded, chain)
        profile = AttentionProfile(
            scorer="answer_attention",
            received=received,
            queries="answer tokens, separator and end of turn included",
            normalisation="none",
        )
        return TokenScores(received.mean(axis=(0, 1), dtype="float64"), profile)
