"""Whether prose is English, from its letters and its commonest words: no model, no network."""

import re
import unicodedata
from collections.abc import Collection
from functools import cache
from typing import Final

ENGLISH_WORDS: Final = frozenset(
    ["the", "of", "and", "to", "is", "that", "it", "for", "are", "with", "this", "from", "then", "have", "not", "which", "can",
     "there", "we", "he", "she", "they", "if", "be", "by", "at", "what", "how", "each", "his", "her", "their", "would",
     "let", "let's", "need", "now", "but", "when", "where", "because", "than", "these", "all", "get", "means",
     "you", "your", "its", "it's", "that's", "were", "does", "must", "should", "into", "only", "out"]
)  # fmt: skip
"""Words that are common in English solutions and rare in other languages."""

LEAST_ENGLISH: Final = 0.18
"""Prose in Latin letters with a smaller share of `ENGLISH_WORDS` is of another language."""
MOST_OF_OTHER_SCRIPTS: Final = 0.3
"""Prose with a larger share of letters that are not Latin is of another language."""
LEAST_WORDS: Final = 20
"""Fewer words in Latin letters are too few to tell."""

_NOT_PROSE: Final = re.compile(
    r"```.*?(?:```|\Z)|\$\$.{0,999}?\$\$|\$[^$\n]{0,999}\$|\\\(.{0,999}?\\\)|\\\[.{0,999}?\\\]|\\[A-Za-z]+|\b\w*[\d_]\w*",
    re.DOTALL,
)
"""No formula is longer: the search stays linear in the text, whatever is left open."""
_FUNCTIONS: Final = frozenset(["sin", "cos", "tan", "log", "exp", "mod", "lim", "max", "min", "gcd", "lcm", "sqrt"])
_WORD: Final = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")


def is_english(text: str) -> bool:
    r"""Whether the prose of a text is English; a text with too little of it to tell, such as formulas, counts as English.

    Formulas between ``$`` or ``\(``, LaTeX commands, fenced code, names with digits in them, functions such as ``cos``, and one
    or two Latin or Greek letters that could be variables are not prose. What is left is English if at most 30 % of its letters
    are of a script other than Latin, and if, of 20 or more words in Latin letters, 18 % or more are of `ENGLISH_WORDS`.

    Examples
    --------
    >>> is_english("So each of them has 3 pens, and we need 12."), is_english("每排四个罐子")
    (True, False)
    """
    words = [word.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'") for word in _WORD.findall(_NOT_PROSE.sub(" ", text))]
    others = [word for word in words if in_another_script(word)]
    english = [word for word in words if word in ENGLISH_WORDS]
    apart = {*english, *others, *_FUNCTIONS}
    latin = english + [word for word in words if len(word) > 2 and word not in apart]
    n_latin, n_others = sum(map(len, latin)), sum(map(len, others))
    if n_others > MOST_OF_OTHER_SCRIPTS * (n_latin + n_others):
        return False
    return len(latin) < LEAST_WORDS or len(english) >= LEAST_ENGLISH * len(latin)


def language_caveat(reasonings: Collection[str]) -> str | None:
    """Say how many chains are not English, for which the categories are not made; None if all are."""
    n_foreign = sum(not is_english(reasoning) for reasoning in reasonings)
    if not n_foreign:
        return None
    share = f"{100 * n_foreign / len(reasonings):.0f}\N{NO-BREAK SPACE}%"
    return (
        f"{n_foreign} of {len(reasonings)} chains ({share}) are not in English; the categories are made for English, so labels "
        "of words in these chains are not reliable, nor are results by category that rest on them"
    )


def in_another_script(text: str) -> bool:
    """Whether a text has a letter that is neither Latin nor one of mathematics (Greek, and letters of special shapes)."""
    return any(_is_of_another_script(character) for character in text if character > "\x7f")


@cache
def _is_of_another_script(character: str) -> bool:
    known = ("LATIN", "GREEK", "MATHEMATICAL", "DOUBLE-STRUCK", "SCRIPT", "BLACK-LETTER", "MODIFIER", "FEMININE", "MASCULINE")
    normal = unicodedata.normalize("NFKC", character)
    return any(one.isalpha() and not unicodedata.name(one, "").startswith(known) for one in normal)
