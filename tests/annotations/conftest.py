"""Helpers that the tests of annotators share."""

import re
from collections.abc import Callable

import pytest

from annotations import label_spans
from annotations._text.parse import MODELS

LETTERS = {
    "S": "SYMBOLIC_MATH",
    "V": "VERBAL_MATH",
    "C": "COREFERENCE",
    "M": "META_DISCOURSE",
    "E": "ENTITY_NAME",
    "F": "FUNCTION",
}


def has_model() -> bool:
    import spacy

    return any(spacy.util.is_package(name) for name in MODELS)


@pytest.fixture(scope="session")
def annotator() -> str:
    """The default annotator if an English model is installed, else its variant that needs none."""
    return "rules" if has_model() else "rules:model=blank"


@pytest.fixture(scope="session")
def category_in(annotator: str) -> Callable[..., str]:
    """Category, by its letter, of the unit that stands between ⟦ and ⟧ in a text."""

    def category(marked: str, question: str | None = None) -> str:
        found = re.search("⟦(.*?)⟧", marked, re.DOTALL)
        assert found, marked
        text = marked.replace("⟦", "").replace("⟧", "")
        [name] = label_spans(text, [(found.start(), found.start() + len(found[1]))], annotator, question)
        return {full: letter for letter, full in LETTERS.items()}[name]

    return category
