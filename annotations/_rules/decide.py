"""From all units of a text to their categories: characters first, then fixed expressions, then words."""

from typing import TYPE_CHECKING, NamedTuple

from annotations._rules.special import category_of_special
from annotations._rules.words import Sentence, category_of_word
from annotations._text import lexicon
from annotations._text.layout import Layout, read_layout
from annotations._text.parse import parse
from annotations._text.question import read_question
from annotations._text.symbols import label_symbols

if TYPE_CHECKING:
    from spacy.language import Language


class LabelledText(NamedTuple):
    """A text's layout and, for each of its units, the category and the level of rules that decided it.

    The levels are ``symbol`` (characters alone), ``phrase`` (a fixed expression), ``special`` (a word with a rule of its
    own), ``listed`` (a word as the lexicon lists it) and ``inferred`` (from names, actors and parts of speech).
    """

    layout: Layout
    category: list[str]
    level: list[str]


def label_text(text: str, question: str | None, pipeline: "Language | None") -> LabelledText:
    """Decide every unit of a text, before any model's tokens are looked at."""
    layout = read_layout(text)
    symbols = label_symbols(layout)
    sentence = Sentence(layout, symbols, parse(layout, symbols, pipeline), read_question(question))
    labels = list(symbols)
    _label_phrases(sentence, labels)
    decided = [
        _decide_word(sentence, index) if label is None else (label, "symbol" if symbols[index] else "phrase")
        for index, label in enumerate(labels)
    ]
    return LabelledText(layout, [category for category, _ in decided], [level for _, level in decided])


def _decide_word(sentence: Sentence, index: int) -> tuple[str, str]:
    if special := category_of_special(sentence, index):
        return special, "special"
    category = category_of_word(sentence, index)
    is_listed = category == lexicon.category_of(sentence.word(index), sentence.part(index))
    return category, "listed" if is_listed else "inferred"


def _label_phrases(sentence: Sentence, labels: list[str | None]) -> None:
    """Label fixed expressions, the longest first; a word belongs to at most one of them."""
    phrases = lexicon.phrases()
    index = 0
    while index < len(labels):
        for words, categories in phrases.get(sentence.word(index), []) if labels[index] is None else []:
            if all(sentence.word(index + at) == word for at, word in enumerate(words)):
                for at, category in enumerate(categories):
                    labels[index + at] = labels[index + at] or category
                index += len(words) - 1
                break
        index += 1
