"""Where scripts written for version 0.1 import `Observation` from; it lives in `reasoning_anatomy.attention`."""

from reasoning_anatomy.attention.observation import Observation

__all__ = ["Observation"]
