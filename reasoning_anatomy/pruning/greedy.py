"""Exact greedy pruning."""

from dataclasses import dataclass

import numpy as np

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
from reasoning_anatomy.types import EncodedChain, PruningPath


@dataclass(frozen=True, kw_only=True)
class Greedy:
    """Delete, again and again, the token whose loss hurts the likelihood least (exact).

    At each step every single deletion is scored with the ids really removed and later positions closed up; the one
    with the lowest objective is made. Ties go to the lowest position.

    Attributes
    ----------
    objective
        ``"answer"``: mean nll of the answer. ``"joint"``: mean nll of kept reasoning and answer; it never
        scores the deleted token itself, so it favours deleting surprising tokens. ``"influence"``: the
        control, the change in the summed nll of the tokens that survive after the deleted one, answer
        included, divided by the number of tokens left (the same for all candidates of a step).
    most_important_first
        Delete the token with the highest objective instead: the reverse path.
    keep_ratio
        Stop when this fraction of the reasoning tokens is left (rounded down); 0 deletes all.
    tie_tolerance
        Objectives within this many nats per token are a tie; the default is what float32 rounds away.
    token_budget
        Tokens of one forward pass, halved whenever memory runs out; None takes 1024 on a CPU and 16384 on an
        accelerator. Changes speed and memory, and numbers in the last digits.
    store_gib
        Memory for what candidates may keep between steps, in GiB; None takes 1 GiB on a CPU and half of what is
        free on an accelerator. Likewise.
    checkpoint_every
        Deletions after which the likelihood starts afresh from the ids, so that an interrupted chain goes on
        from there to the very same numbers; likewise.

    References
    ----------
    Singh and Hakkani-Tür, Do LLMs Encode Functional Importance of Reasoning Tokens?, arXiv:2601.03066.
    """

    objective: Objective = "answer"
    most_important_first: bool = False
    keep_ratio: float = 0.0
    tie_tolerance: float = 1e-5
    token_budget: int | None = None
    store_gib: float | None = None
    checkpoint_every: int = 32

    def __post_init__(self) -> None:
        expect_ratio(self, "keep_ratio")
        expect_at_least(self, token_budget=1, checkpoint_every=1, store_gib=0, tie_tolerance=0)

    def prune(self, chain: EncodedChain, *, loaded: LoadedModel, job: PruningJob | None = None) -> PruningPath:
        """Delete tokens of one chain; see `Strategy.prune`."""
        job = job or PruningJob()
        n_deletions = chain.n_reasoning - int(chain.n_reasoning * self.keep_ratio)
        path = job.begun
        while path is None or len(path.deleted) < n_deletions:
            n_done = len(path.deleted) if path else 0
            path = self._extend(path, min(self.checkpoint_every, n_deletions - n_done), chain, loaded, job)
            job.save(path)
        return path

    def _extend(
        self, path: PruningPath | None, n_deletions: int, chain: EncodedChain, loaded: LoadedModel, job: PruningJob
    ) -> PruningPath:
        """Make the next deletions, by a likelihood that knows nothing but the tokens that are left."""
        kept = np.flatnonzero(np.isnan(path.deletion_step)) if path else np.arange(chain.n_reasoning)
        token_budget = path.token_budget if path else self.token_budget
        likelihood = open_likelihood(loaded, chain.keep(kept), token_budget=token_budget, store_gib=self.store_gib)
        path = path or unpruned(self, chain.n_reasoning, likelihood)
        deletions = Deletions()
        for _ in range(n_deletions):
            scores = likelihood.score_deletions(reasoning=self.objective != "answer")
            objectives = objective_of(self.objective, scores, likelihood)
            chosen, margin = choose(-objectives if self.most_important_first else objectives, self.tie_tolerance)
            position = int(scores.positions[chosen])
            likelihood.delete(position)
            deletions.add(int(kept[position]), margin, likelihood.nll())
            job.advance()
        return extended(path, deletions, likelihood, tie_tolerance=self.tie_tolerance)
