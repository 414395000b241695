"""What the answer loses when a token is left out."""

from dataclasses import dataclass
from typing import ClassVar

from reasoning_anatomy.likelihood.opening import open_likelihood
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.options import expect_at_least
from reasoning_anatomy.types import EncodedChain, TokenScores


@dataclass(frozen=True, kw_only=True)
class ConditionalSurprisal:
    """Rise of the answer's mean nll if only this token is left out, in nats per answer token.

    Leave-one-out: the id is really removed and later positions close up. Positive = the answer is less likely without
    the token; negative = it is more likely. The lowest score belongs to the first deletion of the strategy `greedy`
    with its objective ``answer``. All candidates share their prefixes, so that a chain costs about n / 2 of its forward
    passes.

    Attributes
    ----------
    token_budget
        Tokens of one forward pass, as for the strategy `greedy`; changes speed and memory, and numbers in the last digits.

    References
    ----------
    Li et al., Understanding Neural Networks through Representation Erasure, arXiv:1612.08220, equation 1. As the step of
    a pruning: Singh and Hakkani-Tür, Do LLMs Encode Functional Importance of Reasoning Tokens?, arXiv:2601.03066.
    """

    kind_of_score: ClassVar[str] = "own first step"

    token_budget: int | None = None

    def __post_init__(self) -> None:
        expect_at_least(self, token_budget=1)

    def score(self, chain: EncodedChain, *, loaded: LoadedModel) -> TokenScores:
        """Score the reasoning tokens of one chain.

        Raises
        ------
        MeasurementError
            A likelihood is not a finite number, or there is not enough memory for a single candidate.
        """
        likelihood = open_likelihood(loaded, chain, token_budget=self.token_budget, store_gib=0)
        without = -likelihood.score_deletions(reasoning=False).answer / likelihood.n_answer
        return TokenScores(without - likelihood.nll().answer)
