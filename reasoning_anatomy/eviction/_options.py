"""What policies share: what never goes, what becomes of positions, and how much may stay."""

import dataclasses
import math
from typing import Any, Final, Self

import torch
from torch import Tensor

from reasoning_anatomy import plugins
from reasoning_anatomy.eviction import Moment, Positions, Writing
from reasoning_anatomy.options import expect_at_least

ROUNDING: Final = 1e-9


class PolicyOptions:
    """Options of every policy that evicts; each declares them as fields of its own.

    The same tokens are protected by every policy, so that policies differ in what they choose and not in who happens to keep
    the prompt.

    Attributes
    ----------
    positions
        ``"keep"``: keys keep the positions at which they were read. ``"rerotate"``: they are rotated to positions that close
        up. ``"reprefill"``: what stays is read anew, as a chain from which the rest was deleted; only for policies that evict
        the same tokens from all heads.
    steps
        Key and options of the segmenter that cuts steps as they are written.
    protect_prompt
        Whether the prompt is protected.
    n_sink
        The first so many tokens that could go otherwise are protected: of the reasoning, if the prompt is protected.
    newest
        The last so many tokens of the newest step are protected.
    """

    positions: Positions
    steps: str
    protect_prompt: bool
    n_sink: int
    newest: int

    def __post_init__(self) -> None:
        expect_at_least(self, n_sink=0, newest=0)
        if self.per_head and self.positions == "reprefill":
            raise ValueError(
                "positions is 'reprefill', which reads one text anew, but heads hold different tokens; add scope=shared"
            )
        plugins.load("segmenter", self.steps)

    @property
    def per_head(self) -> bool:
        """Whether heads or layers hold different tokens."""
        return False

    def n_protected_as_prompt(self, writing: Writing) -> int:
        """Tokens of the prompt that are protected and not counted."""
        return writing.n_prompt if self.protect_prompt else 0

    def may_go(self, moment: Moment) -> Tensor:
        """Shaped as the index of a moment: whether a slot is not protected."""
        writing, step = moment.writing, moment.writing.cut()
        n_newest = min(self.newest, int((step == step[-1]).sum()))
        first = self.n_protected_as_prompt(writing) + self.n_sink
        return (moment.index >= first) & (moment.index < writing.n_prompt + writing.n_written - n_newest)


class BudgetOptions(PolicyOptions):
    """Options of policies that evict what is too much, at regular intervals.

    Attributes
    ----------
    budget
        How much may stay: up to 1, a share of the tokens read so far; above 1, a number of tokens. The prompt is not counted if
        it is protected; other protected tokens are, and stay even if there is no room for them.
    every
        Evict when so many tokens have been written, and again after as many.
    """

    budget: float
    every: int

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_at_least(self, every=1)
        if not (math.isfinite(self.budget) and self.budget >= 0):
            raise ValueError(f"budget is {self.budget}, expected a share from 0 to 1, or a number of tokens above 1")

    def at(self, threshold: float) -> Self:
        """Make the policy that evicts a share of the tokens, 0..1; see `EvictionPolicy.at`."""
        policy: Any = self
        changed: Self = dataclasses.replace(policy, budget=1 - threshold)
        return changed

    def is_due(self, writing: Writing) -> bool:
        """Tell whether it is time, and more is in the cache than may stay."""
        return writing.n_written % self.every == 0 and self.excess(writing) > 0

    def excess(self, writing: Writing) -> int:
        """Tokens in the cache beyond those that may stay, 0 or more."""
        not_counted = self.n_protected_as_prompt(writing)
        n_read = writing.n_read - not_counted
        may_stay = int(self.budget * n_read + ROUNDING) if self.budget <= 1 else int(self.budget)
        return max(0, writing.n_slots - not_counted - may_stay)


def lowest(score: Tensor, may_go: Tensor, n: int) -> Tensor:
    """(..., k) whether a slot is among the ``n`` with the lowest scores (..., k) of those that may go; ties to the first slot.

    ``may_go`` is (..., k) or (k,). If fewer may go in some head, as few go in all.
    """
    may_go = may_go.expand_as(score)
    n = min(n, int(may_go.sum(dim=-1).amin()))
    order = score.masked_fill(~may_go, torch.inf).argsort(dim=-1, stable=True)[..., :n]
    return torch.zeros_like(may_go).scatter(-1, order, torch.ones_like(order, dtype=torch.bool))
