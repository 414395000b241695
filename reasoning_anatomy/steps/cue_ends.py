"""Steps that end with the words that models of long reasoning turn with."""

import re
from collections.abc import Container
from dataclasses import dataclass
from typing import Final, Literal

from reasoning_anatomy.steps._cut import cut_at, leading_space
from reasoning_anatomy.types import IntArray, ReasoningChain

_CUES: Final = (
    "Wait", "Alternatively", "Therefore", "So", "Thus", "However", "But", "Let", "First", "Next", "Finally", "Now", "We",
    "Recall", "Notice", "Check",
)  # fmt: skip
_WORDS: Final = re.compile(rf"(?<!\w)(?:{'|'.join(_CUES)})(?!\w)")


@dataclass(frozen=True, kw_only=True)
class CueEnds:
    """A step ends behind the token in which one of 16 words begins, or behind a line break (the chunks of ClearThink).

    The released code compares tokens with the first tokens of the words; here the whole word must stand there.

    Attributes
    ----------
    breaks
        ``"single"``: a token that is one line break and nothing else ends a step, as released, so that the token of an empty
        line does not. ``"any"``: every token with a line break does.
    version
        Of the rule.

    References
    ----------
    github.com/manoj060603/Pruning_Strategy_Reasoning_Models, commit 62388b1.
    """

    breaks: Literal["single", "any"] = "single"
    version: Literal[1] = 1

    def segment(self, chain: ReasoningChain, spans: IntArray) -> IntArray:
        """Find the step of every token; see `Segmenter.segment`."""
        text = chain.reasoning
        cues = {found.start() for found in _WORDS.finditer(text)}
        starts, begin, visible_end = [], 0, len(text.rstrip())
        for start, end in spans.tolist():
            if end < visible_end and text[begin:end].strip() and self._is_end(text[start:end], start, cues):
                starts.append(end)
                begin = end
        return cut_at(starts, text, spans)

    def _is_end(self, token: str, start: int, cues: Container[int]) -> bool:
        """Tell whether a token that begins at ``start`` ends a step."""
        is_break = token == "\n" if self.breaks == "single" else "\n" in token
        return is_break or start + leading_space(token) in cues
