"""Reasoning to steps."""

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_anatomy.plugins import available, load
from reasoning_anatomy.steps import aggregate, step_of_token


def words(text: str) -> np.ndarray:
    """Spans of words, each with the white space before it, as byte-level tokenizers cut."""
    return np.array([match.span() for match in re.finditer(r"\s*\S+|\s+$", text)], dtype=np.int64).reshape(-1, 2)


@pytest.mark.parametrize(
    ("text", "steps"),
    [  # one number a word, by hand from the rule: a line break, or . ? ! before white space, ends a step
        ("a b c", [0, 0, 0]),
        ("a b. c d", [0, 0, 1, 1]),
        ("a? b! c", [0, 1, 2]),
        ("a\nb c\n\n  d", [0, 1, 1, 2]),
        ("a. \n b", [0, 1]),  # one end, not two
        ("a.\r\nb", [0, 1]),
        ("3.5 * 2 = 7.0", [0, 0, 0, 0, 0]),
        ("a.b c.", [0, 0]),
        ("a... b", [0, 1]),
        ("\n\na b", [1, 1]),
        ("a.\tb", [0, 1]),
        ("a b \n", [0, 0, 0]),  # white space belongs to the step before it
        ("", []),
    ],
)
def test_steps_by_hand(text: str, steps: list[int]) -> None:
    found = step_of_token(text, words(text))
    assert found.tolist() == steps
    assert found.dtype == np.int64


def test_a_token_over_a_boundary_belongs_to_its_first_visible_character() -> None:
    # "a.", ". b" would start in step 0 with the full stop; " b" starts with the white space of step 0 and is step 1
    text = "a. b"
    assert step_of_token(text, np.array([[0, 1], [1, 4]])).tolist() == [0, 0]
    assert step_of_token(text, np.array([[0, 2], [2, 4]])).tolist() == [0, 1]


def test_white_space_and_empty_spans_belong_to_the_step_before() -> None:
    assert step_of_token("a.  b", np.array([[0, 2], [2, 3], [3, 3], [3, 4], [4, 5]])).tolist() == [0, 0, 0, 0, 1]


@st.composite
def tokens(draw: st.DrawFn) -> tuple[str, np.ndarray]:
    """Draw a text and the spans of its tokens."""
    text = draw(st.text(st.sampled_from("ab.?! \n\t\r1é😀"), min_size=1, max_size=40))
    cuts = draw(st.sets(st.integers(1, len(text))))
    return text, np.array(list(pairwise(sorted({0, len(text), *cuts}))))


@pytest.mark.parametrize("key", available("segmenter"))
@settings(max_examples=200, deadline=None, derandomize=True)
@given(drawn=tokens())
def test_every_segmenter_partitions_the_tokens(key: str, drawn: tuple[str, np.ndarray]) -> None:
    text, spans = drawn
    steps = load("segmenter", key).segment(text, spans)
    assert (steps.dtype, steps.shape) == (np.int64, (len(spans),))
    assert (np.diff(steps) >= 0).all()
    assert steps[0] >= 0


@settings(max_examples=200, deadline=None, derandomize=True)
@given(drawn=tokens())
def test_the_steps_of_the_tables_are_sentences_and_no_more_than_ends_of_them(drawn: tuple[str, np.ndarray]) -> None:
    text, spans = drawn
    steps = step_of_token(text, spans)
    assert steps.tolist() == load("segmenter", "sentences").segment(text, spans).tolist()
    assert steps.max() <= len(re.findall(r"[.?!\n]", text))


def test_characters_of_one_visible_run_share_a_step() -> None:
    text = "First, x = 3. Then y = 4!\nSo 7."
    spans = np.array([(i, i + 1) for i in range(len(text))])
    steps = step_of_token(text, spans)
    pieces = ["".join(text[i] for i in np.flatnonzero(steps == step)) for step in range(steps.max() + 1)]
    assert pieces == ["First, x = 3. ", "Then y = 4!\n", "So 7."]


def test_scores_of_steps_by_hand() -> None:
    score, step = [1.0, 2, 3, 10, -4], np.array([0, 0, 0, 2, 2])  # no token is in step 1
    assert aggregate(np.array(score), step, how="mean").tolist() == [2, 3]
    assert aggregate(np.array(score), step, how="sum").tolist() == [6, 6]


def test_every_layer_and_head_is_aggregated_alike() -> None:
    rng = np.random.default_rng(0)
    profile, step = rng.random((2, 3, 20)).astype(np.float16), np.sort(rng.integers(0, 6, 20))
    for how, reduce in (("mean", np.mean), ("sum", np.sum)):
        expected = [reduce(profile[..., step == one].astype(float), axis=-1) for one in np.unique(step)]
        np.testing.assert_allclose(aggregate(profile, step, how=how), np.stack(expected, axis=-1), rtol=1e-12)


def test_another_way_to_aggregate_is_refused() -> None:
    with pytest.raises(ValueError, match="how is 'max', expected 'mean' or 'sum'"):
        aggregate(np.ones(2), np.array([0, 1]), how="max")  # type: ignore[arg-type]
