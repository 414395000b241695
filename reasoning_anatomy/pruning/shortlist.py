"""Greedy pruning among a shortlist of candidates: an approximation."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from reasoning_anatomy.models import LoadedModel
from reasoning_anatomy.options import expect_at_least, expect_ratio
from reasoning_anatomy.pruning import PruningJob
from reasoning_anatomy.pruning._search import Objective, Search
from reasoning_anatomy.types import EncodedChain, FloatArray, IntArray, PruningPath

_FEWEST: Final = 2


@dataclass(frozen=True, kw_only=True)
class Shortlist:
    """Greedy pruning that scores few candidates while many tokens are left, and all of them at the end (approximate).

    While many tokens are left, most deletions cost next to nothing, scoring them all is dearest, and which of them goes first
    matters least. So all candidates are scored at first and again after every ``checkpoint_every`` deletions; in between, only
    the share with the lowest last known change of the objective is scored anew, exactly, and the best of these is deleted. When
    few tokens are left, every candidate is scored at every step, as `greedy` does. ``docs/pruning.md`` says how far its paths
    are from those of `greedy`, which ``python -m benchmarks.greedy_fidelity`` measures.

    Attributes
    ----------
    objective
        As for `greedy`.
    share
        Of the candidates that are left, the share that is scored at each step (rounded up, at least two).
    all_below
        Once no more than this share of the reasoning tokens is left, all candidates are scored at each step; 1 is `greedy`.
    keep_ratio, tie_tolerance, token_budget, store_gib, checkpoint_every
        As for `greedy`; ties are counted among the candidates that were scored.
    """

    objective: Objective = "answer"
    share: float = 0.08
    all_below: float = 0.1
    keep_ratio: float = 0.0
    tie_tolerance: float = 1e-5
    token_budget: int | None = None
    store_gib: float | None = None
    checkpoint_every: int = 64

    def __post_init__(self) -> None:
        expect_ratio(self, "keep_ratio", "share", "all_below")
        expect_at_least(self, token_budget=1, checkpoint_every=1, store_gib=0, tie_tolerance=0)

    def prune(self, chain: EncodedChain, *, loaded: LoadedModel, job: PruningJob | None = None) -> PruningPath:
        """Delete tokens of one chain; see `Strategy.prune`."""
        candidates = partial(self._candidates, n_reasoning=chain.n_reasoning)
        return Search(self, candidates).prune(chain, loaded=loaded, job=job)

    def _candidates(self, kept: IntArray, last_known: FloatArray, *, n_reasoning: int) -> IntArray:
        """Positions to score next, ascending."""
        if np.isnan(last_known).any() or len(kept) <= self.all_below * n_reasoning:
            return kept
        n_candidates = min(len(kept), max(_FEWEST, math.ceil(self.share * len(kept))))
        return np.sort(kept[np.argsort(last_known, kind="stable")[:n_candidates]])
