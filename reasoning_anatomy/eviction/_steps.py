"""Scores of steps in a cache, and the steps that go."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from reasoning_anatomy.eviction import Eviction, Moment
from reasoning_anatomy.types import FloatArray, IntArray

Layers = Literal["all", "first_half", "last"]


def attention_of(moment: Moment, layers: Layers) -> Tensor:
    """(layers, heads, k) weights that the probe gives to each slot, of the chosen layers."""
    if moment.attention is None:
        raise ValueError("the moment has no attention of a probe")
    if layers == "last":
        return moment.attention[-1:]
    return moment.attention[: max(1, len(moment.attention) // 2)] if layers == "first_half" else moment.attention


@dataclass(frozen=True, eq=False)
class CachedSteps:
    """The steps of what is in a cache. The prompt is one of them: number 0; those that are written have numbers from 1.

    Attributes
    ----------
    of_slot
        (k,) step of what each slot holds.
    may_go
        (k,) whether a slot is not protected.
    mean
        (steps,) mean score of the slots of each step; NaN for a step without any.
    score
        (k,) of the slots.
    """

    of_slot: IntArray
    may_go: npt.NDArray[np.bool_]
    mean: FloatArray
    score: FloatArray

    @property
    def free(self) -> IntArray:
        """Steps of which a slot may go and none that is in the cache is protected, ascending."""
        return np.setdiff1d(np.unique(self.of_slot[self.may_go]), np.unique(self.of_slot[~self.may_go]))

    def place(self) -> FloatArray:
        """(k,) place of every slot if steps go in ascending order of their mean, and the tokens of a step by their score."""
        place = np.empty(len(self.of_slot))
        place[np.lexsort((self.score, self.of_slot, self.mean[self.of_slot]))] = np.arange(len(place))
        return place

    def whole(self, chosen: IntArray, moment: Moment) -> Eviction:
        """Evict the ``chosen`` steps, as far as they may go."""
        gone = torch.from_numpy(np.isin(self.of_slot, chosen) & self.may_go)
        return Eviction(gone.to(moment.index.device), self.mean[1:])


def cached_steps(moment: Moment, index: Tensor, score: FloatArray, may_go: Tensor) -> CachedSteps:
    """Find the steps of slots that hold the tokens ``index`` (k,), with their scores (k,)."""
    step = moment.writing.cut()
    written = index.cpu().numpy() - moment.writing.n_prompt
    of_slot = np.where(written >= 0, step[np.maximum(written, 0)] + 1, 0)
    n_steps = int(step.max(initial=-1)) + 2
    with np.errstate(invalid="ignore"):
        mean = np.bincount(of_slot, weights=score, minlength=n_steps) / np.bincount(of_slot, minlength=n_steps)
    return CachedSteps(of_slot, may_go.cpu().numpy(), np.asarray(mean), score)
