# ruff: noqa: RUF001 - full stops of many scripts are the subject
"""Reasoning to steps."""

import hashlib
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_anatomy.errors import MeasurementError, PluginError
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.plugins import available, load
from reasoning_anatomy.steps import aggregate, step_of_token
from reasoning_anatomy.steps.cue_words import CUE_WORDS
from reasoning_anatomy.types import ReasoningChain

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def segmented(spec: str, text: str, spans: np.ndarray, starts: Sequence[int] = ()) -> np.ndarray:
    """Steps of a text by a segmenter; the chain is not checked, so that the text may be empty."""
    facts = {"chain_id": "c", "question_id": "q", "question": "Q", "reasoning": text, "answer": "A"}
    chain = ReasoningChain.model_construct(**facts, step_starts=tuple(starts))
    return load("segmenter", spec).segment(chain, spans)


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
    part = st.sampled_from(["So", "Let me", "- ", "1. ", "**", "```", "\r\n", *"ab.?! \n\t\r1é😀"])
    text = "".join(draw(st.lists(part, min_size=1, max_size=25)))
    cuts = draw(st.sets(st.integers(1, len(text))))
    return text, np.array(list(pairwise(sorted({0, len(text), *cuts}))))


SPECS = [*available("segmenter"), "paragraphs:least_characters=10", "cue_words:match=surface"]


@pytest.mark.parametrize("spec", SPECS)
@settings(max_examples=200, deadline=None, derandomize=True)
@given(drawn=tokens(), data=st.data())
def test_every_segmenter_partitions_the_tokens(spec: str, drawn: tuple[str, np.ndarray], data: st.DataObject) -> None:
    text, spans = drawn
    starts = sorted(data.draw(st.sets(st.integers(0, len(text) - 1))))
    steps = segmented(spec, text, spans, starts)
    assert (steps.dtype, steps.shape) == (np.int64, (len(spans),))
    assert (np.diff(steps) >= 0).all()
    assert steps[0] >= 0


@pytest.mark.parametrize("spec", SPECS)
def test_no_token_and_tokens_without_characters(spec: str) -> None:
    assert segmented(spec, "", np.empty((0, 2), dtype=np.int64)).tolist() == []
    n_steps = len(set(segmented(spec, "So it is.", np.array([[0, 0], [0, 2], [2, 2], [2, 9], [9, 9]])).tolist()))
    assert n_steps == (2 if spec == "cue_ends" else 1)  # which cuts behind the first word


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("text", ["so it is", "  \n\n\t ", "é😀", "\r\n"])
def test_a_text_with_nothing_to_cut_at_is_one_step(spec: str, text: str) -> None:
    assert len(pieces(text, spec)) == 1


@settings(max_examples=200, deadline=None, derandomize=True)
@given(drawn=tokens())
def test_steps_from_the_text_alone_are_sentences_and_no_more_than_ends_of_them(drawn: tuple[str, np.ndarray]) -> None:
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


def pieces(text: str, spec: str = "sentences", starts: Sequence[int] = ()) -> list[str]:
    """Steps of a text as a reader sees them, with one token a character."""
    steps = segmented(spec, text, np.array([(i, i + 1) for i in range(len(text))]).reshape(-1, 2), starts)
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


def test_the_last_sentence_which_the_publication_drops_is_a_step() -> None:
    text = "There are twelve jars. So the answer is 12."
    assert pieces(text, "thought_anchors") == ["There are twelve jars.", "So the answer is 12."]
    assert pieces(text + "\n", "thought_anchors") == pieces(text, "thought_anchors")


PARAGRAPHS = [  # | stands where a blank line ends a step
    "We add.\nThen we stop.\n\n|So it is 3.",
    "One  \n \t\n|two\n\n\n\n|three",
    "One\r\n\r\n|two\r\nstill two\r\n \r\n|three",
    "One\r\r|two\rstill two",
    "\n\n  first\n\n|second\n\n",
    "一。\n\n|二。",
    "So\n\n|x = 3\n\n|done",
]


@pytest.mark.parametrize("text", PARAGRAPHS)
def test_a_paragraph_ends_at_a_blank_line(text: str) -> None:
    assert pieces(text.replace("|", ""), "paragraphs") == [piece.strip() for piece in text.split("|")]


@pytest.mark.parametrize(
    ("text", "steps"),
    [  # pieces of fewer than 10 characters, by hand: the rule drops "x = 3", "So"; here each goes with the next, the last back
        ("We add them.\n\nx = 3\n\nNow we are done.", ["We add them.", "x = 3\n\nNow we are done."]),
        ("So\n\nx = 3\n\nNow we are done.", ["So\n\nx = 3\n\nNow we are done."]),
        ("We add them.\n\nNow we are done.\n\nx = 3", ["We add them.", "Now we are done.\n\nx = 3"]),
        ("123456789\n\n1234567890", ["123456789\n\n1234567890"]),
        ("1234567890\n\n  123456789   ", ["1234567890\n\n  123456789"]),
        ("1234567890\n\n1234567890", ["1234567890", "1234567890"]),
        ("a\n\nb", ["a\n\nb"]),
    ],
)
def test_short_paragraphs_belong_to_a_neighbour_where_the_publication_drops_them(text: str, steps: list[str]) -> None:
    assert pieces(text, "paragraphs:least_characters=10") == steps


@pytest.mark.parametrize("least", ["0", "-1"])
def test_a_paragraph_of_no_characters_is_refused(least: str) -> None:
    with pytest.raises(PluginError, match=rf"least_characters is {least}; give 1 or more"):
        load("segmenter", f"paragraphs:least_characters={least}")


def test_there_are_32_published_cue_words() -> None:
    assert (len(CUE_WORDS), len(set(CUE_WORDS))) == (32, 32)
    assert sum(" " not in cue for cue in CUE_WORDS) == 18


@pytest.mark.parametrize(
    "text",
    [  # | stands before a cue; everything else only looks like one
        "Okay, 3 jars. |Wait, no. |So it is 4.",
        "Some Sofas, Thence, Nowhere, Firstly: so, then, now.",
        "3 rows. |Let me double-check: 12. |Let me\n see. |That’s correct. |I don't see any errors",
        'First-order terms, Re-Compute, x_So. |Then (|So) **|Now** "|Good."',
        "\n\nWait.\r\n|Hmm…|Maybe😀|Thus",
        "等等。|So 三。",
        "So |So |So",
    ],
)
def test_a_step_begins_with_a_cue_that_is_a_word(text: str) -> None:
    assert pieces(text.replace("|", ""), "cue_words") == [piece.strip() for piece in text.split("|")]


def test_a_cue_takes_its_token_into_the_step_that_it_begins() -> None:
    text = "3 jars. Wait, no."
    assert segmented("cue_words", text, words(text)).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("tokens", "steps"),
    [  # by hand on surface tokens: 3 | jars. | ĠWait | , and so on; a token goes by its first character, marker included
        (["Hmm", " 3", " jars", ".", " Wait", ",", " no", "."], [1, 1, 1, 1, 1, 2, 2, 2]),  # (b) " Wait" stays behind
        (["3", " jars", ".", "\n", "Wait", ",", " no"], [0, 0, 0, 0, 1, 1, 1]),  # only after a line break is it in time
        (["3", ".", "\n", "Some", " go", ".", " So", "met"], [0, 0, 0, 1, 1, 1, 1, 2]),  # (c) "So" in "Some"
        (["3", ".", "\n", "Let", " me", " see", "\n", "But", " wait"], [0] * 9),  # (a) no cue of several words
    ],
)
def test_the_published_code_as_it_behaves_on_surface_tokens(tokens: list[str], steps: list[int]) -> None:
    ends = np.cumsum([len(token) for token in tokens])
    spans = np.stack([ends - [len(token) for token in tokens], ends], axis=1)
    assert segmented("cue_words:match=surface", "".join(tokens), spans).tolist() == steps


def as_published(surface: Sequence[str]) -> list[int]:
    """Cut at every cue in the joined surface tokens; a token is in the section in which its first character is."""
    joined = "".join(surface)
    begins = [found.start() for found in re.finditer("|".join(sorted(map(re.escape, CUE_WORDS), key=len)[::-1]), joined)]
    first, sections = 0, []
    for token in surface:
        sections.append(sum(begin <= first for begin in begins))
        first += len(token)
    return sections


def test_surface_steps_are_those_of_the_tokens_as_the_tokenizer_writes_them(
    tokenizer: "PreTrainedTokenizerBase", example_chains: list[ReasoningChain]
) -> None:
    own = "Okay, é😀 3 ≤ 4.\n\nWait, Some of it… So I think: 二\r\nSo Let me see.\n Now Then\tThus"
    encoder, cut = ChainEncoder(tokenizer), 0
    for chain in [*example_chains, example_chains[0].model_copy(update={"reasoning": own})]:
        encoded = encoder.encode(chain)
        steps = load("segmenter", "cue_words:match=surface").segment(chain, encoded.spans).tolist()
        assert steps == as_published(tokenizer.convert_ids_to_tokens(encoded.reasoning_ids.tolist()))
        cut += len(set(steps)) > 1
    assert cut > 1


@pytest.mark.parametrize(
    "text",
    [  # | stands where an item, a numbered step or a heading begins
        "We do this:\n|1. Add 3.\n   It is 7.\n\n|2. Stop.\n\nSo it is 7.",
        "1) Add\r\n|2) Stop\r\n\r\n|10) End",
        "Given:\n|- 3 jars\n|- 4 rows\n  |* of wood\n|• and more",
        "Step 1: Add.\n|Step 2. Stop.\n|**Step 3** Go.\n|step 4\nSo",
        "Step 1 gives x and\nStep 2.5 liters",
        "# Given\n3 jars\n|## Solution ##\n12\n|**Final answer:**\n12",
        "**1.** Add\n|**2. Stop**\n|3.1. End\n|(a) yes\n|(iii) no\n|1、一\n|② 二",
        "It is\n3.5 * 2\n-3 + 4\n**3** * 4\n#3 of 4\n2018. Then\n1.5\n(x + 1) * 2",
        "Run:\n```python\n# add\n- 3\n```\n|- done",
        "\n  - first\n|- second",
        "One line",
    ],
)
def test_a_step_is_an_item_of_a_list(text: str) -> None:
    assert pieces(text.replace("|", ""), "list_items") == [piece.strip() for piece in text.split("|")]


@pytest.mark.parametrize(
    ("starts", "steps"),
    [
        ([], ["ab cd ef"]),
        ([0], ["ab cd ef"]),
        ([3, 6], ["ab", "cd", "ef"]),
        ([0, 3], ["ab", "cd ef"]),
        ([2, 7], ["ab", "cd e", "f"]),
    ],
)
def test_steps_begin_at_the_characters_that_are_given(starts: list[int], steps: list[str]) -> None:
    assert pieces("ab cd ef", "given", starts) == steps


def test_a_token_goes_to_the_given_step_of_its_first_visible_character() -> None:
    text = "ab cd ef"
    assert segmented("given", text, words(text), [2]).tolist() == [0, 1, 1]
    assert segmented("given", text, words(text), [3]).tolist() == [0, 1, 1]
    assert segmented("given", text, words(text), [4]).tolist() == [0, 0, 1]


def test_a_chain_without_given_steps_is_refused() -> None:
    chain = ReasoningChain(chain_id="c7", question_id="q", question="Q", reasoning="a b", answer="A")
    message = "c7: has no 'step_starts'; list the characters where its steps begin, or name another segmenter"
    with pytest.raises(MeasurementError, match=f"^{re.escape(message)}$"):
        load("segmenter", "given").segment(chain, words("a b"))


TEXTS = [
    "Okay. 1. Multiply 3 by 4, e.g. Dr. Lee's jars!\n\nx = 3\n\nWait... So 5! = 120? First, so\r\n\r\n- add\n- Some",
    "所以 3×4＝12。答案是十二。\n\n## Check\nStep 2: “Why?” she asks. It is p. 5 at 6 p.m. Then (B). Thus it is. Let me see",
]
RULES = {  # a rule that gives other steps needs another version, so that runs notice
    "sentences": (1, "c35705e30e9e"),
    "paragraphs": (1, "f912ef03eda1"),
    "paragraphs:least_characters=10": (1, "464535097c1b"),
    "cue_words": (1, "d7cea4e7eeff"),
    "cue_words:match=surface": (1, "00515be0d258"),
    "cue_ends": (1, "4fe619f2c55e"),
    "cue_ends:breaks=any": (1, "4fe619f2c55e"),
    "list_items": (1, "765e296d259c"),
    "thought_anchors": (1, "0f0f65867c0b"),
}


@pytest.mark.parametrize("spec", RULES)
def test_a_rule_that_changes_gets_another_version(spec: str) -> None:
    found = repr([pieces(text, spec) for text in TEXTS])
    version = getattr(load("segmenter", spec), "version")  # noqa: B009 - not every segmenter has one
    assert (version, hashlib.sha256(found.encode()).hexdigest()[:12]) == RULES[spec], found


def test_every_shipped_rule_has_a_version() -> None:
    assert {spec.partition(":")[0] for spec in RULES} | {"given"} == set(available("segmenter"))


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
