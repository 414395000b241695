"""What a run lacks is measured and written; the model in hand is checked before."""

from typing import TYPE_CHECKING

from reasoning_anatomy.lazy import lazy_names

if TYPE_CHECKING:
    from reasoning_anatomy.pipeline.measuring import measure

__all__ = ["measure"]

__getattr__ = lazy_names(__name__, {"measuring": ["measure"]})
