"""Nll of a chain under deletions, by shared prefixes if the model allows it."""

from typing import TYPE_CHECKING

from reasoning_anatomy.lazy import lazy_names

if TYPE_CHECKING:
    from reasoning_anatomy.likelihood.base import ChainLikelihood
    from reasoning_anatomy.likelihood.opening import open_likelihood
    from reasoning_anatomy.likelihood.pieces import open_pieces

__all__ = ["ChainLikelihood", "open_likelihood", "open_pieces"]

__getattr__ = lazy_names(__name__, {"base": ["ChainLikelihood"], "opening": ["open_likelihood"], "pieces": ["open_pieces"]})
