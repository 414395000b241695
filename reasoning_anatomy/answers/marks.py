# ruff: noqa: RUF001 - look-alike marks are the subject of this file
r"""Where a text marks its answer: boxes, answer tags, and stems such as "the answer is"."""

import re
from typing import Final, NamedTuple

HASHES: Final = "####"
"""What GSM8K puts before the final answer."""
ANSWER_IS: Final = "The answer is"
FINAL_ANSWER_IS: Final = "The final answer is"

_LONGEST: Final = 1000  # characters of a declared answer that are looked at

_BRACES: Final = re.compile(r"\\(?:boxed|fbox|framebox)(?![A-Za-z])\s*(?:(?P<open>\{)|(?P<bare>\w+))?|\\.|[{}]", re.DOTALL)
_TAG: Final = re.compile(r"<answer>((?:(?!</?answer>).)*)</answer>", re.DOTALL | re.IGNORECASE)
_CLOSERS: Final = r"[*_`\"')\]}]*"
_COPULA: Final = (
    r"(?:is|are|equals|(?:would|will|must|should)\s+be)(?![A-Za-z])(?!\s*not\b)"
    r"(?:\s+(?:therefore|thus|then|simply|just|indeed)\b)?"
)
_STEM: Final = re.compile(
    rf"""
    (?<!\#)\#{{4}}(?!\#)
  | (?<![A-Za-z])(?<!not\ )(?<!to\ )(?:(?:correct|right|best|final)\s+(?:answer|option|choice|result)|answer){_CLOSERS}
    (?: \s*(?:{_COPULA}|[:：=]) | \s+(?:to|of|for|in)\s[^.:\n]{{1,80}}?\s{_COPULA} ){_CLOSERS}
  | ^[ \t\#*_>✅]*(?:final\s+)?answer[ \t*_]*$
    """,
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
"""From the noun to what the answer follows. A heading of its own is one too."""

_DOUBT: Final = re.compile(
    r"\b(?:whether|if|unless|suppos\w+|assum\w+|why)\s+(?:(?:the|my|your|our|this)\s+)?\Z", re.IGNORECASE
)
_SENTENCE_END: Final = re.compile(r"[.!?](?=[\s*_\"')\]]|\Z)|[。！？]|\n")
_DISPLAY: Final = re.compile(
    r"\\\[(?P<bracket>.*?)\\\]|\$\$(?P<dollars>.*?)\$\$|\\begin\{(?P<name>\w+\*?)\}.*?\\end\{(?P=name)\}", re.DOTALL
)
_REMARK: Final = re.compile(
    r"\b(?:because|since|hence|thus|therefore|where|so\s+that|as\s+(?:we|the|it|this|shown|required)|i\.e\.|that\s+is)\b",
    re.IGNORECASE,
)
_ABOUT_ANSWERS: Final = re.compile(
    r"(?:indeed\s+)?(?:(?:in)?correct|consistent|right|wrong|reasonable|verified|unique|clear|confirmed|as\s+follows|below|"
    r"the\s+following|(?:an?|the)\s+(?:integer|number|expression|value)|(?:given\s+by|in|not)\b.*)",
    re.IGNORECASE | re.DOTALL,
)


class Statement(NamedTuple):
    """An answer as it is stated.

    Attributes
    ----------
    text
        The answer as it stands there, without what marks it.
    rule
        What marks it.
    start
        Where the mark begins.
    """

    text: str
    rule: str
    start: int


class Box(NamedTuple):
    """What a box holds, None if no brace closes it; and the half-open characters of the whole."""

    inside: str | None
    start: int
    end: int


def boxes(text: str) -> list[Box]:
    r"""Find every ``\boxed{…}`` and ``\fbox{…}``, from left to right, an outer one before the one inside it.

    Escaped braces are characters. The text is read once, whatever is open in it.

    >>> [box.inside for box in boxes(r"\boxed{\frac{1}{2}} \fbox{\{1\}} \boxed{4")]
    ['\\frac{1}{2}', '\\{1\\}', None]
    """
    found: list[Box] = []
    opened: list[tuple[int, int] | None] = []
    for match in _BRACES.finditer(text):
        if match["open"]:
            opened.append(match.span())
        elif match["bare"]:
            found.append(Box(match["bare"], *match.span()))
        elif match[0] == "{":
            opened.append(None)
        elif match[0] == "}" and opened and (box := opened.pop()):
            found.append(Box(text[box[1] : match.start()], box[0], match.end()))
    found += [Box(None, box[0], len(text)) for box in opened if box]
    return sorted(found, key=lambda box: box.start)


def tagged(text: str) -> Statement | None:
    """Return what the last ``<answer>…</answer>`` holds; None if there is none, or nothing in it."""
    matches = [match for match in _TAG.finditer(text) if match[1].strip()]
    return Statement(matches[-1][1].strip(), "answer tag", matches[-1].start()) if matches else None


def declared(text: str) -> Statement | None:
    """Find the last answer that is declared in words, by four hashes or by a heading.

    Questions, conditions, and what is only said about an answer (*the answer is consistent*) declare none.

    >>> declared("Is the answer 4? The answer is **5**, because 2 + 3 = 5.")
    Statement(text='5', rule='declared', start=21)
    """
    for match in reversed(list(_STEM.finditer(text))):
        if _DOUBT.search(text[max(0, match.start() - 30) : match.start()]):
            continue
        stated = _rest(text[match.end() : match.end() + _LONGEST])
        if stated and not _ABOUT_ANSWERS.fullmatch(stated):
            return Statement(stated, "declared", match.start())
    return None


def cut_once(text: str, stem: str) -> tuple[str, str] | None:
    """Return what stands before and behind a stem that a text holds exactly once; None if it does not."""
    before, _, behind = text.partition(stem)
    return (before, behind) if text.count(stem) == 1 else None


def behind_hashes(solution: str) -> str:
    """Return what stands behind the last four hashes, or all of it if there are none."""
    return solution.rpartition(HASHES)[2].strip()


def stem_before(text: str, position: int) -> int | None:
    r"""Return where the stem begins that a box at a position completes, as in ``The answer is: \[ \boxed{5} \]``."""
    last = max(_STEM.finditer(text, 0, position), key=re.Match.start, default=None)
    return last.start() if last and not text[last.end() : position].strip(" \t\r\n:*$[(\\") else None


def sentence_start(text: str, position: int) -> int:
    """Return where the sentence or line of a position begins."""
    begin = max((match.end() for match in _SENTENCE_END.finditer(text, 0, position)), default=0)
    while begin < position and text[begin].isspace():
        begin += 1
    return begin


def _rest(text: str) -> str:
    """Answer behind a stem: a displayed formula, or the sentence up to a remark; empty if it is a question."""
    text = text.lstrip(" \t\r\n:=*_>\"'`")
    if display := _DISPLAY.match(text):
        return (display["bracket"] or display["dollars"] or display[0]).strip()
    stop = _SENTENCE_END.search(text)
    if stop and stop[0] in "?？":
        return ""
    stated = text[: stop.start()] if stop else text
    if (remark := _REMARK.search(stated)) and remark.start():
        stated = stated[: remark.start()].rstrip(" (,;")
    return stated.strip(" \t\r*_`\"',;")
