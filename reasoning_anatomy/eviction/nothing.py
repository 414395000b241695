"""No eviction: what others are compared with."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from reasoning_anatomy.eviction import Eviction, Moment, Positions, Writing


@dataclass(frozen=True, kw_only=True)
class Nothing:
    """Evict nothing, but record how the cache grows.

    Attributes
    ----------
    steps
        Key and options of the segmenter that cuts steps as they are written.
    """

    also_called: ClassVar[tuple[str, ...]] = ("none",)

    steps: str = "cue_words"

    @property
    def positions(self) -> Positions:
        """What becomes of the positions of the keys that stay."""
        return "keep"

    @property
    def per_head(self) -> bool:
        """Whether heads or layers hold different tokens."""
        return False

    def at(self, threshold: float) -> "Nothing":
        """Make the same policy, whatever the threshold."""
        return self

    def is_due(self, writing: Writing) -> bool:
        """Never."""
        return False

    def evict(self, moment: Moment) -> Eviction:
        """Choose nothing; see `EvictionPolicy.evict`."""
        return Eviction(torch.zeros_like(moment.index, dtype=torch.bool))
