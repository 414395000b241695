"""What a rule for a single word is."""

from collections.abc import Callable, Mapping

from annotations._rules.words import Sentence
from annotations._text.lexicon import role

Rule = Callable[[Sentence, int], str | None]
"""Category of the word at an index of a sentence, None where the lexicons should decide."""


def by_word(words: Mapping[Rule, str]) -> dict[str, Rule]:
    """Turn rules with the forms that they decide into forms with their rules."""
    return {form: rule for rule, forms in words.items() for form in forms.split()}


def is_pause(word: str) -> bool:
    """Whether punctuation, or nothing, follows."""
    return not word or word in role("pauses")
