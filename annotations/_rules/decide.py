"""All units of a text to categories: characters first, then fixed expressions, then words."""

from typing import Any, NamedTuple

from annotations._rules.special import category_of_special
from annotations._rules.words import Sentence, category_of_word
from annotations._text import lexicon
from annotations._text.layout import Layout, read_layout
from annotations._text.parse import parse
from annotations._text.question import read_question
from annotations._text.symbols import label_symbols


class LabelledText(NamedTuple):
    """A text's layout; of each of its units the category and the layer of rules that decided it.

    The layers are ``symbol`` (characters alone), ``phrase`` (a fixed expression), ``special`` (a word with a rule of its
    own), ``listed`` (as a lexicon has it) and ``inferred`` (from names, actors and parts of speech).
    """

    layout: Layout
    category: list[str]
    layer: list[str]


def label_text(text: str, question: str | None, pipeline: Any) -> LabelledText:
    """Decide every unit of a text; no model's tokens are involved."""
    layout = read_layout(text)
    symbols = label_symbols(layout)
    sentence = Sentence(layout, symbols, parse(layout, symbols, pipeline), read_question(question))
    labels = list(symbols)
    _label_phrases(sentence, labels)
    decided = [
        _decide_word(sentence, index) if label is None else (label, "symbol" if symbols[index] else "phrase")
        for index, label in enumerate(labels)
    ]
    return LabelledText(layout, [category for category, _ in decided], [layer for _, layer in decided])


def _decide_word(sentence: Sentence, index: int) -> tuple[str, str]:
    if special := category_of_special(sentence, index):
        return special, "special"
    category = category_of_word(sentence, index)
    is_listed = category == lexicon.category_of(sentence.word(index), sentence.part(index))
    return category, "listed" if is_listed else "inferred"


def _label_phrases(sentence: Sentence, labels: list[str | None]) -> None:
    """Label fixed expressions, the longest first; a word is in one of them at most."""
    listed = lexicon.phrases()
    index = 0
    while index < len(labels):
        for words, categories in listed.get(sentence.word(index), []) if labels[index] is None else []:
            if all(sentence.word(index + at) == word for at, word in enumerate(words)):
                for at, category in enumerate(categories):
                    labels[index + at] = labels[index + at] or category
                index += len(words) - 1
                break
        index += 1
