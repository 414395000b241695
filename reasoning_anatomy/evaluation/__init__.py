"""Sweeps: prune at thresholds, let the model answer again from what is left, and compare."""

from typing import TYPE_CHECKING

from reasoning_anatomy.lazy import lazy_names

if TYPE_CHECKING:
    from reasoning_anatomy.evaluation.answering import Answering
    from reasoning_anatomy.evaluation.sweeping import SweepPlan, sweep

__all__ = ["Answering", "SweepPlan", "sweep"]

__getattr__ = lazy_names(__name__, {"answering": ["Answering"], "sweeping": ["SweepPlan", "sweep"]})
