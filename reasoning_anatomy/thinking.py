"""The tags between which models think, and how a transcript is taken apart at them."""

import re
from typing import Final, NamedTuple

from reasoning_anatomy.errors import UnusableError


class ThinkingTags(NamedTuple):
    """What opens and what closes the thinking of a model."""

    opening: str
    closing: str


THINKING_TAGS: Final = (
    ThinkingTags("<think>", "</think>"),
    ThinkingTags("<thinking>", "</thinking>"),
    ThinkingTags("<thought>", "</thought>"),
    ThinkingTags("<reasoning>", "</reasoning>"),
    ThinkingTags("<seed:think>", "</seed:think>"),
    ThinkingTags("[THINK]", "[/THINK]"),
    ThinkingTags("◁think▷", "◁/think▷"),
    ThinkingTags("<|begin_of_thought|>", "<|end_of_thought|>"),
    ThinkingTags("<|START_THINKING|>", "<|END_THINKING|>"),
    ThinkingTags("<|channel>thought", "<channel|>"),
    ThinkingTags("<|channel|>analysis<|message|>", "<|end|>"),
)
"""By the models that use them: DeepSeek-R1, QwQ and Qwen3; Granite and others; Gemma and others in text; Nemotron and others in
text; Seed-OSS; Magistral; Kimi-VL-Thinking; OpenThoughts and Sky-T1; Command A Reasoning; Gemma 4; gpt-oss."""

_CHANNEL: Final = "<|channel|>"
_ANSWER_TAGS: Final = (
    ThinkingTags("<|begin_of_solution|>", "<|end_of_solution|>"),
    ThinkingTags("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
    ThinkingTags("<response>", "</response>"),
)
"""Around the answer behind the thinking: OpenThoughts and Sky-T1; Command A Reasoning; Granite."""

_IN_TEXT: Final = tuple(tags for tags in THINKING_TAGS if _CHANNEL not in tags.opening)
_TELLING: Final = (*(tag for tags in (*_IN_TEXT, *_ANSWER_TAGS[:2]) for tag in tags), _CHANNEL)
"""Tags that stand in a text only if its thinking was not taken apart, or if it speaks of them."""

_TAG: Final = re.compile("|".join(re.escape(tag) for tags in _IN_TEXT for tag in tags), re.IGNORECASE)
_CLOSINGS: Final = frozenset(tags.closing.casefold() for tags in _IN_TEXT)

_ENDS_OF_TURN: Final = (
    "<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<|endoftext|>", "</s>", "<end_of_turn>", "<turn|>", "<|return|>", "<|end|>",
    "<\uff5cend▁of▁sentence\uff5c>",
)  # fmt: skip
"""What stands behind an answer if its ids were decoded with their special tokens: ChatML, Llama 3, GPT-2 and others, Llama 2,
Gemma, DeepSeek, Phi and gpt-oss."""

_CHANNELS: Final = re.compile(
    r"(?:<\|start\|>assistant)?<\|channel\|>(\w+)<\|message\|>(.*?)(?:<\|end\|>|<\|return\|>|\Z)\s*", re.DOTALL
)
_CHANNELS_WITHOUT_TAGS: Final = re.compile(r"\s*analysis(.+?)assistantfinal((?:(?!assistantfinal).)*)", re.DOTALL)
"""What is left of channels if the special tokens were left out when the ids were decoded."""


class Transcript(NamedTuple):
    """The two parts of what a model wrote, without tags and without the white space around them."""

    reasoning: str
    answer: str


def tag_in(text: str) -> str | None:
    """Return the first tag in a text which says that thinking was not taken apart; None if there is none."""
    found = [(text.index(tag), tag) for tag in _TELLING if tag in text]
    if not found and _CHANNELS_WITHOUT_TAGS.fullmatch(text):
        return "assistantfinal"
    return min(found)[1] if found else None


def end_of_turn_in(text: str) -> str | None:
    """Return the token that ends a turn, if it is spelled behind a text; None if there is none."""
    text = text.strip()
    return next((end for end in _ENDS_OF_TURN if text.endswith(end) and text != end), None)


def take_apart(answer: str, *, reasoning: str | None = None) -> Transcript:
    """Take reasoning and answer of a model apart, whichever of the two fields the tags are in.

    Parameters
    ----------
    answer
        The answer; or the whole transcript, as it is if the model's thinking was not taken out of it.
    reasoning
        The reasoning, with or without tags, if it has a field of its own.

    Raises
    ------
    UnusableError
        The thinking is missing, was cut off, or stands there twice with different texts; or a tag is left, so that more than
        one cut would be possible. Nothing is guessed.

    Examples
    --------
    >>> take_apart("<think>3 * 4 = 12</think> So 12.")
    Transcript(reasoning='3 * 4 = 12', answer='So 12.')
    """
    of_answer = _cut(answer)
    if reasoning is None:
        if of_answer is None:
            raise UnusableError("has no reasoning that could be told from the answer: generate it, or name its key with --map")
        thinking, rest = _finished(of_answer)
    else:
        thinking, behind = _cut(reasoning) or (reasoning, None)
        rest = answer
        if of_answer is not None:
            repeated, rest = _finished(of_answer)
            if repeated.strip() and not _same(repeated, thinking):
                raise UnusableError("the thinking in the answer is not the reasoning: leave one of them out")
        if behind and behind.strip() and not _same(_without_tags(behind), _without_tags(rest)):
            raise UnusableError("the text behind the thinking, in the reasoning, is not the answer: leave one of them out")
    transcript = Transcript(thinking.strip(), _without_tags(rest))
    for part, text in transcript._asdict().items():
        if not text:
            raise UnusableError(f"the {part} is empty")
        if tag := tag_in(text):
            raise UnusableError(f"holds {tag!r} where it neither opens nor closes the thinking: take it apart by hand")
    return transcript


def behind_thinking(response: str, *, opened: bool = False) -> str | None:
    """Return what a response says when its thinking is over; None if its thinking is not closed.

    Parameters
    ----------
    response
        What a model wrote, with its tags in any case of letters. Unlike `take_apart`, this takes the last tag for the one that
        counts: an answer that follows several rounds of thinking is still an answer.
    opened
        Whether the prompt opened the thinking already.

    Examples
    --------
    >>> behind_thinking("<think>a</think> b"), behind_thinking("<think>a"), behind_thinking("b")
    (' b', None, 'b')
    """
    if _CHANNEL in response:
        finals = [message[2] for message in _CHANNELS.finditer(response) if message[1] == "final"]
        return finals[-1] if finals else None
    if match := _CHANNELS_WITHOUT_TAGS.fullmatch(response):
        return match[2]
    last = max(_TAG.finditer(response), key=re.Match.start, default=None)
    if last is None:
        return None if opened else _bare(response)
    return _bare(response[last.end() :]) if last[0].casefold() in _CLOSINGS else None


def _bare(answer: str) -> str:
    """Leave out the tags around an answer, closed or not, and the ends of turns behind it."""
    for tag in (*_ENDS_OF_TURN, *(tag for tags in _ANSWER_TAGS for tag in tags)):
        answer = answer.replace(tag, "")
    return answer


def _cut(text: str) -> tuple[str, str | None] | None:
    """Thinking, and what is behind it: None if it is not closed. None in place of both if there is no tag to cut at."""
    if _CHANNEL in text:
        return _cut_channels(text)
    if match := _CHANNELS_WITHOUT_TAGS.fullmatch(text):
        return match[1], match[2]
    start = text.lstrip()
    for tags in _IN_TEXT:
        if start.startswith(tags.opening):
            thinking, closing, rest = start.removeprefix(tags.opening).partition(tags.closing)
            return thinking, rest if closing else None
    closings = [tags.closing for tags in _IN_TEXT if tags.closing in text]
    if len(closings) == 1:
        thinking, _, rest = text.partition(closings[0])
        return thinking, rest
    if tag := tag_in(text):
        raise UnusableError(f"holds {tag!r} where it neither opens nor closes the thinking: take it apart by hand")
    return None


def _cut_channels(text: str) -> tuple[str, str | None]:
    messages = list(_CHANNELS.finditer(text.strip()))
    names = [message[1] for message in messages]
    is_whole = "".join(message[0] for message in messages) == text.strip()
    if not is_whole or names not in (["analysis"], ["analysis", "final"]):
        raise UnusableError("its channels are not one analysis and one final: take it apart by hand")
    return messages[0][2], messages[1][2] if len(messages) == 2 else None


def _finished(cut: tuple[str, str | None]) -> tuple[str, str]:
    thinking, rest = cut
    if rest is None:
        raise UnusableError("its thinking is never closed: it was cut off")
    return thinking, rest


def _without_tags(answer: str) -> str:
    text = answer.strip()
    for end in _ENDS_OF_TURN:
        text = text.removesuffix(end).rstrip()
    for tags in _ANSWER_TAGS:
        if text.startswith(tags.opening):
            if not text.endswith(tags.closing):
                raise UnusableError("its answer is never closed: it was cut off")
            return text.removeprefix(tags.opening).removesuffix(tags.closing).strip()
    return text


def _same(one: str, other: str) -> bool:
    """Whether two texts differ in white space at most."""
    return one.split() == other.split()
