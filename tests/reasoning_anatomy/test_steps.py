# ruff: noqa: RUF001 - full stops of many scripts are the subject
"""Reasoning to steps."""

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_anatomy.plugins import available, load
from reasoning_anatomy.steps import aggregate, step_of_token
from reasoning_anatomy.types import ReasoningChain


def segmented(key: str, text: str, spans: np.ndarray) -> np.ndarray:
    """Steps of a text by a segmenter; the chain is not checked, so that the text may be empty."""
    chain = ReasoningChain.model_construct(chain_id="c", question_id="q", question="Q", reasoning=text, answer="A")
    return load("segmenter", key).segment(chain, spans)


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
    steps = segmented(key, text, spans)
    assert (steps.dtype, steps.shape) == (np.int64, (len(spans),))
    assert (np.diff(steps) >= 0).all()
    assert steps[0] >= 0


@settings(max_examples=200, deadline=None, derandomize=True)
@given(drawn=tokens())
def test_the_steps_of_the_tables_are_sentences_and_no_more_than_ends_of_them(drawn: tuple[str, np.ndarray]) -> None:
    text, spans = drawn
    steps = step_of_token(text, spans)
    assert steps.tolist() == segmented("sentences", text, spans).tolist()
    assert steps.max() <= len(re.findall(r"[.?!\n]", text))


def test_characters_of_one_visible_run_share_a_step() -> None:
    text = "First, x = 3. Then y = 4!\nSo 7."
    spans = np.array([(i, i + 1) for i in range(len(text))])
    steps = step_of_token(text, spans)
    pieces = ["".join(text[i] for i in np.flatnonzero(steps == step)) for step in range(steps.max() + 1)]
    assert pieces == ["First, x = 3. ", "Then y = 4!\n", "So 7."]


def pieces(text: str, key: str = "sentences") -> list[str]:
    """Steps of a text as a reader sees them, with one token a character."""
    steps = segmented(key, text, np.array([(i, i + 1) for i in range(len(text))]).reshape(-1, 2))
    return ["".join(text[i] for i in np.flatnonzero(steps == step)).strip() for step in np.unique(steps)]


@pytest.mark.parametrize(
    "text",
    [  # | stands where a reader sees a sentence end
        "每排四个罐子，共三排。|所以 3×4＝12。|答案是十二。|等等，再检查一遍：12 除以 4 等于 3。|对。",
        "他说：“好。”|然后走了！？|「はい。」と答えた。|『終わり！』|（以上。）|よし",
        "半径は3．5です．|次に１．５です",
        "好。。\n|对。",
        "यह पाँच है। |अब छह।|كم هذا؟ |هذا ٣. |نعم۔ |ہاں",
        "1. Multiply 3 by 4. |E.g. Dr. Lee has approx. 3.5 kg.",
        "1. Multiply 3 by 4.\n|2. Add 5. |3. Stop. |Step 4. Check it. |**5.** Done.",
        "A. Two\n|B. Three",
        "Fig. 3 and Eq. (2), i.e. no. 5 vs. No. 6 on Jan. 7, say. |No. |That is wrong.",
        "Pens, pencils etc. cost 5. |Pens, pencils, etc. |Then go at 5 p.m. by train. |At 6 p.m. |Sue left.",
        "J. R. Smith and Dr. A. Lee met. |The answer is B. |So it is.",
        "It takes 5 ms. |The 1st. |Then 3.75 and .5 more.",
        "The total is 3. |5 of them are red.",
        'He said "Stop." |Then (at 5.) |Now “go!” |“Why?” she asks. |[Yes.] |**Bold.** |It is $x=5.$ |So',
        r"\(x = 5.\) |So a\! b",
        "So 5! = 120 and (3!) = 6. |Then n! - 1 too. |Stop! |- no",
        "1 + 2 + ... + 10 and 1, 2, ... 10. |Wait... |what?! |No… |ok",
    ],
)
def test_a_step_ends_where_a_sentence_does(text: str) -> None:
    expected = [piece.strip() for piece in text.split("|")]
    assert pieces(text.replace("|", "")) == expected


def test_the_published_steps_of_thought_anchors() -> None:
    # by hand from the publication's rule: a lone line break ends nothing, abbreviations do, pieces below 10 characters go on
    text = "Wait. So Dr. Lee buys 12 pens.\nHe has 3\nmore.\n\nSo it is 15 in all. Ok? And that is it"
    steps = ["Wait. So Dr.", "Lee buys 12 pens.", "He has 3\nmore.", "So it is 15 in all. Ok?", "And that is it"]
    assert pieces(text, "thought_anchors") == steps
    assert pieces("No. Yes", "thought_anchors") == ["No.", "Yes"]


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
