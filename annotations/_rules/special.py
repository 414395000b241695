"""Words that only their sentence can decide, each with a rule of its own, and words that go with another word."""

from typing import Final

from annotations._rules import argument, calculation, grammar
from annotations._rules.words import Sentence, by_word, category_of_word
from annotations._text import lexicon
from reasoning_anatomy.categories import ENTITY_NAME, FUNCTION, META_DISCOURSE, SYMBOLIC_MATH, VERBAL_MATH


def category_of_special(sentence: Sentence, index: int) -> str | None:
    """Category of a word that has a rule of its own; None for any other word."""
    rule = _RULES.get(sentence.word(index))
    return rule(sentence, index) if rule else None


def _non(sentence: Sentence, index: int) -> str:
    return VERBAL_MATH if _prefix(sentence, index) == VERBAL_MATH else FUNCTION


def _off(sentence: Sentence, index: int) -> str | None:
    is_state = sentence.word(index - 1) in {"is", "was", "are", "were", "'s"}
    return ENTITY_NAME if is_state else _way_particle(sentence, index)


def _prefix(sentence: Sentence, index: int) -> str | None:
    """``re-read`` and ``double-check``: the first half takes the category of the second."""
    if sentence.word(index + 1) == "-" and sentence.layout.joined(index + 2) and sentence.symbols[index + 2] is None:
        return category_of_special(sentence, index + 2) or category_of_word(sentence, index + 2)
    return None


def _joined_preposition(sentence: Sentence, index: int) -> str | None:
    """``after-work activities``: the preposition takes the category of the word that it is joined to."""
    if sentence.word(index + 1) != "-" or sentence.word(index - 1) == "-":
        return None
    return _prefix(sentence, index) if sentence.layout.joined(index + 1) else None


def _way_particle(sentence: Sentence, index: int) -> str | None:
    if sentence.word(index - 1) == "way":
        return ENTITY_NAME
    if sentence.word(index) == "back" and sentence.word(index + 1) in {"in", "into"} and _substitutes(sentence, index):
        return VERBAL_MATH
    features = sentence.parsed[index]
    if features.head < 0 or sentence.symbols[features.head] is not None:
        return None
    of_verb = features.tag == "RB" and sentence.part(features.head) == lexicon.VERB
    between = range(min(features.head, index) + 1, index)
    is_near = sentence.word(index) in {"back", "away"} or all(sentence.symbols[at] == SYMBOLIC_MATH for at in between)
    is_particle = features.tag == "RP" or features.dep == "prt" or (of_verb and is_near)
    return _of_head(sentence, features.head) if is_particle else None


def _substitutes(sentence: Sentence, index: int) -> bool:
    """Whether the sentence puts a value into a formula before this word."""
    for before in range(index - 1, max(index - 20, -1), -1):
        if sentence.word(before) in {".", ";", "?", "!"}:
            return False
        if sentence.word(before).startswith(("plug", "substitut")):
            return True
    return False


def _read(sentence: Sentence, index: int) -> str | None:
    """Give ``re-read`` to the solver."""
    return META_DISCOURSE if sentence.word(index - 1) == "-" and sentence.word(index - 2) == "re" else None


def _of_head(sentence: Sentence, head: int) -> str:
    if sentence.word(head).startswith("work"):
        return category_of_special(sentence, head) or category_of_word(sentence, head)
    return category_of_word(sentence, head)


_RULES: Final = (
    argument.RULES
    | calculation.RULES
    | grammar.RULES
    | by_word(
        {
            _way_particle: "out back up down away",
            _prefix: "semi re double sub pre cross triple",
            _non: "non",
            _read: "read reading",
            _off: "off",
            _joined_preposition: "after before in on under for with between",
        }
    )
)
