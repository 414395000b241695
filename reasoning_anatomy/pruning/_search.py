"""What the strategies that search have in common: the objective, the choice, and the path so far."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from reasoning_anatomy.chain_likelihood import ChainLikelihood
from reasoning_anatomy.types import ChainNll, DeletionScores, FloatArray, PruningPath

Objective = Literal["answer", "joint", "influence"]


def objective_of(objective: Objective, scores: DeletionScores, likelihood: ChainLikelihood) -> FloatArray:
    """(candidates,) objective if each candidate were deleted, in nats per token that is left; lower is better."""
    if scores.reasoning is None:
        return -scores.answer / likelihood.n_answer
    after = scores.answer + scores.reasoning
    n_left = len(likelihood.kept) - 1 + likelihood.n_answer
    if objective == "joint":
        return -after / n_left
    logp = likelihood.token_logp()
    survivors_now: FloatArray = logp.sum() - logp[np.searchsorted(likelihood.kept, scores.positions)]
    return (survivors_now - after) / n_left


def choose(objectives: FloatArray, tolerance: float) -> tuple[int, float]:
    """Index of the lowest objective, the first among ties, and how far the best of the others lies above it."""
    chosen = int(np.flatnonzero(objectives <= objectives.min() + tolerance)[0])
    others = np.delete(objectives, chosen)
    return chosen, float(others.min() - objectives[chosen]) if len(others) else np.nan


@dataclass
class Deletions:
    """Deletions made since a path was saved, and the likelihood after each."""

    positions: list[int] = field(default_factory=list)
    margins: list[float] = field(default_factory=list)
    nlls: list[ChainNll] = field(default_factory=list)

    def add(self, position: int, margin: float, nll: ChainNll) -> None:
        """Add one deletion."""
        self.positions.append(position)
        self.margins.append(margin)
        self.nlls.append(nll)


def unpruned(strategy: object, n_reasoning: int, likelihood: ChainLikelihood) -> PruningPath:
    """Begin a path: nothing is deleted yet, and no cost is counted before `extended` counts it."""
    nll = likelihood.nll()
    return PruningPath(
        strategy=repr(strategy),
        n_reasoning=n_reasoning,
        deleted=np.empty(0, dtype=np.int64),
        margin=np.empty(0),
        n_ties=0,
        nll_answer=np.array([nll.answer]),
        nll_joint=np.array([nll.joint]),
        nll_reasoning=np.array([nll.reasoning]),
    )


def extended(path: PruningPath, deletions: Deletions, likelihood: ChainLikelihood, *, tie_tolerance: float) -> PruningPath:
    """Join deletions to a path, and what they cost ``likelihood``."""
    return dataclasses.replace(
        path,
        deleted=_join(path.deleted, deletions.positions),
        margin=_join(path.margin, deletions.margins),
        n_ties=path.n_ties + sum(margin <= tie_tolerance for margin in deletions.margins),
        nll_answer=_join(path.nll_answer, [nll.answer for nll in deletions.nlls]),
        nll_joint=_join(path.nll_joint, [nll.joint for nll in deletions.nlls]),
        nll_reasoning=_join(path.nll_reasoning, [nll.reasoning for nll in deletions.nlls]),
        token_forwards=path.token_forwards + likelihood.token_forwards,
        token_budget=likelihood.token_budget,
    )


def _join(before: npt.NDArray[Any], after: Sequence[float]) -> npt.NDArray[Any]:
    return np.concatenate([before, np.array(after, dtype=before.dtype)])
