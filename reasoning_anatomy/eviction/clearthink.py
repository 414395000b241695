"""Eviction of a chunk that is attended to much less than the best one, whenever a chunk ends."""

import dataclasses
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from reasoning_anatomy.eviction import Eviction, Moment, Positions, Writing
from reasoning_anatomy.eviction._options import PolicyOptions
from reasoning_anatomy.eviction._steps import Layers, attention_of, cached_steps
from reasoning_anatomy.eviction.think_clearly import PROBE
from reasoning_anatomy.options import expect_ratio
from reasoning_anatomy.types import IntArray

_FEWEST: Final = 4


@dataclass(frozen=True, kw_only=True)
class Clearthink(PolicyOptions):
    """Evict the least attended chunk if the best one has much more, whenever a chunk ends (ClearThink).

    As released: a chunk ends behind a cue word or a line break; from 4 chunks on, a probe is read at each end; the chunk with
    the lowest mean attention in the last layer, except the newest, goes if its mean is below a share of that of the best of
    them; then all that is left is read anew and counts as prompt, so that chunks before it cannot go later. The released code
    probes in a window of 2,500 tokens without the prompt, reads text anew instead of ids, and goes on in the answer; here the
    probe sees all that is in the cache, ids stay as they are, and nothing is evicted once the thinking is closed.

    Attributes
    ----------
    ratio
        A chunk goes if its mean attention is below this share of the best one's, 0..1; published: 0.25, 0.4, 0.6. It says
        nothing of how much stays.
    tracks
        Chunks that can go: those begun ``"since_eviction"``, as released, or ``"all"``.
    layers
        Layers whose weights count: the ``"last"``, as released, ``"all"``, or the ``"first_half"``.
    probe
        The sentence before the tag.

    References
    ----------
    github.com/manoj060603/Pruning_Strategy_Reasoning_Models, commit 62388b1.
    """

    ratio: float = 0.4
    tracks: Literal["since_eviction", "all"] = "since_eviction"
    layers: Layers = "last"
    probe: str = PROBE
    positions: Positions = "reprefill"
    steps: str = "cue_ends"
    protect_prompt: bool = True
    n_sink: int = 4
    newest: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_ratio(self, "ratio")

    def at(self, threshold: float) -> "Clearthink":
        """Make the policy with this ratio; see `EvictionPolicy.at`."""
        return dataclasses.replace(self, ratio=threshold)

    def is_due(self, writing: Writing) -> bool:
        """Tell whether the newest token begins a chunk, and enough have ended."""
        step = writing.cut()
        begins = len(step) > 1 and step[-1] > step[-2]
        return begins and not writing.closes_thinking and len(self._tracked(writing, step)) >= _FEWEST

    def evict(self, moment: Moment) -> Eviction:
        """Choose one chunk, or none; see `EvictionPolicy.evict`."""
        score = attention_of(moment, self.layers).mean(dim=(0, 1)).cpu().double().numpy()
        steps = cached_steps(moment, moment.index, score, self.may_go(moment))
        tracked = self._tracked(moment.writing, moment.writing.cut()) + 1
        tracked = tracked[np.isfinite(steps.mean[tracked])]
        older = tracked[:-1]
        free = np.intersect1d(older, steps.free)
        victim = free[np.argsort(steps.mean[free], kind="stable")][:1]
        is_low = steps.mean[victim] < self.ratio * steps.mean[older].max(initial=-np.inf)
        return steps.whole(victim[is_low], moment)

    def _tracked(self, writing: Writing, step: IntArray) -> IntArray:
        """(t,) steps that have ended and were begun since the last eviction, ascending."""
        first = max(0, writing.n_written_then - 1) if self.tracks == "since_eviction" else 0
        begun: IntArray = np.unique(step[first:])
        if first and len(begun) and step[first - 1] == begun[0]:
            begun = begun[1:]
        ended: IntArray = begun[begun < step[-1]]
        return ended
