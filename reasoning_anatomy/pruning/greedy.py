"""Exact greedy pruning."""

from dataclasses import dataclass

import numpy as np

from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.pruning import PruningJob
from reasoning_anatomy.pruning._search import Objective, Search, SearchOptions
from reasoning_anatomy.types import EncodedChain, PruningPath


@dataclass(frozen=True, kw_only=True)
class Greedy(SearchOptions):
    """Delete, again and again, the token whose loss hurts the likelihood least (exact).

    At each step every single deletion is scored with the ids really removed and later positions closed up, and the
    token with the lowest objective is deleted. Ties go to the lowest position.

    Attributes
    ----------
    most_important_first
        Delete the token with the highest objective instead: the reverse path.

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
