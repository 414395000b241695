# ruff: noqa: RUF001 - look-alike marks are the subject of this file
"""Where a text reflects on what it says: the cues of reflection."""

import re
from typing import Final

from reasoning_anatomy.types import CharacterSpan

_CHECK: Final = r"(?:(?:double|re|cross)[- ]?)?(?:check|verify|calculate|compute|examine|evaluate|consider|think|read|count|do)"
_AGAIN: Final = (
    r"(?:(?:double|cross)[- ]?check|re-?(?:check|verify|calculate|compute|examine|evaluate|consider|think|read|count))"
)
_PAUSE: Final = r"(?=\s*(?:[,.!?…:;—–-]|$)|\s+(?:but|no|that|the|this|is|if|i|let|we|actually|maybe|what|why|a)\b)"
_CUES: Final = (
    # Hesitation: sounds, and "wait" as a call. The verb of a story ("they wait 5 minutes") is not followed like that.
    r"h+m+", r"u+h+m?", r"e+r+m", r"oops", r"whoops", r"oh", rf"wait(?:\s+a\s+(?:minute|second|moment))?{_PAUSE}",
    r"hold\s+on", r"hang\s+on",
    # Another way.
    r"alternatively", r"on\s+second\s+thoughts?", r"(?:another|a\s+different|an\s+alternative)\s+(?:way|approach|method|idea)",
    r"what\s+if",
    # Checking what was done.
    rf"let\s*(?:me|us|['’]s)\s+(?:just\s+|quickly\s+|now\s+)?{_CHECK}(?=\b[^.!?\n]{{0,60}}\bagain\b)",
    rf"let\s*(?:me|us|['’]s)\s+(?:just\s+|quickly\s+|now\s+)?(?:{_AGAIN}|check|verify|make\s+sure|confirm)",
    rf"(?:to|i(?:['’]ll|\s+will|\s+should)|we(?:['’]ll|\s+will|\s+should|\s+can))\s+(?:{_AGAIN}|verify|make\s+sure)",
    r"(?:double|cross)[- ]check(?:ing|ed)?", r"(?:is|was)\s+(?:that|this|it)\s+(?:right|correct)(?=\s*\?)",
    r"does\s+(?:that|this|it)\s+make\s+sense", r"am\s+i\s+(?:sure|missing)",
    # Taking something back, which "she actually paid 5" does not.
    r"(?:(?<=[.!?:;,—–…]\s)|(?<=\b(?:but|now)\s)|(?<=\b(?:so|no)\s)|(?<=\bwait\s)|(?<![^\n]))actually",
    r"scratch\s+that", r"my\s+mistake", r"i\s+(?:made|see\s+(?:my|the|a))\s+(?:a\s+)?(?:mistake|error)",
    r"(?:that|this)(?:['’]s|\s+is|\s+was)\s+(?:not\s+(?:right|correct|possible)|wrong|incorrect)", r"not\s+quite",
)  # fmt: skip
_PATTERN: Final = re.compile(rf"(?<![\w'’-])(?:{'|'.join(_CUES)})(?![\w'’-])", re.IGNORECASE | re.MULTILINE)


def reflection_cues(text: str) -> list[CharacterSpan]:
    """Half-open spans of the words that hesitate, look for another way, check or take back.

    Connectives such as *but* and *so* do not count: most of them only continue.

    >>> text = "They wait 5 minutes. Wait, that's not right. Hmm. Let me check."
    >>> [text[start:end] for start, end in reflection_cues(text)]
    ['Wait', "that's not right", 'Hmm', 'Let me check']

    References
    ----------
    The cues that Wang et al. (2025), NoWait, arXiv 2506.08343 suppress and Qian et al. (2025), arXiv 2506.02867 find to be
    information peaks, without the words that also join clauses.
    """
    return [match.span() for match in _PATTERN.finditer(text)]
