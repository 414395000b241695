"""The vocabulary in ``lexicon/``: which category a form has as which part of speech."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from reasoning_anatomy.categories import (
    CATEGORIES,
    COREFERENCE,
    ENTITY_NAME,
    FUNCTION,
    META_DISCOURSE,
    SYMBOLIC_MATH,
    VERBAL_MATH,
)

LETTERS: Final = {
    "S": SYMBOLIC_MATH,
    "V": VERBAL_MATH,
    "C": COREFERENCE,
    "M": META_DISCOURSE,
    "E": ENTITY_NAME,
    "F": FUNCTION,
}
_FILES: Final = {
    "verbal_math": VERBAL_MATH,
    "coreference": COREFERENCE,
    "meta_discourse": META_DISCOURSE,
    "entity_name": ENTITY_NAME,
    "function": FUNCTION,
}
ANY, NOUN, VERB, OTHER = "any", "noun", "verb", "other"

Entries = Mapping[str, Mapping[str, str]]
Phrases = Mapping[str, list[tuple[tuple[str, ...], tuple[str, ...]]]]


@cache
def entries() -> Entries:
    """Return the forms: form -> part of speech (``any``, ``noun``, ``verb``) -> category."""
    by_form: dict[str, dict[str, str]] = {}
    for stem, category in _FILES.items():
        for group in _read(stem).values():
            for part, form in _forms(group):
                parts = by_form.setdefault(form, {})
                parts[part] = min(parts.get(part, category), category, key=CATEGORIES.index)
    return by_form


@cache
def phrases() -> Phrases:
    """Return the fixed expressions by first word, the longest first: their words and the category of each."""
    by_first_word: dict[str, list[tuple[tuple[str, ...], tuple[str, ...]]]] = {}
    for group in _read("phrases").values():
        for phrase, letters in group.items():
            words = tuple(phrase.split())
            by_first_word.setdefault(words[0], []).append((words, tuple(LETTERS[letter] for letter in letters.split())))
    for listed in by_first_word.values():
        listed.sort(key=lambda entry: -len(entry[0]))
    return by_first_word


@cache
def word_list(name: str) -> frozenset[str]:
    """Return one of the short lists of ``word_lists.toml``."""
    return frozenset(_read("word_lists")[name]["words"].split())


def category_of(form: str, part: str = OTHER) -> str | None:
    """Category of a lower-case form used as this part of speech; None if no lexicon has it.

    >>> category_of("rounds", NOUN), category_of("rounds", VERB), category_of("tulip")
    ('ENTITY_NAME', 'VERBAL_MATH', None)
    """
    parts = entries().get(form)
    if parts is None:
        return None
    if part in parts:
        return parts[part]
    if ANY in parts:
        return parts[ANY]
    return min(parts.values(), key=CATEGORIES.index)


def knows(form: str, category: str) -> bool:
    """Whether the lexicon of this category has the form, as any part of speech."""
    return category in entries().get(form, {}).values()


@cache
def _read(stem: str) -> dict[str, Any]:
    return tomllib.loads((files("annotations") / "lexicon" / f"{stem}.toml").read_text(encoding="utf-8"))


def _forms(group: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for form in group.get("words", "").split():
        yield ANY, form
    for form in group.get("verb_forms", "").split():
        yield VERB, form
    for noun in group.get("nouns", "").split():
        yield NOUN, noun
        yield NOUN, _with_s(noun)
    for verb in group.get("verbs", "").split():
        for form in inflections(verb):
            yield VERB, form


def inflections(verb: str) -> list[str]:
    """Regular forms of a verb.

    >>> inflections("divide"), inflections("carry")
    (['divide', 'divides', 'divided', 'dividing'], ['carry', 'carries', 'carried', 'carrying'])
    """
    if verb.endswith("e"):
        return [verb, _with_s(verb), verb + "d", (verb[:-1] if not verb.endswith("ee") else verb) + "ing"]
    if re.search(r"[^aeiou]y$", verb):
        return [verb, _with_s(verb), verb[:-1] + "ied", verb + "ing"]
    return [verb, _with_s(verb), verb + "ed", verb + "ing"]


def _with_s(word: str) -> str:
    if re.search(r"[^aeiou]y$", word):
        return word[:-1] + "ies"
    return word + ("es" if re.search(r"(s|x|z|ch|sh)$", word) else "s")
