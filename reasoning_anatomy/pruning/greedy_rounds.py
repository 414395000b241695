"""Greedy pruning in rounds: an approximation."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.options import expect_at_least, expect_ratio
from reasoning_anatomy.pruning import PruningJob
from reasoning_anatomy.pruning._search import Objective, Search, SearchOptions
from reasoning_anatomy.types import EncodedChain, FloatArray, IntArray, PruningPath

_FIRST_ROUND: Final = 16
"""Tokens that the first round deletes; all rounds then need about a fifth of the token-forwards of `greedy`."""
_LARGEST_SHARE: Final = 0.25


@dataclass(frozen=True, kw_only=True)
class GreedyRounds(SearchOptions):
    """Greedy pruning that scores every candidate once a round, and only the best few in between (approximate).

    A round begins with the exact score of every deletion. Then, at each step, the few candidates whose last known change of
    the objective is lowest are scored again, exactly, and the best of them is deleted, until a share of the tokens that the
    round began with is gone. So rounds grow shorter as tokens become fewer and each of them counts for more. A token that
    becomes dispensable within a round is found at the next. ``docs/pruning.md`` says how far its paths are from those of
    `greedy`, which ``python -m benchmarks.greedy_fidelity`` measures. A checkpoint begins a new round, and ties are counted
    among the candidates that were scored.

    Attributes
    ----------
    round_share
        Share of the tokens left at its beginning that a round deletes (rounded up); 0 scores all at every step, like `greedy`.
        None takes 16 divided by the number of reasoning tokens, at most a quarter, which needs about a fifth of the
        token-forwards of `greedy` from 60 tokens on.
    n_candidates
        How many candidates are scored at each step within a round.
    """

    objective: Objective = "answer"
    round_share: float | None = None
    n_candidates: int = 2
    keep_ratio: float = 0.0
    tie_tolerance: float = 1e-5
    token_budget: int | None = None
    store_gib: float | None = None
    checkpoint_every: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_ratio(self, "round_share")
        expect_at_least(self, n_candidates=1)

    def prune(self, chain: EncodedChain, *, loaded: LoadedModel, job: PruningJob | None = None) -> PruningPath:
        """Delete tokens of one chain; see `Strategy.prune`."""
        share = min(_LARGEST_SHARE, _FIRST_ROUND / chain.n_reasoning) if self.round_share is None else self.round_share
        return Search(self, _Rounds(share, self.n_candidates)).prune(chain, loaded=loaded, job=job)


@dataclass
class _Rounds:
    """Says which candidates to score, and remembers with how many tokens the round began."""

    share: float
    n_candidates: int
    n_at_start: int = 0

    def __call__(self, kept: IntArray, last_known: FloatArray) -> IntArray:
        """Positions to score next, ascending."""
        n_gone = self.n_at_start - len(kept)
        if np.isnan(last_known).any() or n_gone >= round(self.n_at_start * self.share, 9):
            self.n_at_start = len(kept)
            return kept
        return np.sort(kept[np.argsort(last_known, kind="stable")[: self.n_candidates]])
