"""Steps that the chain brings with it."""

from dataclasses import dataclass

from reasoning_anatomy.errors import MeasurementError
from reasoning_anatomy.steps._cut import cut_at
from reasoning_anatomy.types import IntArray, ReasoningChain


@dataclass(frozen=True, kw_only=True)
class Given:
    """A step begins where the chain says so, at each character of its ``step_starts``.

    What stands before the first of them is a step, too. A chain without ``step_starts`` has no steps.
    """

    def segment(self, chain: ReasoningChain, spans: IntArray) -> IntArray:
        """Find the step of every token; see `Segmenter.segment`.

        Raises
        ------
        MeasurementError
            The chain does not say where its steps begin.
        """
        if chain.step_starts is None:
            raise MeasurementError(
                chain.chain_id, "has no 'step_starts'; list the characters where its steps begin, or name another segmenter"
            )
        return cut_at((start for start in chain.step_starts if start > 0), chain.reasoning, spans)
