"""Pruning of all but the first and the latest tokens."""

from dataclasses import dataclass

import numpy as np

from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.options import expect_at_least
from reasoning_anatomy.pruning import PruningJob
from reasoning_anatomy.pruning._curve import FixedOrder, evaluated, ordered, until
from reasoning_anatomy.types import EncodedChain, PruningPath


@dataclass(frozen=True, kw_only=True)
class Streaming(FixedOrder):
    """Keep the first tokens of the reasoning and its most recent ones (StreamingLLM, on a finished chain).

    The prompt is always kept and not counted: sinks are the first tokens of the reasoning. Once only sinks are left, they go
    from the last to the first.

    Attributes
    ----------
    n_sink
        Tokens at the beginning that are kept longest.

    References
    ----------
    Xiao et al., Efficient Streaming Language Models with Attention Sinks, arXiv:2309.17453, section 3.2.
    """

    n_sink: int = 4
    keep_ratio: float = 0.0
    curve_points: int = 10
    token_budget: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_at_least(self, n_sink=0)

    def prune(self, chain: EncodedChain, *, loaded: LoadedModel, job: PruningJob | None = None) -> PruningPath:
        """Delete tokens of one chain; see `Strategy.prune`."""
        return evaluated(self, self.order(chain, loaded=loaded), chain, loaded=loaded, job=job)

    def order(self, chain: EncodedChain, *, loaded: LoadedModel) -> PruningPath:
        """Find the deletions alone; see `OrdersBeforehand`."""
        positions = np.arange(chain.n_reasoning)
        order = np.concatenate([positions[self.n_sink :], positions[: self.n_sink][::-1]])
        return ordered(self, until(self.keep_ratio, order), chain)
