"""Pruning to heavy hitters and recent tokens."""

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.options import expect_ratio
from reasoning_anatomy.pruning import PruningJob
from reasoning_anatomy.pruning._curve import FixedOrder, evaluated, ordered, until
from reasoning_anatomy.pruning._steps import token_scores
from reasoning_anatomy.types import EncodedChain, FloatArray, IntArray, PruningPath

_ROUNDING: Final = 1e-9


@dataclass(frozen=True, kw_only=True)
class H2o(FixedOrder):
    """Keep the most recent tokens, and of the others those that received the most attention (H2O, on a finished chain).

    Of a budget of B tokens, half (rounded up) are the last of the reasoning; the rest are those before them with the largest
    sums of attention over all queries, ties to the lowest position. Every budget keeps all that a smaller one keeps, so one
    path holds them all.

    The publication evicts from the cache while the text is written, with sums and sets of its own in every layer and head,
    and what was evicted takes no further attention. Here sums are those of the finished chain, causal and with nothing
    evicted, mean over layers and heads, and one set of tokens is deleted.

    Attributes
    ----------
    queries
        Who attends: ``"reasoning"`` tokens, ``"answer"`` tokens (separator and end of turn included), or ``"both"``.
    recent_share
        Share of the budget that the most recent tokens have; 0 keeps heavy hitters alone, 1 recent tokens alone.

    References
    ----------
    Zhang et al., H2O: Heavy-Hitter Oracle for Efficient Generative Inference, arXiv:2306.14048.
    """

    queries: Literal["reasoning", "answer", "both"] = "both"
    recent_share: float = 0.5
    keep_ratio: float = 0.0
    curve_points: int = 10
    token_budget: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_ratio(self, "recent_share")

    @property
    def scorer(self) -> str:
        """Spec of the scorer that it uses."""
        return f"accumulated_attention:queries={self.queries}"

    def prune(self, chain: EncodedChain, *, loaded: LoadedModel, job: PruningJob | None = None) -> PruningPath:
        """Delete tokens of one chain; see `Strategy.prune`."""
        return evaluated(self, self.order(chain, loaded=loaded), chain, loaded=loaded, job=job)

    def order(self, chain: EncodedChain, *, loaded: LoadedModel) -> PruningPath:
        """Find the deletions alone; see `OrdersBeforehand`."""
        score = token_scores(self.scorer, chain, loaded=loaded)
        deleted = until(self.keep_ratio, deletion_order(score, recent_share=self.recent_share))
        return ordered(self, deleted, chain)


def deletion_order(score: FloatArray, *, recent_share: float) -> IntArray:
    """Order (n,) in which tokens go if the budget shrinks from n to 0: the last in the order is what a budget of 1 keeps."""
    n = len(score)
    by_score = iter(np.argsort(-score, kind="stable").tolist())
    n_recent, kept = 0, dict[int, None]()  # in the order in which a growing budget takes them
    for budget in range(1, n + 1):
        is_recent = math.ceil(budget * recent_share - _ROUNDING) > n_recent
        n_recent += is_recent
        newest = n - n_recent if is_recent else -1
        if newest < 0 or newest in kept:
            newest = next(position for position in by_score if position not in kept)
        kept[newest] = None
    return np.array(list(kept)[::-1], dtype=np.int64)
