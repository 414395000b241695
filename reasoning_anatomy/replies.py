"""The message that a model wrote in a chat: its answer, and its reasoning if that stands apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from reasoning_anatomy.errors import UnusableError
from reasoning_anatomy.rows import as_text

_REASONING: Final = ("reasoning_content", "reasoning", "thinking")
"""Fields beside ``content``: of vLLM until 0.10 and DeepSeek, of vLLM since 0.11 and OpenRouter, of Ollama."""


@dataclass(frozen=True)
class Reply:
    """What a model wrote: the answer, and the reasoning if it has a field of its own."""

    answer: str
    reasoning: str | None


def read_reply(message: Mapping[str, Any]) -> Reply:
    """Read a message, whose text may be in parts and whose reasoning may be in a field or a part of its own."""
    if message.get("tool_calls"):
        raise UnusableError("calls tools: only question and reply can be measured")
    content = message.get("content", message.get("value"))
    reasoning = {text for key in _REASONING if (text := as_text(message.get(key), key))}
    if isinstance(content, list):
        reasoning |= {text for text in ["".join(_parts(content, "thinking"))] if text}
        content = "".join(_parts(content, "text"))
    if len(reasoning) > 1:
        raise UnusableError("has two different texts of reasoning")
    return Reply(as_text(content, "content") or "", next(iter(reasoning), None))


def _parts(content: Sequence[Any], kind: str) -> list[str]:
    texts = []
    for part in content:
        if not isinstance(part, Mapping) or part.get("type") not in ("text", "thinking"):
            raise UnusableError("has a part that is not text")
        if part["type"] == kind:
            texts.append(as_text(part.get(kind), kind) or "")
    return texts
