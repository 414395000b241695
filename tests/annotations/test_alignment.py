"""Categories of units carried over to tokens, whatever model cut them."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotations import label_spans
from annotations._text.alignment import NO_UNIT, check_spans, deciding_units
from annotations._text.units import scan
from reasoning_anatomy.errors import AnnotationError

TEXT = "So 48 / 2 = 24 clips, and \\( 3x - 8 = 43 \\).\n\nTherefore, it doesn't cost $1,200 per week 😀 ÷ 2."
BLANK = "rules:model=blank"

UNITS, NAMES = [(0, 5), (6, 9)], ["FUNCTION", "SYMBOLIC_MATH"]


def unit_of(span: tuple[int, int], **options: object) -> str:
    """Name of the unit that decides a span."""
    [index] = deciding_units(np.array([span]), UNITS, NAMES, **options)
    return "none" if index == NO_UNIT else NAMES[index]


@pytest.mark.parametrize(
    ("span", "expected", "why"),
    [
        ((0, 5), "FUNCTION", "the unit itself"),
        ((2, 3), "FUNCTION", "a part of a unit"),
        ((5, 9), "SYMBOLIC_MATH", "leading whitespace counts for nothing"),
        ((0, 9), "FUNCTION", "five characters against three"),
        ((3, 8), "SYMBOLIC_MATH", "two against two: the higher in rule 10"),
        ((5, 6), "SYMBOLIC_MATH", "whitespace goes with what it leads"),
        ((6, 6), "SYMBOLIC_MATH", "so does nothing at all"),
        ((9, 9), "none", "nothing at the end leads nothing"),
    ],
)
def test_a_token_takes_the_unit_that_it_overlaps_most(span, expected, why):
    assert unit_of(span, text="costs 7*8") == expected, why


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\n\n  ", " \n", "\u2028"])
def test_a_line_break_leads_nothing(line_break):
    text = f"It costs{line_break}15"
    assert label_spans(text, [(8, 8 + len(line_break))], BLANK) == ["FUNCTION"]


def test_a_lone_space_is_labelled_as_in_a_model_that_keeps_it_with_the_number():
    apart, together = [(2, 8), (8, 9), (9, 11)], [(2, 8), (8, 11)]
    assert label_spans("It costs 15", apart, BLANK)[1:] == label_spans("It costs 15", together, BLANK)[1:] * 2


def test_whitespace_inside_a_formula_is_symbolic():
    inside = [True, True]
    assert [unit_of(span, in_formula=inside) for span in ((5, 6), (5, 5), (9, 10))] == [
        "SYMBOLIC_MATH",
        "SYMBOLIC_MATH",
        "none",
    ]
    assert label_spans("\\( 5\n\\)\n", [(2, 3), (4, 5), (7, 8)], BLANK) == ["SYMBOLIC_MATH", "SYMBOLIC_MATH", "FUNCTION"]


def test_half_a_surrogate_pair_is_named():
    with pytest.raises(AnnotationError, match="text holds half of a surrogate pair at character 3; repair the text"):
        label_spans("So \ud83d", [(0, 2)], BLANK)


def test_tokens_that_share_a_character_share_its_category():
    at = TEXT.index("÷")
    assert label_spans(TEXT, [(at, at + 1)] * 3, BLANK) == ["SYMBOLIC_MATH"] * 3


def test_labels_do_not_depend_on_the_tokenizer():
    by_character = label_spans(TEXT, [(i, i + 1) for i in range(len(TEXT))], BLANK)
    for unit in scan(TEXT):
        [whole] = label_spans(TEXT, [(unit.start, unit.end)], BLANK)
        [spaced] = label_spans(
            TEXT, [(max(unit.start - 1, 0) if TEXT[unit.start - 1].isspace() else unit.start, unit.end)], BLANK
        )
        assert set(by_character[unit.start : unit.end]) == {whole}
        assert spaced == whole


@given(cuts=st.sets(st.integers(1, len(TEXT) - 1)))
@settings(max_examples=30, deadline=None)
def test_any_cutting_labels_a_part_of_one_unit_alike(cuts):
    edges = [0, *sorted(cuts), len(TEXT)]
    spans = list(itertools.pairwise(edges))
    units = scan(TEXT)
    whole = label_spans(TEXT, [(unit.start, unit.end) for unit in units], BLANK)
    for (start, end), category in zip(spans, label_spans(TEXT, spans, BLANK), strict=True):
        touched = {name for unit, name in zip(units, whole, strict=True) if unit.start < end and start < unit.end}
        after = [(unit.start, name) for unit, name in zip(units, whole, strict=True) if unit.start >= end]
        led = {after[0][1] if after and "\n" not in TEXT[start : after[0][0]] else "FUNCTION"}
        assert category in (touched or led)


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([(0, 2), (3, 99)], r"span 1 = \(3, 99\) is outside the text of 10 characters; give half-open"),
        ([(4, 2)], r"span 0 = \(4, 2\) ends before it starts"),
        ([(-1, 2)], r"span 0 = \(-1, 2\) is outside"),
        ([(0, 2, 3)], r"shape \(1, 3\)"),
        ([(0.5, 2.0)], "integers"),
        ([(0, 1), (2,)], "not pairs"),
    ],
)
def test_bad_spans_are_named_with_a_remedy(spans, message):
    with pytest.raises(AnnotationError, match=message):
        check_spans(spans, 10)


def test_spans_may_be_unsorted_overlapping_and_empty():
    spans = [(14, 20), (0, 2), (12, 20), (3, 5), (3, 5), (3, 3)]
    labels = label_spans("So 48 / 2 = 24 clips", spans, BLANK)
    assert labels == ["ENTITY_NAME", "META_DISCOURSE", "ENTITY_NAME", "SYMBOLIC_MATH", "SYMBOLIC_MATH", "SYMBOLIC_MATH"]


def test_no_spans_give_no_labels():
    assert label_spans("", [], BLANK) == []
    assert label_spans("", np.empty((0, 2), dtype=int), BLANK) == []
    assert label_spans("", [(0, 0)], BLANK) == ["FUNCTION"]
    assert label_spans(" ", [(0, 1)], BLANK) == ["FUNCTION"]
