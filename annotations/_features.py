"""What the learned annotator knows about a unit: its characters, its neighbours, its grammar, the question."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from annotations._text.layout import Layout, read_layout
from annotations._text.parse import ParseFeatures, parse
from annotations._text.question import Question, read_question
from annotations._text.symbols import label_symbols
from annotations._text.units import Kind

if TYPE_CHECKING:
    from spacy.language import Language


def read_features(text: str, question: str | None, pipeline: "Language | None") -> tuple[Layout, list[list[str]]]:
    """Layout of a text, and the features of each of its units as ``name=value``.

    They contain no decision of the rules, but share two readings with them: where formulas and marks are (`Layout`), and
    the parse, in which a run of symbols is one number.
    """
    layout = read_layout(text)
    parsed = parse(layout, label_symbols(layout), pipeline)
    story = read_question(question)
    return layout, [list(_features(layout, parsed, story, index)) for index in range(len(layout.units))]


def _features(layout: Layout, parsed: list[ParseFeatures], question: Question, index: int) -> Iterator[str]:
    yield "bias"
    yield from _of_unit(layout, question, index)
    yield from _of_neighbours(layout, index)
    yield from _of_grammar(layout, parsed, index)


def _of_unit(layout: Layout, question: Question, index: int) -> Iterator[str]:
    unit = layout.units[index]
    yield f"kind={unit.kind.value}"
    yield f"shape={_shape(unit.text)}"
    if unit.kind is not Kind.NUMBER:
        yield f"word={unit.lower}"
    if unit.kind is Kind.WORD:
        yield f"suffix3={unit.lower[-3:]}"
        yield f"suffix2={unit.lower[-2:]}"
        yield f"told={question.mentions(unit.lower)}"
        yield f"name={unit.text in question.names}"
        yield f"variable={unit.text in layout.variables}"
    yield f"formula={layout.formula[index]} {layout.in_text[index]} {unit.kind.value}"
    yield f"mark={layout.is_mark[index]}"


def _of_neighbours(layout: Layout, index: int) -> Iterator[str]:
    for offset in (-2, -1, 1, 2):
        yield f"at{offset}={_coarse(layout, index + offset)}"
    yield f"both={_coarse(layout, index - 1)} {_coarse(layout, index + 1)}"
    yield f"joined={layout.joined(index)} {index + 1 < len(layout.units) and layout.joined(index + 1)}"
    line = layout.text.rfind("\n", 0, layout.units[index].start) + 1
    yield f"opens={not layout.text[line : layout.units[index].start].strip()}"


def _of_grammar(layout: Layout, parsed: list[ParseFeatures], index: int) -> Iterator[str]:
    word = parsed[index]
    if not word.tag:
        return
    yield f"tag={word.tag}"
    yield f"dep={word.dep}"
    yield f"tagged={layout.word(index)} {word.tag}"
    yield f"command={word.is_command}"
    if word.head >= 0:
        yield f"head={_coarse(layout, word.head)}"
        yield f"headed={word.dep} {parsed[word.head].tag}"
    if word.subject >= 0:
        yield f"subject={_coarse(layout, word.subject)}"


def _coarse(layout: Layout, index: int) -> str:
    """Word of a unit; its kind if it is a number or a command, and ``edge`` beyond the ends of the text."""
    if not 0 <= index < len(layout.units):
        return "edge"
    unit = layout.units[index]
    return unit.kind.value if unit.kind in (Kind.NUMBER, Kind.COMMAND) else unit.lower


def _shape(text: str) -> str:
    shape = re.sub(r"[^\W\d_]", "x", re.sub(r"[A-Z]", "X", re.sub(r"\d", "d", text)))
    return re.sub(r"(.)\1{2,}", r"\1\1", shape)
