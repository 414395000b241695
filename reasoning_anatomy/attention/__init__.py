"""Attention received by every token, recorded while the model runs, without the T x T matrix."""

from typing import TYPE_CHECKING

from reasoning_anatomy.lazy import lazy_names

if TYPE_CHECKING:
    from reasoning_anatomy.attention.observation import Observation
    from reasoning_anatomy.attention.recording import record

__all__ = ["Observation", "record"]

__getattr__ = lazy_names(__name__, {"observation": ["Observation"], "recording": ["record"]})
