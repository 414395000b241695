"""What the strategies that search have in common: the loop over deletions, the objective, the choice, the path so far."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from reasoning_anatomy.likelihood.base import ChainLikelihood
from reasoning_anatomy.likelihood.opening import open_likelihood
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.options import expect_at_least, expect_ratio
from reasoning_anatomy.pruning import PruningJob
from reasoning_anatomy.types import ChainNll, DeletionScores, EncodedChain, FloatArray, IntArray, PruningPath

Objective = Literal["answer", "joint", "influence"]

Candidates = Callable[[IntArray, FloatArray], IntArray]
"""Takes the (k,) kept positions, ascending, and the (k,) last known loss of each deletion, lower is better, NaN = not
scored yet; returns the kept positions to score, ascending."""


class SearchOptions:
    """What strategies share that search for every deletion.

    The strategy declares the options as fields of its own. If this were a dataclass, they would stand before the others in
    the ``repr`` and the label by which run folders know the strategy.

    Attributes
    ----------
    objective
        ``"answer"``: mean nll of the answer. ``"joint"``: mean nll of kept reasoning and answer; it never
        scores the deleted token itself, so it favours deleting surprising tokens. ``"influence"``: the
        control, the change in the summed nll of the tokens that survive after the deleted one, answer
        included, divided by the number of tokens left (the same for all candidates of a step).
    keep_ratio
        Stop when this fraction of the reasoning tokens is left (rounded down); 0 deletes all.
    tie_tolerance
        Objectives within this many nats per token are a tie; the default is what float32 rounds away.
    token_budget
        Tokens of one forward pass, halved whenever memory runs out; None takes 1024 on a CPU and 16384 on an
        accelerator. Changes speed and memory, and numbers in the last digits.
    store_gib
        Memory for what candidates may keep between steps, in GiB; None takes 1 GiB on a CPU and half of what is
        free on an accelerator. Changes speed and memory, and numbers in the last digits.
    checkpoint_every
        Deletions after which the likelihood starts again from the ids, so that an interrupted chain continues
        from there to the very same numbers. Changes numbers in the last digits.
    """

    objective: Objective
    keep_ratio: float
    tie_tolerance: float
    token_budget: int | None
    store_gib: float | None
    checkpoint_every: int

    def __post_init__(self) -> None:
        expect_ratio(self, "keep_ratio")
        expect_at_least(self, token_budget=1, checkpoint_every=1, store_gib=0, tie_tolerance=0)


@dataclass(frozen=True, eq=False)
class Search:
    """Deletes, again and again, the best of some candidates.

    Attributes
    ----------
    strategy
        Whose search this is.
    candidates
        Says which deletions to score at each step.
    most_important_first
        Make the deletion with the highest objective instead of the lowest.
    """

    strategy: SearchOptions
    candidates: Candidates
    most_important_first: bool = False

    def prune(self, chain: EncodedChain, *, loaded: LoadedModel, job: PruningJob | None = None) -> PruningPath:
        """Delete tokens of one chain; see `Strategy.prune`."""
        job = job or PruningJob()
        n_deletions = chain.n_reasoning - int(chain.n_reasoning * self.strategy.keep_ratio)
        path = job.begun
        while path is None or len(path.deleted) < n_deletions:
            n_done = len(path.deleted) if path else 0
            path = self._extend(path, min(self.strategy.checkpoint_every, n_deletions - n_done), chain, loaded, job)
            job.save(path)
        return path

    def _extend(
        self, path: PruningPath | None, n_deletions: int, chain: EncodedChain, loaded: LoadedModel, job: PruningJob
    ) -> PruningPath:
        """Make the next deletions, by a likelihood that knows only the tokens that are left."""
        kept = np.flatnonzero(np.isnan(path.deletion_step)) if path else np.arange(chain.n_reasoning)
        token_budget = path.token_budget if path else self.strategy.token_budget
        likelihood = open_likelihood(loaded, chain.keep(kept), token_budget=token_budget, store_gib=self.strategy.store_gib)
        path = path or unpruned(self.strategy, chain.n_reasoning, likelihood)
        last_known = np.full(len(kept), np.nan)
        deletions = Deletions()
        for _ in range(n_deletions):
            position, margin = self._best(likelihood, last_known)
            likelihood.delete(position)
            deletions.add(int(kept[position]), margin, likelihood.nll())
            job.advance()
        return extended(path, deletions, likelihood, tie_tolerance=self.strategy.tie_tolerance)

    def _best(self, likelihood: ChainLikelihood, last_known: FloatArray) -> tuple[int, float]:
        """Position of the best candidate, and its margin; writes the losses that were found to ``last_known``."""
        objective, sign = self.strategy.objective, -1 if self.most_important_first else 1
        candidates = self.candidates(likelihood.kept, last_known[likelihood.kept])
        scores = likelihood.score_deletions(reasoning=objective != "answer", candidates=candidates)
        objectives = sign * objective_of(objective, scores, likelihood)
        last_known[scores.positions] = objectives - sign * _objective_now(objective, likelihood)
        chosen, margin = choose(objectives, self.strategy.tie_tolerance)
        return int(scores.positions[chosen]), margin


def _objective_now(objective: Objective, likelihood: ChainLikelihood) -> float:
    """Objective before the next deletion; ``influence`` is a change already."""
    nll = likelihood.nll()
    return {"answer": nll.answer, "joint": nll.joint, "influence": 0.0}[objective]


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
    """Index of the lowest objective, the first among ties, and how far the best of the others is above it."""
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
