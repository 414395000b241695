# ruff: noqa: RUF001 - full stops of many scripts are the subject of this file
"""Steps that end with a sentence or a line."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from reasoning_anatomy.steps._cut import cut_at
from reasoning_anatomy.types import IntArray, ReasoningChain

_WIDE: Final = "。！？｡．।॥؟۔።"
"""Stops of scripts that need no white space after them."""

_CANDIDATE: Final = re.compile(
    rf"""
    \n\s*
  | (?<!\\)(?P<stop> [.?!…{_WIDE}]++ )
    (?P<close> (?: ["'”’»)\]}}」』）】》〉] | (?<=[^{_WIDE}]) [*_$\\] )*+ )
    (?P<space> [ \t\xa0\u3000]*+ )
    (?=\S)
    """,
    re.VERBOSE,
)

_GOES_ON: Final = re.compile(r"[=+×÷·≤≥≈,;:，、；：](?!>)")
"""After a stop: ``5! = 120``, ``1 + ... + 10``."""
_FACTORIAL: Final = re.compile(r"\d$|\)$|\b[A-Za-z]$")
_FACTORIAL_GOES_ON: Final = re.compile(r"[-−*/^<>](?![*>-])")
_QUOTE_GOES_ON: Final = re.compile(r"[a-z]|と|って")
"""After a stop and a closing quote or bracket: ``"Why?" she asks``."""

_LABEL: Final = re.compile(
    r"[\s*#>(\[•-]*(?:(?:Step|Case|Part|Option|Method|Approach|Way)\s+)?(?:\d+(?:\.\d+)*|[A-Z])[*_]*", re.ASCII
)
"""All of a step before its stop, if it only numbers or names what follows: ``1``, ``**2**``, ``Step 3``, ``J``."""
_SECOND_INITIAL: Final = re.compile(r"(?:\b[A-Z]|\b(?:Dr|Mrs?|Ms|Prof))\.[ \xa0]?[A-Z]$")
_FIRST_INITIAL: Final = re.compile(r"\b[A-Z]$")
_INITIAL_FOLLOWS: Final = re.compile(r"[A-Z]\.")

_LAST_WORD: Final = re.compile(r"(?<!\w)[^\W\d_]+(?:\.[^\W\d_]+)*$")
_GOES_ON_ALWAYS: Final = re.compile(
    r"Dr|Mrs?|Ms|Prof|St|Sra?|[Ee]\.?g|[Ii]\.?e|[Cc]f|[Vv]s|[Vv]iz|[Cc]a|w\.r\.t|s\.t|[Zz]\.B|[Dd]\.h|[Bb]zw|[Gg]gf"
)
_GOES_ON_BEFORE_NUMBERS: Final = re.compile(
    r"nos?|nr|pp?|ch|vol|ex|art|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec", re.IGNORECASE
)
_ENDS_BEFORE_CAPITALS: Final = re.compile(
    r"figs?|eqs?|thm|lem|prop|cor|secs?|etc|approx|resp|al|inc|ltd|co|corp|jr|hrs?|mins?|ft|lbs?|oz|yd|avg|est|max|dept|ave|"
    r"esp|incl|excl|.*\..*",
    re.IGNORECASE,
)
"""Abbreviations without their last stop; those with a stop inside (``a.m.``) are of the last kind, unless they are listed."""


@dataclass(frozen=True, kw_only=True)
class Sentences:
    """A step ends at a line break or at the end of a sentence.

    A sentence ends with ``.``, ``?``, ``!`` or ``…`` before white space, and with the full stops of Chinese, Japanese, Hindi,
    Arabic, Urdu and Amharic also without it. Quotes and brackets that close after the stop belong to the sentence. These do
    not end one:

    - the number of an item or step (``1. Multiply``, ``Step 2. Add``), and a decimal point;
    - abbreviations: ``e.g.``, ``Dr.``, ``Fig.``, ``vs.``; ``No.``, ``p.`` and months before a number; ``etc.``, ``approx.``,
      ``a.m.`` and units, unless a capital follows;
    - initials at the beginning of a step or in a row (``J. R. Smith``). A single letter elsewhere names a point or a choice
      and may end a sentence (``The answer is B. So``);
    - a factorial or an ellipsis in a formula (``5! = 120``, ``1 + ... + 10``), and a closed quote or bracket before a
      lower-case letter (``"Why?" she asks``).

    White space belongs to the step before it.

    Attributes
    ----------
    version
        Of the rule.
    """

    version: Literal[1] = 1

    def segment(self, chain: ReasoningChain, spans: IntArray) -> IntArray:
        """Find the step of every token; see `Segmenter.segment`."""
        return step_of_token(chain.reasoning, spans)


def step_of_token(reasoning: str, spans: IntArray) -> IntArray:
    """Find the step of every token by `Sentences`, from the text alone: (n, 2) spans -> (n,) steps."""
    return cut_at(_starts(reasoning), reasoning, spans)


def _starts(text: str) -> Iterator[int]:
    """Where steps begin, except the first."""
    begin = 0
    for candidate in _CANDIDATE.finditer(text):
        if candidate.end() < len(text) and _ends_step(text, begin, candidate):
            begin = candidate.end()
            yield begin


def _ends_step(text: str, begin: int, candidate: re.Match[str]) -> bool:
    stop, after = candidate["stop"], candidate.end()
    if stop is None:  # a line break
        return True
    head = text[begin : candidate.start()]
    if not candidate["space"] and (not set(stop) & set(_WIDE) or _is_decimal_point(stop, head, text[after])):
        return False
    if _GOES_ON.match(text, after) or (candidate["close"] and _QUOTE_GOES_ON.match(text, after)):
        return False
    if stop in (".", "．"):
        return not (_LABEL.fullmatch(head) or _is_abbreviated(head[-40:], text[after : after + 3]))
    if stop in ("...", "…"):
        return not head.rstrip().endswith((",", "+", "*", "×", "·"))
    return not (stop == "!" and _FACTORIAL.search(head[-2:]) and _FACTORIAL_GOES_ON.match(text, after))


def _is_abbreviated(head: str, following: str) -> bool:
    """Whether the text before a single stop ends with a word or an initial that the stop abbreviates."""
    if _SECOND_INITIAL.search(head) or (_FIRST_INITIAL.search(head) and _INITIAL_FOLLOWS.match(following)):
        return True
    found = _LAST_WORD.search(head)
    if found is None:
        return False
    word = found[0]
    if _GOES_ON_ALWAYS.fullmatch(word):
        return True
    if _GOES_ON_BEFORE_NUMBERS.fullmatch(word):
        return following[:1].isdecimal()
    return _ENDS_BEFORE_CAPITALS.fullmatch(word) is not None and not following[:1].isupper()


def _is_decimal_point(stop: str, head: str, following: str) -> bool:
    return stop == "．" and head[-1:].isdecimal() and following.isdecimal()
