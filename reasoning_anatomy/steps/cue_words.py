"""Steps that begin with the words that models of long reasoning turn with."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from reasoning_anatomy.steps._cut import cut_at, leading_space
from reasoning_anatomy.types import IntArray, ReasoningChain

CUE_WORDS: Final = (
    "Wait", "Alternatively", "Another angle", "Another approach", "But wait", "Hold on", "Hmm", "Maybe",
    "Looking back", "Okay", "Let me", "First", "Then", "Alright", "Compute", "Correct", "Good", "Got it",
    "I don't see any errors", "I think", "Let me double-check", "Let's see", "Now", "Remember", "Seems solid",
    "Similarly", "So", "Starting", "That's correct", "That seems right", "Therefore", "Thus",
)  # fmt: skip
"""The published 32, as in github.com/joykirat18/verl, ``redundant_token_eviction.py`` at 24b96a4."""


def _any_of(cues: Iterable[str]) -> str:
    return "|".join(re.escape(cue) for cue in sorted(cues, key=len, reverse=True))


_SURFACE: Final = re.compile(_any_of(cue for cue in CUE_WORDS if " " not in cue))
_WORDS: Final = re.compile(rf"(?<!\w)(?<!\w-)(?:{_any_of(CUE_WORDS)})(?!-?\w)".replace(r"\ ", r"\s+").replace("'", "['’]"))  # noqa: RUF001


@dataclass(frozen=True, kw_only=True)
class CueWords:
    """A step begins with one of 32 published words: Wait, Alternatively, Hmm, So, Therefore, ...

    They are those of Think Clearly, in the list of TRAAC's code, in English and with their capital letters.

    The published code looks for them in the tokens as the tokenizer writes them, in which a space is a marker character
    (``ĠWait``). ``match=surface`` does the same, with what follows from it: a word in the middle of another begins a step
    (``So`` in ``Some``); the cues of several words never do; and a token that begins with a space before its cue (`` Wait``)
    stays in the step before, so that the step begins with the next token.
    It is worked out from the text and the spans, which do not show everything: tags and the closing instruction, which the
    published code cuts too, are no part of the reasoning; a marker that a tokenizer puts before the whole text is not seen;
    nor is a letter that its normaliser changes.

    Attributes
    ----------
    match
        ``"words"``: whole words in the text; an apostrophe may be typographic, and any white space may stand between the words
        of a cue. ``"surface"``: as published.
    version
        Of the rule.

    References
    ----------
    Choi et al., Think Clearly, arXiv:2507.08806; Singh et al., TRAAC, arXiv:2510.01581.
    """

    match: Literal["words", "surface"] = "words"
    version: Literal[1] = 1

    def segment(self, chain: ReasoningChain, spans: IntArray) -> IntArray:
        """Find the step of every token; see `Segmenter.segment`."""
        if self.match == "words":
            return cut_at(_starts_of_words(chain.reasoning), chain.reasoning, spans)
        starts = np.fromiter((found.start() for found in _SURFACE.finditer(chain.reasoning)), dtype=np.int64)
        return np.searchsorted(starts, spans[:, 0], side="right").astype(np.int64)


def _starts_of_words(text: str) -> Iterator[int]:
    """Where steps begin, except the first."""
    begin = leading_space(text)
    return (found.start() for found in _WORDS.finditer(text) if found.start() > begin)
