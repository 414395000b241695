"""What all ways to compute the likelihood of a chain under deletions have in common."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from reasoning_anatomy.errors import MeasurementError
from reasoning_anatomy.models.finite import not_finite
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.models.memory import OUT_OF_MEMORY
from reasoning_anatomy.types import ChainNll, DeletionScores, EncodedChain, FloatArray, IntArray


class ChainLikelihood(ABC):
    """The likelihood of one chain while its reasoning tokens are deleted.

    Parameters
    ----------
    loaded
        The model.
    chain
        A chain encoded for it.
    token_budget
        Tokens of one forward pass; halved whenever memory runs out.

    Attributes
    ----------
    kept
        (k,) positions of the reasoning tokens that are left.
    token_budget
        Tokens of one forward pass, as reduced so far.
    token_forwards
        Tokens that have been run through the model so far.
    """

    def __init__(self, loaded: LoadedModel, chain: EncodedChain, *, token_budget: int) -> None:
        self.kept = np.arange(chain.n_reasoning)
        self.token_budget = token_budget
        self.token_forwards = 0
        self._loaded = loaded
        self._chain = chain
        self._n_prompt, self._n, self._m = len(chain.prompt_ids), chain.n_reasoning, len(chain.answer_ids)
        self._ids = chain.ids

    @property
    def n_answer(self) -> int:
        """Number of answer tokens."""
        return self._m

    @abstractmethod
    def token_logp(self) -> FloatArray:
        """(k + m,) log-likelihood in nats of every kept reasoning token and every answer token."""

    @abstractmethod
    def score_deletions(self, *, reasoning: bool, candidates: IntArray | None = None) -> DeletionScores:
        """Score the deletion of one more token.

        Parameters
        ----------
        reasoning
            Whether the likelihood of the remaining reasoning is wanted as well as that of the answer.
        candidates
            (c,) ascending kept positions to score; None scores all.

        Raises
        ------
        MeasurementError
            A likelihood is not a finite number, or there is too little memory for a single candidate.
        """

    @abstractmethod
    def _delete(self, indices: IntArray) -> None:
        """Delete ``kept[indices]``; one or more, ascending."""

    def delete(self, positions: int | IntArray) -> None:
        """Delete one kept reasoning token, or several (d,) at once; later positions close up."""
        wanted = np.unique(positions)
        if len(gone := np.setdiff1d(wanted, self.kept)):
            raise ValueError(
                f"{self._chain.chain_id}: position {gone[0]} is not among the {len(self.kept)} tokens that are left"
            )
        if len(wanted):
            self._delete(np.searchsorted(self.kept, wanted))

    def nll(self) -> ChainNll:
        """Nll of the chain as it is now, in nats per token."""
        logp = self.token_logp()
        reasoning, answer = logp[: len(self.kept)], logp[len(self.kept) :]
        return ChainNll(-answer.mean(), -logp.mean(), -reasoning.mean() if len(reasoning) else np.nan)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._loaded.device)

    def _expect_finite(self, logp: FloatArray, what: str) -> None:
        if not np.isfinite(logp).all():
            what = f"the model gives {what} a likelihood that is not a finite number"
            raise MeasurementError(self._chain.chain_id, not_finite(what, self._loaded.model.dtype))

    def _out_of_memory(self) -> MeasurementError:
        return MeasurementError(self._chain.chain_id, OUT_OF_MEMORY)
