"""Which tokens of a chain are kept, in words."""

from dataclasses import dataclass

import numpy as np

from reasoning_anatomy.specs import Restatements
from reasoning_anatomy.types import IntArray


@dataclass(frozen=True, order=True)
class Selection:
    """What is kept of every chain: by a strategy, at a threshold.

    Attributes
    ----------
    strategy
        Label of the strategy.
    threshold
        What it is told, 0..1; at 0 everything is kept.
    reference
        Label of the strategy that keeps as many tokens at this threshold, if this one is its baseline; empty if the threshold
        is its own.
    restatements
        ``"kept"``, or ``"stripped"`` of what states the answer already.
    """

    strategy: str
    threshold: float
    reference: str = ""
    restatements: Restatements = "kept"

    @property
    def label(self) -> str:
        """By which files and the record of the run know it."""
        matched = f" as {self.reference}" if self.reference else ""
        stripped = " without restatements" if self.restatements == "stripped" else ""
        return f"{self.strategy} at {self.threshold!r}{matched}{stripped}"


@dataclass(frozen=True, eq=False)
class Kept:
    """What is kept of one chain.

    Attributes
    ----------
    positions
        (k,) ascending.
    n_reasoning
        Number of reasoning tokens of the whole chain.
    """

    positions: IntArray
    n_reasoning: int

    @property
    def is_everything(self) -> bool:
        """Whether nothing is deleted."""
        return len(self.positions) == self.n_reasoning

    @property
    def deleted(self) -> IntArray:
        """(n - k,) the other positions, ascending."""
        return np.setdiff1d(np.arange(self.n_reasoning), self.positions)
