"""Reasoning to steps, contiguous pieces that partition its tokens: one segmenter per file."""

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from reasoning_anatomy.lazy import lazy_names
from reasoning_anatomy.plugins import Plugin

if TYPE_CHECKING:
    from reasoning_anatomy.steps._aggregate import aggregate
    from reasoning_anatomy.steps._restating import restatements_in, restates
    from reasoning_anatomy.steps._uniformity import uniformity
    from reasoning_anatomy.steps.sentences import Sentences, step_of_token
    from reasoning_anatomy.types import IntArray, ReasoningChain

__all__ = ["CutsSteps", "Segmenter", "Sentences", "aggregate", "restatements_in", "restates", "step_of_token", "uniformity"]

__getattr__ = lazy_names(
    __name__,
    {
        "_aggregate": ["aggregate"],
        "_restating": ["restatements_in", "restates"],
        "sentences": ["Sentences", "step_of_token"],
        "_uniformity": ["uniformity"],
    },
)


class Segmenter(Plugin, Protocol):
    """What a plugin of the kind ``segmenter`` is: a frozen dataclass with this method."""

    def segment(self, chain: "ReasoningChain", spans: "IntArray") -> "IntArray":
        """Find the step of every reasoning token.

        Parameters
        ----------
        chain
            The chain; its reasoning is cut.
        spans
            (n, 2) half-open character spans of the reasoning's tokens, which never go backwards.

        Returns
        -------
        (n,) steps, 0-based and never decreasing, so that they partition the tokens. A step without a token has no entry,
        so numbers can be skipped.

        Raises
        ------
        MeasurementError
            The chain cannot be cut, for a reason that lies in it; the tables of a run then have no steps for it.
        """


@runtime_checkable
class CutsSteps(Protocol):
    """A scorer or strategy that cuts steps by a segmenter, which a run then has among its own."""

    @property
    def steps(self) -> str:
        """Spec of the segmenter, such as ``"sentences"``."""
