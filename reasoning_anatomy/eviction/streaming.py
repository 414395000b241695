"""Eviction of all but the first and the latest tokens."""

from dataclasses import dataclass

from reasoning_anatomy.eviction import Eviction, Moment, Positions
from reasoning_anatomy.eviction._options import BudgetOptions, lowest


@dataclass(frozen=True, kw_only=True)
class Streaming(BudgetOptions):
    """Evict the oldest tokens behind the sink (StreamingLLM).

    As published, the sink is the beginning of the text, there is no prompt to protect, and positions are those in the cache:
    ``protect_prompt=false,newest=0,positions=rerotate``.

    References
    ----------
    Xiao et al., Efficient Streaming Language Models with Attention Sinks, arXiv:2309.17453, section 3.2.
    """

    budget: float = 0.5
    every: int = 1
    positions: Positions = "keep"
    steps: str = "cue_words"
    protect_prompt: bool = True
    n_sink: int = 4
    newest: int = 64

    def evict(self, moment: Moment) -> Eviction:
        """Choose the oldest; see `EvictionPolicy.evict`."""
        return Eviction(lowest(moment.index.float(), self.may_go(moment), self.excess(moment.writing)))
