"""Transcripts are taken apart at their tags, or refused with the reason; nothing is guessed."""

import pytest

from reasoning_anatomy.errors import UnusableError
from reasoning_anatomy.thinking import THINKING_TAGS, end_of_turn_in, tag_in, take_apart

PAIRS = [tags for tags in THINKING_TAGS if "<|channel|>" not in tags.opening]


@pytest.mark.parametrize("tags", PAIRS)
def test_a_pair_of_tags_is_cut_out(tags: tuple[str, str]) -> None:
    assert take_apart(f"{tags[0]}\n3 * 4 = 12.\n{tags[1]}\n\nSo 12.") == ("3 * 4 = 12.", "So 12.")


@pytest.mark.parametrize("tags", PAIRS)
def test_a_closing_tag_alone_is_enough(tags: tuple[str, str]) -> None:
    # templates that open the thinking themselves leave the opening tag in the prompt
    assert take_apart(f"3 * 4 = 12.{tags[1]}So 12.") == ("3 * 4 = 12.", "So 12.")


@pytest.mark.parametrize(
    "text",
    [
        "<|channel|>analysis<|message|>a\nb<|end|><|start|>assistant<|channel|>final<|message|>So 12.<|return|>",
        "<|start|>assistant<|channel|>analysis<|message|>a\nb<|end|>\n<|channel|>final<|message|>So 12.",
        "analysisa\nbassistantfinalSo 12.",  # decoded without special tokens
        "<|begin_of_thought|>a\nb<|end_of_thought|>\n\n<|begin_of_solution|>\n\nSo 12.\n\n<|end_of_solution|>",
        "<|START_THINKING|>a\nb<|END_THINKING|><|START_RESPONSE|>So 12.<|END_RESPONSE|>",
        "<think>a\nb</think>\n<response>So 12.</response>",
    ],
)
def test_channels_and_answers_in_tags_are_taken_apart(text: str) -> None:
    assert take_apart(text) == ("a\nb", "So 12.")


@pytest.mark.parametrize(
    ("reasoning", "answer"),
    [
        ("<think>\na\n</think>", "\n\n12"),
        ("<think>a", "12"),  # the answer has a field of its own, so the thinking did end
        ("a\n</think>\n\n12", "12"),
        ("a", "<think>a</think>12"),
        ("a", "</think>\n\n12"),
        ("\na ", " 12\n"),
    ],
)
def test_tags_are_found_in_either_field(reasoning: str, answer: str) -> None:
    assert take_apart(answer, reasoning=reasoning) == ("a", "12")


@pytest.mark.parametrize(
    ("reasoning", "answer", "reason"),
    [
        (None, "12", "has no reasoning that could be told from the answer: generate it, or name its key with --map"),
        (None, "<think>3 * 4 =", "its thinking is never closed: it was cut off"),
        (None, "<|channel|>analysis<|message|>3 * 4 =", "its thinking is never closed: it was cut off"),
        (None, "<think>a</think>", "the answer is empty"),
        (None, "<think>\n\n</think>\n\n12", "the reasoning is empty"),
        (None, "<think>a</think><|begin_of_solution|>so", "its answer is never closed: it was cut off"),
        (None, "<think>a</think>b</think>c", "holds '</think>' where it neither opens nor closes the thinking"),
        (None, "<think>the tag <think> opens</think>c", "holds '<think>' where it neither opens nor closes the thinking"),
        (None, "Sure. <think>a</think>b", "holds '<think>' where it neither opens nor closes the thinking"),
        (None, "Sure. <think>a", "holds '<think>' where it neither opens nor closes the thinking"),
        (None, "a</think>b</thought>c", "holds '</think>' where it neither opens nor closes the thinking"),
        (None, "<|channel|>commentary<|message|>a<|end|><|channel|>final<|message|>b", "its channels are not one analysis"),
        ("close it with </think> in HTML", "12", "the text behind the thinking, in the reasoning, is not the answer"),
        ("a", "<think>b</think>12", "the thinking in the answer is not the reasoning"),
        ("a", "", "the answer is empty"),
    ],
)
def test_what_cannot_be_cut_in_one_way_alone_is_refused(reasoning: str | None, answer: str, reason: str) -> None:
    with pytest.raises(UnusableError) as refused:
        take_apart(answer, reasoning=reasoning)
    assert str(refused.value).startswith(reason)


def test_the_first_tag_of_a_text_is_named() -> None:
    assert tag_in("a [/THINK] b </think>") == "[/THINK]"
    assert tag_in("analysis of a final answer") is None


@pytest.mark.parametrize("end", ["<|im_end|>", "<|eot_id|>\n", "<\uff5cend▁of▁sentence\uff5c>", "<|end|><|return|>"])
def test_the_end_of_the_turn_is_no_part_of_the_answer(end: str) -> None:
    assert take_apart(f"<think>3 * 4 = 12</think>\n\n12{end}") == ("3 * 4 = 12", "12")
    assert end_of_turn_in(f"12{end}") == end.strip().removeprefix("<|end|>")
    assert take_apart(f"12{end}", reasoning="3 * 4 = 12") == ("3 * 4 = 12", "12")
