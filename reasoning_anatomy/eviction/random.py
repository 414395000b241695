"""Eviction at random: what every other policy has to beat."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from reasoning_anatomy.eviction import Eviction, Moment, Positions
from reasoning_anatomy.eviction._options import BudgetOptions, lowest
from reasoning_anatomy.eviction._steps import cached_steps
from reasoning_anatomy.options import expect_at_least


@dataclass(frozen=True, kw_only=True)
class Random(BudgetOptions):
    """Evict tokens or steps at random, with the protection that all policies have.

    With the same budget and interval as another policy that counts tokens, as much is in the cache at any time. Random eviction
    with the prompt protected has been reported to be as good as eviction by scores.

    Attributes
    ----------
    units
        ``"tokens"``, or whole ``"steps"``, the last of them only in part.
    seed
        Of the order, together with the seed of the sample and the number of the eviction.

    References
    ----------
    Random Attention, arXiv:2609.03430.
    """

    budget: float = 0.5
    units: Literal["tokens", "steps"] = "tokens"
    every: int = 200
    positions: Positions = "keep"
    steps: str = "cue_words"
    protect_prompt: bool = True
    n_sink: int = 4
    newest: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_at_least(self, seed=0)

    def evict(self, moment: Moment) -> Eviction:
        """Choose at random; see `EvictionPolicy.evict`."""
        writing, may_go = moment.writing, self.may_go(moment)
        generator = np.random.default_rng([self.seed, writing.seed, writing.n_events])
        order = generator.random(writing.n_read)[moment.index.cpu().numpy()]
        if self.units == "steps":
            steps = cached_steps(moment, moment.index, order, may_go)
            drawn = generator.random(len(steps.mean))
            order = dataclasses.replace(steps, mean=drawn).place()
        return Eviction(lowest(torch.from_numpy(order).float().to(may_go.device), may_go, self.excess(writing)))
