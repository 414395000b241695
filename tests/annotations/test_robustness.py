"""Any text gets exactly one of six categories per unit, and soon."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotations import label_spans
from annotations._rules.decide import label_text
from annotations._text.parse import load_pipeline
from annotations._text.units import scan
from reasoning_anatomy.categories import CATEGORIES

LATEX = ["$", "\\(", "\\)", "\\[", "\\]", "{", "}", "\\frac", "\\text", "\\begin{a}", "\\end{a}"]
SYMBOLS = ["(", ")", "-", "**", "#", "1.", "3,5", "`", "|", "_", "<b>", "!", "😀", "\n", "\r\n", " "]
WORDS = ["x", "so", "that", "one", "left", "by", "divide", "Tom", "'s", "é", "א"]
FRAGMENTS = st.sampled_from(LATEX + SYMBOLS + WORDS)


@given(
    text=st.one_of(
        st.text(max_size=80), st.lists(FRAGMENTS, max_size=30).map(" ".join), st.lists(FRAGMENTS, max_size=30).map("".join)
    )
)
@settings(max_examples=150, deadline=None)
def test_every_unit_gets_one_of_six_categories(text):
    labelled = label_text(text, text[:20], load_pipeline("blank"))
    assert len(labelled.category) == len(labelled.layout.units)
    assert set(labelled.category) <= set(CATEGORIES)


@given(text=st.lists(FRAGMENTS, min_size=1, max_size=12).map(" ".join))
@settings(max_examples=25, deadline=None)
def test_every_unit_gets_one_of_six_categories_with_grammar(annotator, text):
    spans = [(unit.start, unit.end) for unit in scan(text)]
    labels = label_spans(text, spans, annotator, "Tom has one x left.")
    assert len(labels) == len(spans)
    assert set(labels) <= set(CATEGORIES)


@given(text=st.text(max_size=200))
@settings(deadline=None)
def test_units_cover_every_visible_character_once(text):
    covered = [at for unit in scan(text) for at in range(unit.start, unit.end)]
    assert covered == [at for at in range(len(text)) if not text[at].isspace()] or _only_spaced_marks(text, covered)


def _only_spaced_marks(text: str, covered: list[int]) -> bool:
    """HTML tags may hold spaces; everything else may not."""
    visible = {at for at in range(len(text)) if not text[at].isspace()}
    return visible <= set(covered) and len(covered) == len(set(covered)) and "<" in text


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t ",
        "😀😀 مرحبا بالعالم، 5 + 3 = 8 שלום",
        "So\r\n1. Add 5\r\n2. Stop\r\n",
        r"\[ \frac{1}{ \( $ 5 \text{ apples so we are done",
        r"} } \] \) \end{align} $$ so what",
        "<script>alert('5 < 3')</script> <img src=x onerror=y> & &lt;",
        "{" * 300 + "\\frac{" * 300,
        "\\begin{a}" * 200,
        "(" * 500 + "5" + ")" * 500,
        "$ " * 500,
        "\u200b\u202e\x00\x1b x",
    ],
)
def test_odd_text_is_labelled(annotator, text):
    spans = [(at, at + 1) for at in range(len(text))]
    labels = label_spans(text, spans, annotator, text)
    assert len(labels) == len(text)
    assert set(labels) <= set(CATEGORIES)


def test_windows_line_ends_change_nothing(annotator):
    text = "First, we add:\n\n1. Add 5 and 3.\n2. **Divide** by 2.\n\n\\[\n5 + 3 = 8\n\\]\nSo it is 4."
    windows = text.replace("\n", "\r\n")
    labels = [label_spans(t, [(unit.start, unit.end) for unit in scan(t)], annotator) for t in (text, windows)]
    assert labels[0] == labels[1]


@pytest.mark.parametrize(
    "piece", ["So 5 + 3 = 8 apples are left. ", "a", "$", "(", r"\( x ", "- ", "word " * 20, "| 5 | 6 |\n"]
)
def test_a_hundred_thousand_characters_take_seconds(piece):
    text = (piece * (100_000 // len(piece) + 1))[:100_000]
    begun = time.process_time()
    labels = label_spans(text, [(0, 1), (len(text) - 2, len(text))], "rules:model=blank")
    assert len(labels) == 2
    assert time.process_time() - begun < 10
