"""Surprisal of a token in its context."""

from dataclasses import dataclass
from typing import ClassVar

from reasoning_anatomy.likelihood.opening import open_likelihood
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.options import expect_at_least
from reasoning_anatomy.types import EncodedChain, TokenScores


@dataclass(frozen=True, kw_only=True)
class Surprisal:
    """Negative log-likelihood of a reasoning token given everything before it, in nats.

    Higher = more surprising. One pass over the chain; the prompt is in context, no token is left out.

    Attributes
    ----------
    token_budget
        Tokens of one forward pass, as for the strategy `greedy`; changes speed and memory, and numbers in the last digits.

    References
    ----------
    Singh and Hakkani-Tür, Do LLMs Encode Functional Importance of Reasoning Tokens?, arXiv:2601.03066.
    """

    kind_of_score: ClassVar[str] = "trivial competitor"

    token_budget: int | None = None

    def __post_init__(self) -> None:
        expect_at_least(self, token_budget=1)

    def score(self, chain: EncodedChain, *, loaded: LoadedModel) -> TokenScores:
        """Score the reasoning tokens of one chain.

        Raises
        ------
        MeasurementError
            A likelihood is not a finite number.
        """
        likelihood = open_likelihood(loaded, chain, token_budget=self.token_budget, store_gib=0)
        return TokenScores(-likelihood.token_logp()[: chain.n_reasoning])
