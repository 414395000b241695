"""The words of the question, which show what belongs to the story."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from annotations._text import lexicon
from annotations._text.units import Kind, scan

_INSTRUCTION = re.compile(r"\b(?:your|please|reason(?:ing)? step|step by step|boxed)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Question:
    """Names (capitalised, as written) and all words (in lower case) of a question."""

    names: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()

    def mentions(self, word: str) -> bool:
        """Whether the question has this lower-case word, its plural or its singular."""
        return word in self.words or word.removesuffix("s") in self.words or word + "s" in self.words


@lru_cache(maxsize=256)
def read_question(question: str | None) -> Question:
    """Collect names and words; sentences that instruct the solver (``your``, ``please``) are left out."""
    names: set[str] = set()
    words: set[str] = set()
    for sentence in re.split(r"(?<=[.!?])\s+|\n", question or ""):
        if not _INSTRUCTION.search(sentence):
            units = [unit for unit in scan(sentence) if unit.kind is Kind.WORD and len(unit.text) > 1]
            words |= {unit.lower for unit in units}
            starts = sentence.lstrip("\"'“( ")
            names |= {unit.text for unit in units if unit.text[0].isupper() and _is_name(unit.text, starts.startswith)}
    return Question(frozenset(names), frozenset(words))


def _is_name(word: str, starts_sentence: Callable[[str], bool]) -> bool:
    return not starts_sentence(word) or not lexicon.entries().get(word.lower())
