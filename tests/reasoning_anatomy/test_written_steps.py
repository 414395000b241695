"""Steps of a text while it is written, against the same text cut when it is whole."""

from typing import Any

import numpy as np
import pytest

from reasoning_anatomy.generation.written_steps import WrittenSteps
from reasoning_anatomy.plugins import load
from reasoning_anatomy.types import ReasoningChain

SEGMENTERS = ("cue_words", "cue_ends", "sentences", "paragraphs", "list_items")
NO_IDS = np.array([], dtype=np.int64)


def whole(tokenizer: Any, text: str, segmenter: str) -> tuple[list[int], np.ndarray, np.ndarray]:
    encoding = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    chain = ReasoningChain(chain_id="a", question_id="a", question="?", reasoning=text, answer="!")
    spans = np.array(encoding["offset_mapping"])
    return encoding["input_ids"], spans, load("segmenter", segmenter).segment(chain, spans)


@pytest.mark.parametrize("every", [1, 7, 1000])
@pytest.mark.parametrize("segmenter", SEGMENTERS)
def test_steps_are_those_of_the_whole_text(
    tokenizer: Any, example_chains: list[ReasoningChain], segmenter: str, every: int
) -> None:
    for chain in example_chains[:3]:
        text = " ".join([chain.reasoning] * 3)
        ids, spans, expected = whole(tokenizer, text, segmenter)
        steps = WrittenSteps(tokenizer, load("segmenter", segmenter), NO_IDS)
        for n in [*range(every, len(ids), every), len(ids)]:
            found = steps.cut(ids[:n])
        assert found.tolist() == np.unique(expected, return_inverse=True)[1].tolist()
        assert steps.token_ends().tolist() == spans[:, 1].tolist()


def test_a_word_that_goes_on_begins_no_step(tokenizer: Any) -> None:
    ids = tokenizer("It is 4. So", add_special_tokens=False)["input_ids"]
    steps = WrittenSteps(tokenizer, load("segmenter", "cue_words"), NO_IDS)
    assert steps.cut(ids).tolist()[-1] == 1
    more = [*ids, *tokenizer("phie has 3 apples", add_special_tokens=False)["input_ids"]]
    assert set(steps.cut(more)) == {0}


def test_a_character_of_several_tokens_belongs_to_the_last(tokenizer: Any) -> None:
    text = "a 🧮 b ≡ c 語 🧮"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    steps = WrittenSteps(tokenizer, load("segmenter", "sentences"), NO_IDS)
    for n in range(1, len(ids) + 1):
        assert len(steps.cut(ids[:n])) == n
    ends = steps.token_ends()
    assert len(ids) > len(set(ends)) == len([piece for piece in np.diff(ends, prepend=0) if piece])
    assert ends[-1] == len(text)


def test_bytes_that_are_no_text_do_not_stop_it(tokenizer: Any) -> None:
    broken = tokenizer("🧮", add_special_tokens=False)["input_ids"][:1]
    ids = [*broken * 7, *tokenizer(" So it is", add_special_tokens=False)["input_ids"]]
    steps = WrittenSteps(tokenizer, load("segmenter", "cue_words"), NO_IDS)
    for n in range(1, len(ids) + 1):
        found = steps.cut(ids[:n])
    assert len(found) == len(ids)
    assert len(steps.token_ends()) == len(ids)


def test_the_text_goes_on_from_what_is_before_it(tokenizer: Any) -> None:
    before, ids = (np.array(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in ("What is it?", " So 4."))
    steps = WrittenSteps(tokenizer, load("segmenter", "cue_words"), before)
    steps.cut(ids.tolist())
    assert steps.token_ends()[-1] == len(" So 4.")


def test_a_step_that_does_not_end_costs_no_more_the_longer_it_is(tokenizer: Any) -> None:
    """Characters that the segmenter is given, for a text without a cue that is cut after every token."""
    given = []

    class Watched:
        def segment(self, chain: ReasoningChain, spans: np.ndarray) -> np.ndarray:
            given.append(len(spans))
            return load("segmenter", "cue_words").segment(chain, spans)

    ids = tokenizer("and one more " * 200, add_special_tokens=False)["input_ids"]
    steps = WrittenSteps(tokenizer, Watched(), NO_IDS)
    for n in range(1, len(ids) + 1):
        found = steps.cut(ids[:n])
    assert len(ids) > 500
    assert max(given) <= 161
    assert set(found) == {0}
    more = [*ids, *tokenizer("Wait, what?", add_special_tokens=False)["input_ids"]]
    assert np.flatnonzero(np.diff(steps.cut(more))).tolist() == [len(ids) - 1]


def test_a_step_that_was_none_is_forgotten_even_if_nobody_asked_meanwhile(tokenizer: Any) -> None:
    ids = tokenizer("It is 4. So", add_special_tokens=False)["input_ids"]
    steps = WrittenSteps(tokenizer, load("segmenter", "cue_words"), NO_IDS)
    assert steps.cut(ids).tolist()[-1] == 1
    more = [*ids, *tokenizer("phie has 3 apples" + " and one more" * 40, add_special_tokens=False)["input_ids"]]
    assert set(steps.cut(more)) == {0}
