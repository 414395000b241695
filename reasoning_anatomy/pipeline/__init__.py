"""Measures and writes what a run lacks, after checking the model."""

from typing import TYPE_CHECKING

from reasoning_anatomy.lazy import lazy_names

if TYPE_CHECKING:
    from reasoning_anatomy.pipeline.measuring import measure

__all__ = ["measure"]

__getattr__ = lazy_names(__name__, {"measuring": ["measure"]})
