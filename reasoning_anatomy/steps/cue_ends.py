"""Steps that end with the words that models of long reasoning turn with."""

import re
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from reasoning_anatomy.steps._cut import leading_space
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
        cues = {found.start() for found in _WORDS.finditer(chain.reasoning)}
        texts = [chain.reasoning[start:end] for start, end in spans]
        ends = [
            (text == "\n" if self.breaks == "single" else "\n" in text) or start + leading_space(text) in cues
            for text, start in zip(texts, spans[:, 0].tolist(), strict=True)
        ]
        return np.concatenate([[0], np.cumsum(ends[:-1])]).astype(np.int64)
