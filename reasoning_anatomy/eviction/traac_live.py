"""Eviction of the least attended steps when the thinking is closed, fewer if they are alike."""

import dataclasses
from dataclasses import dataclass
from typing import Final

import numpy as np

from reasoning_anatomy.eviction import Eviction, Moment, Positions, Writing
from reasoning_anatomy.eviction._options import ROUNDING, PolicyOptions
from reasoning_anatomy.eviction._steps import Layers, attention_of, cached_steps
from reasoning_anatomy.options import expect_at_least, expect_ratio
from reasoning_anatomy.steps import uniformity

_TOO_UNIFORM: Final = 0.8
_LARGEST_SHARE: Final = 0.8


@dataclass(frozen=True, kw_only=True)
class TraacLive(PolicyOptions):
    """Evict the least attended steps once the thinking is closed, and answer from the rest (TRAAC without its training).

    With the uniformity U of the mean attention of the steps, a share of min(r (1 - U), 0.8) of them goes, rounded down, and
    none if U > 0.8. As published the rate r is 0.4, steps are weighed by a probe in a text without the question, and the
    answer is written anew behind the rest. Here the probe comes in place of the closing tag, and the question is in the cache
    as always; ``positions=reprefill`` reads anew what stays.

    Attributes
    ----------
    rate
        The rate r, 0..1.
    every
        0: once, when the thinking is closed. Otherwise, the rule is also applied whenever so many tokens have been written.
    layers
        Layers whose weights count: ``"all"``, as in the paper and for DeepSeek's models in the code; the ``"first_half"``, as
        for Qwen3 in the code; or the ``"last"``.
    probe
        The sentence before the tag.

    References
    ----------
    TRAAC, arXiv:2510.01581; the public repository, commit 0bfea0a.
    """

    rate: float = 0.4
    every: int = 0
    layers: Layers = "all"
    probe: str = (
        "Time is up. I should stop thinking and now write a summary containing all key steps required to solve the problem."
    )
    positions: Positions = "keep"
    steps: str = "cue_words"
    protect_prompt: bool = True
    n_sink: int = 4
    newest: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_ratio(self, "rate")
        expect_at_least(self, every=0)

    @property
    def waits_for_closing(self) -> bool:
        """Whether it evicts nowhere but where the thinking is closed."""
        return self.every == 0

    def at(self, threshold: float) -> "TraacLive":
        """Make the policy with this rate; see `EvictionPolicy.at`."""
        return dataclasses.replace(self, rate=threshold)

    def is_due(self, writing: Writing) -> bool:
        """Tell whether the thinking is closed, or it is time."""
        return writing.closes_thinking or (self.every > 0 and writing.n_written % self.every == 0)

    def evict(self, moment: Moment) -> Eviction:
        """Choose the lowest steps; see `EvictionPolicy.evict`."""
        score = attention_of(moment, self.layers).mean(dim=(0, 1)).cpu().double().numpy()
        steps = cached_steps(moment, moment.index, score, self.may_go(moment))
        present = np.flatnonzero(np.isfinite(steps.mean[1:])) + 1
        u = uniformity(steps.mean[present])
        share = 0.0 if u > _TOO_UNIFORM else min(self.rate * (1 - u), _LARGEST_SHARE)
        lowest = present[np.argsort(steps.mean[present], kind="stable")][: int(share * len(present) + ROUNDING)]
        return steps.whole(np.intersect1d(lowest, steps.free), moment)
