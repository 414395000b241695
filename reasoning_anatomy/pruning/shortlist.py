"""Greedy pruning among a shortlist of candidates: an approximation."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from reasoning_anatomy.chain_likelihood import ChainLikelihood
from reasoning_anatomy.likelihood import open_likelihood
from reasoning_anatomy.models import LoadedModel
from reasoning_anatomy.options import expect_at_least, expect_ratio
from reasoning_anatomy.pruning import PruningJob
from reasoning_anatomy.pruning._search import (
    Deletions,
    Objective,
    choose,
    extended,
    objective_of,
    unpruned,
)
from reasoning_anatomy.types import EncodedChain, FloatArray, IntArray, PruningPath

_FEWEST: Final = 2


@dataclass(frozen=True, kw_only=True)
class Shortlist:
    """Greedy pruning that scores, at each step, only the candidates that scored best when last looked at (approximate).

    Every candidate is scored once, on the unpruned chain. From then on the share of the candidates with the lowest last
    known change of the objective is scored anew, exactly, and the best of them is deleted. A token that becomes
    dispensable while its last known score is high is found late. ``docs/pruning.md`` says how far its paths are from
    those of `greedy`, which ``python -m benchmarks.greedy_fidelity`` measures.

    Attributes
    ----------
    objective
        As for `greedy`.
    share
        Of the candidates that are left, the share that is scored at each step (rounded up, at least two); 1 is `greedy`.
    keep_ratio, tie_tolerance, token_budget, store_gib
        As for `greedy`; ties are counted among the candidates that were scored.
    """

    objective: Objective = "answer"
    share: float = 0.08
    keep_ratio: float = 0.0
    tie_tolerance: float = 1e-5
    token_budget: int | None = None
    store_gib: float | None = None

    def __post_init__(self) -> None:
        expect_ratio(self, "keep_ratio", "share")
        expect_at_least(self, token_budget=1, store_gib=0, tie_tolerance=0)

    def prune(self, chain: EncodedChain, *, loaded: LoadedModel, job: PruningJob | None = None) -> PruningPath:
        """Delete tokens of one chain; see `Strategy.prune`."""
        job = job or PruningJob()
        likelihood = open_likelihood(loaded, chain, token_budget=self.token_budget, store_gib=self.store_gib)
        path = unpruned(self, chain.n_reasoning, likelihood)
        last_known = np.zeros(chain.n_reasoning)  # change of the objective by each deletion, as scored last
        candidates = likelihood.kept
        deletions = Deletions()
        for _ in range(chain.n_reasoning - int(chain.n_reasoning * self.keep_ratio)):
            scores = likelihood.score_deletions(reasoning=self.objective != "answer", candidates=candidates)
            objectives = objective_of(self.objective, scores, likelihood)
            last_known[candidates] = objectives - self._now(likelihood)
            chosen, margin = choose(objectives, self.tie_tolerance)
            likelihood.delete(int(scores.positions[chosen]))
            deletions.add(int(scores.positions[chosen]), margin, likelihood.nll())
            candidates = self._shortlist(likelihood.kept, last_known)
            job.advance()
        return extended(path, deletions, likelihood, tie_tolerance=self.tie_tolerance)

    def _now(self, likelihood: ChainLikelihood) -> float:
        """Objective before the next deletion; ``influence`` is a change already."""
        nll = likelihood.nll()
        return {"answer": nll.answer, "joint": nll.joint, "influence": 0.0}[self.objective]

    def _shortlist(self, kept: IntArray, last_known: FloatArray) -> IntArray:
        """Positions to score next, ascending."""
        n_candidates = min(len(kept), max(_FEWEST, math.ceil(self.share * len(kept))))
        best = np.argsort(last_known[kept], kind="stable")[:n_candidates]
        return np.sort(kept[best])
