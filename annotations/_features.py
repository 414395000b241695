"""What the learned annotator sees of a unit: its characters, its neighbours, its grammar, the question."""

import re
from collections.abc import Iterator
from typing import Any

from annotations._text.layout import Layout, read_layout
from annotations._text.parse import Clue, parse
from annotations._text.question import Question, read_question
from annotations._text.symbols import label_symbols
from annotations._text.units import Kind


def read_features(text: str, question: str | None, pipeline: Any) -> tuple[Layout, list[list[str]]]:
    """Layout of a text, and the features that hold of each of its units, as ``name=value``.

    No decision of the rules is among them. Two of their readings are: where formulas and marks lie (`Layout`), and the
    parse, into which a run of symbols enters as one number.
    """
    layout = read_layout(text)
    clues = parse(layout, label_symbols(layout), pipeline)
    known = read_question(question)
    return layout, [list(_features(layout, clues, known, index)) for index in range(len(layout.units))]


def _features(layout: Layout, clues: list[Clue], question: Question, index: int) -> Iterator[str]:
    yield "bias"
    yield from _own(layout, question, index)
    yield from _around(layout, index)
    yield from _grammar(layout, clues, index)


def _own(layout: Layout, question: Question, index: int) -> Iterator[str]:
    unit = layout.units[index]
    yield f"kind={unit.kind.value}"
    yield f"shape={_shape(unit.text)}"
    if unit.kind is not Kind.NUMBER:
        yield f"word={unit.lower}"
    if unit.kind is Kind.WORD:
        yield f"suffix3={unit.lower[-3:]}"
        yield f"suffix2={unit.lower[-2:]}"
        yield f"told={question.tells_of(unit.lower)}"
        yield f"name={unit.text in question.names}"
        yield f"variable={unit.text in layout.variables}"
    yield f"formula={layout.formula[index]} {layout.in_text[index]} {unit.kind.value}"
    yield f"mark={layout.is_mark[index]}"


def _around(layout: Layout, index: int) -> Iterator[str]:
    for step in (-2, -1, 1, 2):
        yield f"at{step}={_coarse(layout, index + step)}"
    yield f"both={_coarse(layout, index - 1)} {_coarse(layout, index + 1)}"
    yield f"joined={layout.joined(index)} {index + 1 < len(layout.units) and layout.joined(index + 1)}"
    line = layout.text.rfind("\n", 0, layout.units[index].start) + 1
    yield f"opens={not layout.text[line : layout.units[index].start].strip()}"


def _grammar(layout: Layout, clues: list[Clue], index: int) -> Iterator[str]:
    clue = clues[index]
    if not clue.tag:
        return
    yield f"tag={clue.tag}"
    yield f"dep={clue.dep}"
    yield f"tagged={layout.word(index)} {clue.tag}"
    yield f"command={clue.is_command}"
    if clue.head >= 0:
        yield f"head={_coarse(layout, clue.head)}"
        yield f"headed={clue.dep} {clues[clue.head].tag}"
    if clue.subject >= 0:
        yield f"subject={_coarse(layout, clue.subject)}"


def _coarse(layout: Layout, index: int) -> str:
    """Word of a unit; its kind where it is a number or a command, and ``edge`` beyond the ends."""
    if not 0 <= index < len(layout.units):
        return "edge"
    unit = layout.units[index]
    return unit.kind.value if unit.kind in (Kind.NUMBER, Kind.COMMAND) else unit.lower


def _shape(text: str) -> str:
    shape = re.sub(r"[^\W\d_]", "x", re.sub(r"[A-Z]", "X", re.sub(r"\d", "d", text)))
    return re.sub(r"(.)\1{2,}", r"\1\1", shape)
