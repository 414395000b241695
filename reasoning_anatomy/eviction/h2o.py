"""Eviction of all but heavy hitters and recent tokens."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from reasoning_anatomy.eviction import Eviction, Moment, Positions
from reasoning_anatomy.eviction._options import ROUNDING, BudgetOptions, lowest
from reasoning_anatomy.options import expect_ratio


@dataclass(frozen=True, kw_only=True)
class H2o(BudgetOptions):
    """Keep recent tokens, and of the others those that have received the most attention (H2O).

    In every layer and KV head, the weights that a token has received from all tokens written since are summed, over the heads
    that share it, too. Tokens of the prompt do not count as those who attend: they could only add to what the prompt received.
    What was evicted takes no further part.

    Attributes
    ----------
    recent_share
        Share of what may stay that recent tokens have, rounded up; 0 keeps heavy hitters alone, 1 recent tokens alone.
    scope
        Whether every KV head keeps tokens of its own, as published, or all keep the same, by the sum over layers and heads.

    References
    ----------
    Zhang et al., H2O: Heavy-Hitter Oracle for Efficient Generative Inference, arXiv:2306.14048.
    """

    accumulates_attention: ClassVar[Literal[True]] = True

    budget: float = 0.5
    recent_share: float = 0.5
    scope: Literal["per_head", "shared"] = "per_head"
    every: int = 1
    positions: Positions = "keep"
    steps: str = "cue_words"
    protect_prompt: bool = True
    n_sink: int = 4
    newest: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_ratio(self, "recent_share")

    @property
    def per_head(self) -> bool:
        """Whether heads or layers hold different tokens."""
        return self.scope == "per_head"

    def evict(self, moment: Moment) -> Eviction:
        """Choose those that received least; see `EvictionPolicy.evict`."""
        if moment.received is None:
            raise ValueError("the moment has no sums of attention")
        writing = moment.writing
        n_gone = self.excess(writing)
        n_stay = writing.n_slots - self.n_protected_as_prompt(writing) - n_gone
        n_recent = math.ceil(self.recent_share * n_stay - ROUNDING)
        is_recent = torch.arange(writing.n_slots, device=moment.index.device) >= writing.n_slots - n_recent
        received = moment.received if self.per_head else moment.received.sum(dim=(0, 1))
        return Eviction(lowest(received, self.may_go(moment) & ~is_recent, n_gone))
