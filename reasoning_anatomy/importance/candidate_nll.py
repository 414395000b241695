"""What the answer costs after every possible next deletion, at several stages of a path."""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Final, Literal

import numpy as np

from reasoning_anatomy.attention.recording import record
from reasoning_anatomy.errors import MeasurementError
from reasoning_anatomy.importance.answer_attention import AnswerAttention
from reasoning_anatomy.likelihood.opening import open_likelihood
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.options import expect_at_least
from reasoning_anatomy.types import EncodedChain, Float32Array, IntArray, PathStages, PruningPath, TokenScores

_KEEP_RATIOS: Final = (1.0, 0.9, 0.7, 0.5)


@dataclass(frozen=True, kw_only=True)
class CandidateNll:
    """Mean nll of the answer if this token is deleted next, in nats per answer token, at several stages of a path.

    The score is that of the unpruned chain. Higher = its loss hurts more. The stages hold the same of every token that is left
    where the path of a strategy reaches a keep ratio, and the attention that the answer pays there: what the analysis
    `predict_likelihood` learns from. At every stage the lowest candidate is the one that `greedy` deletes next, if its
    objective is ``answer``.

    Attributes
    ----------
    keep_ratios
        Stages, by the share of the reasoning tokens that is left, rounded down as by `greedy`, but at least one token;
        descending from 1, the unpruned chain.
    strategy
        Label of the strategy whose path is followed; a run measures it first. Not needed if 1 is the only keep ratio.
    token_budget
        Tokens of one forward pass, as for the strategy `greedy`; changes speed and memory, and numbers in the last digits.

    References
    ----------
    Singh and Hakkani-Tür, Do LLMs Encode Functional Importance of Reasoning Tokens?, arXiv:2601.03066.
    """

    needs: ClassVar[str] = "the path of a strategy, and a step of exact pruning at each keep ratio; name it beside one"
    kind_of_score: ClassVar[str] = "own first step"
    records_attention: ClassVar[Literal[True]] = True

    keep_ratios: tuple[float, ...] = _KEEP_RATIOS
    strategy: str = "greedy"
    token_budget: int | None = None

    def __post_init__(self) -> None:
        expect_at_least(self, token_budget=1)
        ratios = self.keep_ratios
        if ratios[:1] != (1.0,) or any(not 0 < after < before for before, after in pairwise(ratios)):
            shown = " ".join(map(str, ratios))
            raise ValueError(f"keep_ratios is {shown or 'empty'}, expected shares that descend from 1.0, such as 1.0 0.9 0.5")

    @property
    def reference(self) -> str | None:
        """Label of the strategy to follow; None if the unpruned chain is the only stage."""
        return self.strategy if len(self.keep_ratios) > 1 else None

    def score(self, chain: EncodedChain, *, loaded: LoadedModel, path: PruningPath | None = None) -> TokenScores:
        """Score the reasoning tokens of one chain; ``path`` is that of the strategy on it.

        Raises
        ------
        MeasurementError
            The path is missing or ends before a keep ratio, a likelihood is not a finite number, or there is not enough memory
            for a single candidate.
        """
        deletions = self._deletions(chain, path)
        likelihood = open_likelihood(loaded, chain, token_budget=self.token_budget, store_gib=0)
        nll = np.full((len(deletions), chain.n_reasoning), np.nan)
        received: list[Float32Array] = []
        for row, deleted in zip(nll, deletions, strict=True):
            likelihood.delete(np.intersect1d(deleted, likelihood.kept))
            scores = likelihood.score_deletions(reasoning=False)
            row[scores.positions] = -scores.answer / likelihood.n_answer
            received.append(self._received(chain, likelihood.kept, loaded))
        achieved = (~np.isnan(nll)).mean(axis=1)
        return TokenScores(nll[0], stages=PathStages(np.array(self.keep_ratios), achieved, nll, np.stack(received)))

    def token_forwards(self, chain: EncodedChain, *, shares_prefixes: bool) -> int:
        """Tokens that all stages run through the model at most; see `reasoning_anatomy.pruning.ForeseesCost`."""
        n_kept, n_answer = self._n_kept(chain), len(chain.answer_ids)
        per_candidate = (n_kept - 1) / 2 + n_answer if shares_prefixes else len(chain.prompt_ids) + n_kept - 1 + n_answer
        return int((n_kept * per_candidate + 2 * (len(chain.prompt_ids) + n_kept + n_answer)).sum())

    def _n_kept(self, chain: EncodedChain) -> IntArray:
        """(k,) reasoning tokens that are left at each stage."""
        return np.array([max(1, int(chain.n_reasoning * ratio)) for ratio in self.keep_ratios])

    def _deletions(self, chain: EncodedChain, path: PruningPath | None) -> list[IntArray]:
        """Find the positions that are deleted when the path has reached each stage."""
        order = np.empty(0, dtype=np.int64) if path is None else path.deleted
        n_deleted = chain.n_reasoning - self._n_kept(chain)
        if path is None and n_deleted[-1] > 0:
            raise MeasurementError(chain.chain_id, f"has no path of {self.strategy}, which candidate_nll follows")
        if n_deleted[-1] > len(order):
            ratio = next(ratio for ratio, n in zip(self.keep_ratios, n_deleted, strict=True) if n > len(order))
            raise MeasurementError(
                chain.chain_id,
                f"the path of {self.strategy} ends where {1 - len(order) / chain.n_reasoning:.2g} of the tokens are left, "
                f"before the keep ratio {ratio:g} of candidate_nll; follow a path that goes on, or leave out that keep ratio",
            )
        return [order[:n] for n in n_deleted]

    def _received(self, chain: EncodedChain, kept: IntArray, loaded: LoadedModel) -> Float32Array:
        """(layers, heads, n) attention that the kept tokens receive from the answer; NaN at the others."""
        left = chain.keep(kept)
        (of_kept,) = record(loaded, left.ids, AnswerAttention().observe(left), token_budget=self.token_budget)
        received = np.full((*of_kept.shape[:2], chain.n_reasoning), np.nan, dtype=np.float32)
        received[..., kept] = of_kept
        return received
