"""Reasoning to steps: contiguous pieces that partition its tokens."""

from typing import TYPE_CHECKING

from reasoning_anatomy.lazy import lazy_names

if TYPE_CHECKING:
    from reasoning_anatomy.steps._tokens import aggregate, step_of_token

__all__ = ["aggregate", "step_of_token"]

__getattr__ = lazy_names(__name__, {"_tokens": ["aggregate", "step_of_token"]})
