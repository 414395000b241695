"""Eviction of the least attended steps, by a probe every 200 tokens."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor

from reasoning_anatomy.eviction import Eviction, Moment, Positions, Writing
from reasoning_anatomy.eviction._options import ROUNDING, BudgetOptions, lowest
from reasoning_anatomy.eviction._steps import CachedSteps, Layers, attention_of, cached_steps
from reasoning_anatomy.types import IntArray

PROBE: Final = (
    "Time is up. Given the time I’ve spent and the approaches I’ve tried, I should stop thinking and now write "  # noqa: RUF001
    "summarization in one sentence."
)


@dataclass(frozen=True, kw_only=True)
class ThinkClearly(BudgetOptions):
    """Evict the steps to which a summarising ``</think>`` attends least, every 200 tokens (Think Clearly).

    Published: the sentence of the probe, that it comes every 200 tokens with a ``</think>`` behind it, that the weights of this
    tag are the importance of tokens, that the mean over a step's tokens is that of the step, and that the lowest steps go
    first. Not published, as far as could be established, and so an option here: which layers count, whether all heads lose the
    same tokens, what the budget counts, what is protected, and what becomes of positions.

    Attributes
    ----------
    counts
        What the budget is a share, or a number, of. ``"tokens"``: whole steps go first, and the last one only in part, its
        tokens with the lowest score first, so that it is met exactly. ``"steps"``: of the steps so far, as many whole ones
        stay; a step is counted as long as a token of it stays. ``"mass"``: of the importance of all tokens that are not
        protected, at least this share stays, in whole steps.
    layers
        Layers whose weights count: ``"all"``, the ``"first_half"``, or the ``"last"``. Layers with a sliding window see only
        what is near, which they favour.
    scope
        Whether all heads lose the same tokens (``"shared"``), or those of each layer or head their own, by the weights there;
        the latter two only if tokens are counted.
    probe
        The sentence; a space is put before it.

    References
    ----------
    Choi et al., Think Clearly: Improving Reasoning via Redundant Token Pruning, arXiv:2507.08806.
    """

    budget: float = 0.5
    counts: Literal["tokens", "steps", "mass"] = "tokens"
    every: int = 200
    layers: Layers = "all"
    scope: Literal["shared", "per_layer", "per_head"] = "shared"
    probe: str = PROBE
    positions: Positions = "keep"
    steps: str = "cue_words"
    protect_prompt: bool = True
    n_sink: int = 4
    newest: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.counts == "mass" and self.budget > 1:
            raise ValueError(f"budget is {self.budget}, expected a share from 0 to 1 of the importance with counts=mass")
        if self.per_head and (self.counts != "tokens" or self.layers != "all"):
            raise ValueError(
                f"scope={self.scope} evicts as many tokens in every layer, by its own weights; it needs counts=tokens and "
                "layers=all"
            )

    @property
    def per_head(self) -> bool:
        """Whether heads or layers hold different tokens."""
        return self.scope != "shared"

    def is_due(self, writing: Writing) -> bool:
        """Tell whether it is time, and more is in the cache than may stay."""
        is_time = writing.n_written % self.every == 0
        return is_time and (self.counts != "tokens" or self.excess(writing) > 0)

    def evict(self, moment: Moment) -> Eviction:
        """Choose the lowest steps; see `EvictionPolicy.evict`."""
        n_gone, may_go = self.excess(moment.writing), self.may_go(moment)
        if self.per_head:
            return Eviction(lowest(self._places(moment, may_go), may_go, n_gone))
        score = attention_of(moment, self.layers).mean(dim=(0, 1)).cpu().double().numpy()
        steps = cached_steps(moment, moment.index, score, may_go)
        if self.counts == "tokens":
            return Eviction(lowest(torch.from_numpy(steps.place()).float().to(may_go.device), may_go, n_gone), steps.mean[1:])
        order = steps.free[np.argsort(steps.mean[steps.free], kind="stable")]
        n_steps_gone = self._n_by_mass(steps, order) if self.counts == "mass" else self._n_by_steps(steps)
        return steps.whole(order[:n_steps_gone], moment)

    def _n_by_steps(self, steps: CachedSteps) -> int:
        """Count the steps that go, so that as many stay as the budget says."""
        mean = steps.mean[1:]
        may_stay = int(self.budget * len(mean) + ROUNDING) if self.budget <= 1 else int(self.budget)
        return max(0, int(np.isfinite(mean).sum()) - may_stay)

    def _n_by_mass(self, steps: CachedSteps, order: IntArray) -> int:
        """Count the steps that go in this order, so that their importance is at most what the budget leaves."""
        mass = np.bincount(steps.of_slot, weights=steps.score)
        total = steps.score[steps.may_go].sum()
        return int(np.searchsorted(np.cumsum(mass[order]), (1 - self.budget) * total * (1 + ROUNDING), side="right"))

    def _places(self, moment: Moment, may_go: Tensor) -> Tensor:
        """(layers, kv_heads, k) order in which the slots of every head go, by the weights in its layer or of its own."""
        n_layers, n_heads, k = moment.index.shape
        weights = attention_of(moment, "all").view(n_layers, n_heads, -1, k).mean(dim=2).cpu().double()
        if self.scope == "per_layer":
            weights = weights.mean(dim=1, keepdim=True).expand(-1, n_heads, -1)
        index, free = moment.index.cpu(), may_go.cpu()
        places = np.stack(
            [
                cached_steps(moment, index[head], weights[head].numpy(), free[head]).place()
                for head in np.ndindex(n_layers, n_heads)
            ]
        )
        return torch.from_numpy(places).float().view(n_layers, n_heads, k).to(may_go.device)
