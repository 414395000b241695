r"""Whether a normalised answer is a formula, words, or nothing but a value; and the names that formulas give to values."""

import re
from typing import Final

from reasoning_anatomy.answers.normal import normalised, words_of
from reasoning_anatomy.answers.quantities import choice_of, long_integer, quantity

_FUNCTIONS: Final = re.compile(
    r"(?:arc)?(?:sin|cos|tan)h?|cot|sec|csc|log|ln|lg|exp|max|min|gcd|lcm|det|tr|rank|mod|deg|arg|and|or", re.IGNORECASE
)
_SHORT_WORDS: Final = re.compile(r"is|of|an|it|to|no|so|by|we|at|on|if|up|us|my|as|be|do|go|he|me|in|am|ok", re.IGNORECASE)
_COMMAND: Final = re.compile(r"\\[A-Za-z]+(?:\{(?:p|b|v|B|V|small)?(?:matrix|array)\})?|\\.")
_WORD: Final = re.compile(r"[^\W\d_]{2,}")
_NO_ANSWER: Final = re.compile(r"(?:i|sorry|unable|we|let|to|okay|ok|sure|well|hmm|please|this|it|there)\b", re.IGNORECASE)
_NAME: Final = re.compile(r"\\?[A-Za-z]+(?:_(?:\w|\{\w+\}))?'*(?:\s*\([^()=]*\))?")
_MEMBER: Final = re.compile(r"(\\?[A-Za-z](?:_\w)?)\s*\\in(?![A-Za-z])\s*(.*)", re.DOTALL)
_LONGEST_VALUE: Final = 500
_LIST: Final = re.compile(r"[,;]|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])")
_EQUALS: Final = re.compile(r"(?<![<>!\\=:])=(?!=)")


def is_formula(text: str) -> bool:
    r"""Whether a text has no words but the names of functions.

    >>> [is_formula(text) for text in (r"2\sqrt{3} x", "xy + 1", "sin x", "x = 2 or x = 3", "about twice x", "no solution")]
    [True, True, True, True, False, False]
    """
    plain = _COMMAND.sub(" ", text)
    return any(map(str.isalnum, text)) and not any(_is_word(word[0]) for word in _WORD.finditer(plain))


def is_words(text: str) -> bool:
    """Whether a text is words and not a formula.

    >>> [is_words(text) for text in ("no solution", "Route 66", "xy + 1", "5")]
    [True, True, False, False]
    """
    return bool(_WORD.search(_COMMAND.sub(" ", text))) and not is_formula(text)


def is_value(text: str, *, words: bool = True) -> bool:
    """Whether a text is nothing but a value: a number with its unit, a choice, a formula, or, if allowed, up to three words."""
    if len(text) > _LONGEST_VALUE:
        return long_integer(text) is not None
    text = normalised(text)
    if not text:
        return False
    if quantity(text) or choice_of(text) or is_formula(text):
        return True
    return words and 0 < len(words_of(text).split()) <= 3 and not _NO_ANSWER.match(text) and text[-1] not in "?!"


def named(text: str) -> tuple[str, str]:
    r"""Divide ``x = 5`` and ``x \in A`` into name and value, the name empty if there is none. A chain is worth its last side.

    >>> named("x = 5"), named("2 + 3 = 5"), named("2x + 3y = 5"), named(r"x \in (0, 1)")
    (('x', '5'), ('', '5'), ('', '2x + 3y = 5'), ('x', '(0, 1)'))
    """
    if (match := _MEMBER.fullmatch(text)) and not _MEMBER.fullmatch(match[2]):
        return match[1], match[2].strip()
    sides = [side.strip() for side in _EQUALS.split(text)]
    if len(sides) == 1 or not all(sides):
        return "", text
    if _LIST.search(text):
        return (sides[0].replace(" ", ""), sides[1]) if len(sides) == 2 and _NAME.fullmatch(sides[0]) else ("", text)
    if _NAME.fullmatch(sides[0]) or (is_words(sides[0]) and len(sides) == 2):
        return sides[0].replace(" ", ""), sides[-1]
    if len(sides) > 2 or not re.search(r"[A-Za-z]", _COMMAND.sub("", sides[0])):
        return "", sides[-1]
    return "", text


def _is_word(word: str) -> bool:
    return not _FUNCTIONS.fullmatch(word) and (len(word) > 2 or bool(_SHORT_WORDS.fullmatch(word)) or not word.isascii())
