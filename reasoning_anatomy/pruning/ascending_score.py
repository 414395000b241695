"""Pruning by ascending score, a baseline."""

from dataclasses import dataclass

import numpy as np

from reasoning_anatomy import plugins
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.pruning import PruningJob
from reasoning_anatomy.pruning._curve import FixedOrder, evaluated, ordered, until
from reasoning_anatomy.pruning._steps import token_scores
from reasoning_anatomy.types import EncodedChain, FloatArray, PruningPath


@dataclass(frozen=True, kw_only=True)
class AscendingScore(FixedOrder):
    """Delete the least important token first, by the scores of the unpruned chain.

    The order is fixed before the first deletion. Tokens of equal score go from the lowest position on; a deletion
    counts as a tie if another token that is left has the same score.

    Attributes
    ----------
    scorer
        Key and options of a scorer. ``"surprisal"`` first deletes what the model would have written anyway: the
        published baseline.

    References
    ----------
    Singh and Hakkani-Tür, Do LLMs Encode Functional Importance of Reasoning Tokens?, arXiv:2601.03066.
    """

    scorer: str = "surprisal"
    keep_ratio: float = 0.0
    curve_points: int = 0
    token_budget: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        plugins.load("scorer", self.scorer)  # refuses an unknown scorer before anything is measured

    def prune(self, chain: EncodedChain, *, loaded: LoadedModel, job: PruningJob | None = None) -> PruningPath:
        """Delete tokens of one chain; see `Strategy.prune`."""
        return evaluated(self, self.order(chain, loaded=loaded), chain, loaded=loaded, job=job)

    def order(self, chain: EncodedChain, *, loaded: LoadedModel) -> PruningPath:
        """Find the deletions alone; see `OrdersBeforehand`."""
        score = token_scores(self.scorer, chain, loaded=loaded)
        order = np.argsort(score, kind="stable")
        deleted = until(self.keep_ratio, order)
        return ordered(self, deleted, chain, n_ties=_n_ties(score[order], len(deleted)))


def _n_ties(ascending: FloatArray, n_deletions: int) -> int:
    """Count the deletions whose score is that of the next token in the order."""
    return int(np.count_nonzero(np.diff(ascending)[:n_deletions] == 0))
