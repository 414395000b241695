"""Exact greedy pruning."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from reasoning_anatomy.attention_interface import installed
from reasoning_anatomy.likelihood import ChainLikelihood, DeletionScores
from reasoning_anatomy.models import LoadedModel
from reasoning_anatomy.types import EncodedChain, FloatArray, PruningPath

Objective = Literal["answer", "joint"]


@dataclass(frozen=True, kw_only=True)
class Greedy:
    """Delete, again and again, the token whose loss hurts the likelihood least (exact).

    At each step every single deletion is scored with the ids really removed and later positions closed up; the one
    with the lowest objective is made. Ties go to the lowest position.

    Attributes
    ----------
    objective
        ``"answer"``: mean nll of the answer. ``"joint"``: mean nll of kept reasoning and answer; it never
        scores the deleted token itself, so it favours deleting surprising tokens.
    keep_ratio
        Stop when this fraction of the reasoning tokens is left (rounded down); 0 deletes all.
    tie_tolerance
        Objectives within this many nats per token are a tie; the default is what float32 rounds away.
    token_budget
        Tokens of one forward pass; changes speed and memory, not the result.
    store_gib
        Memory for what candidates may keep between steps, in GiB; likewise.

    References
    ----------
    Singh and Hakkani-Tür, Do LLMs Encode Functional Importance of Reasoning Tokens?, arXiv:2601.03066.
    """

    objective: Objective = "answer"
    keep_ratio: float = 0.0
    tie_tolerance: float = 1e-5
    token_budget: int = 512
    store_gib: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.keep_ratio <= 1:
            raise ValueError(f"keep_ratio is {self.keep_ratio}, expected 0..1")
        if self.token_budget < 1 or not (self.tie_tolerance >= 0 and self.store_gib >= 0):
            raise ValueError(f"{self}: token_budget must be at least 1, tie_tolerance and store_gib at least 0")

    def prune(self, chain: EncodedChain, *, loaded: LoadedModel, advance: Callable[[], None] = lambda: None) -> PruningPath:
        """Delete tokens of one chain until ``keep_ratio`` is reached; calls ``advance`` after every deletion.

        Raises
        ------
        MeasurementError
            A likelihood is not a finite number.
        """
        n_deletions = chain.n_reasoning - int(chain.n_reasoning * self.keep_ratio)
        deleted: list[int] = []
        margins: list[float] = []
        with installed(loaded.model):
            likelihood = ChainLikelihood(loaded, chain, token_budget=self.token_budget, store_bytes=int(self.store_gib * _GIB))
            curve = [likelihood.nll()]
            for _ in range(n_deletions):
                scores = likelihood.score_deletions(reasoning=self.objective == "joint")
                chosen, margin = _choose(self._objectives(scores, len(chain.answer_ids)), self.tie_tolerance)
                deleted.append(int(scores.positions[chosen]))
                margins.append(margin)
                likelihood.delete(deleted[-1])
                curve.append(likelihood.nll())
                advance()
        return PruningPath(
            strategy=repr(self),
            n_reasoning=chain.n_reasoning,
            deleted=np.array(deleted, dtype=np.int64),
            margin=np.array(margins),
            n_ties=int(np.sum(np.array(margins) <= self.tie_tolerance)),
            nll_answer=np.array([nll.answer for nll in curve]),
            nll_joint=np.array([nll.joint for nll in curve]),
            nll_reasoning=np.array([nll.reasoning for nll in curve]),
        )

    def _objectives(self, scores: DeletionScores, n_answer: int) -> FloatArray:
        """(k,) nats per token if each candidate were deleted; lower is better."""
        if scores.reasoning is None:
            return -scores.answer / n_answer
        return -(scores.answer + scores.reasoning) / (len(scores.positions) - 1 + n_answer)


_GIB: Final = 2**30


def _choose(objectives: FloatArray, tolerance: float) -> tuple[int, float]:
    """Index of the lowest objective, the first among ties, and how far the best of the others lies above it."""
    chosen = int(np.flatnonzero(objectives <= objectives.min() + tolerance)[0])
    others = np.delete(objectives, chosen)
    return chosen, float(others.min() - objectives[chosen]) if len(others) else np.nan
