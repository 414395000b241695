"""Exact greedy pruning."""

from dataclasses import dataclass

import numpy as np

from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.options import expect_at_least, expect_ratio
from reasoning_anatomy.pruning import PruningJob
from reasoning_anatomy.pruning._search import Objective, Search
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
        search = Search(self, candidates=lambda kept, _: kept, most_important_first=self.most_important_first)
        return search.prune(chain, loaded=loaded, job=job)

    def token_forwards(self, chain: EncodedChain, *, shares_prefixes: bool) -> int:
        """Tokens that a path runs through the model at most; see `ForeseesCost`. What candidates store saves some of them."""
        n_deletions = chain.n_reasoning - int(chain.n_reasoning * self.keep_ratio)
        n_kept = chain.n_reasoning - np.arange(n_deletions)
        n_answer = len(chain.answer_ids)
        per_candidate = (n_kept - 1) / 2 + n_answer if shares_prefixes else len(chain.prompt_ids) + n_kept - 1 + n_answer
        return int((n_kept * per_candidate).sum())
