"""The tags between which models think."""

from typing import Final, NamedTuple


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
    ThinkingTags("<|begin_of_thought|>", "<|end_of_thought|>"),
    ThinkingTags("<|START_THINKING|>", "<|END_THINKING|>"),
    ThinkingTags("<|channel>thought", "<channel|>"),
    ThinkingTags("<|channel|>analysis<|message|>", "<|end|>"),
)
"""By the models that use them: DeepSeek-R1, QwQ and Qwen3; Granite and others; Gemma and others in text; Nemotron and others in
text; Seed-OSS; Magistral; OpenThoughts and Sky-T1; Command A Reasoning; Gemma 4; gpt-oss."""
