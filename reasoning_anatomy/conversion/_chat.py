"""Messages of a chat: one question, one reply."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from reasoning_anatomy.conversion._samples import as_text
from reasoning_anatomy.errors import UnusableError

_ROLES: Final = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant",
    "model": "assistant",
}  # fmt: skip
_REASONING: Final = ("reasoning_content", "reasoning", "thinking")
"""Fields beside ``content``: of vLLM until 0.10 and DeepSeek, of vLLM since 0.11 and OpenRouter, of Ollama."""


@dataclass(frozen=True)
class Reply:
    """What a model wrote: the answer, and the reasoning if it has a field of its own."""

    answer: str
    reasoning: str | None


@dataclass(frozen=True)
class Chat:
    """A question with its system prompt, and the reply if there is one."""

    question: str
    system_prompt: str | None
    reply: Reply | None


def read_chat(messages: Sequence[Any]) -> Chat:
    """Read messages of one turn, as ``role`` and ``content`` or as ``from`` and ``value``."""
    by_role: dict[str, Mapping[str, Any]] = {}
    roles = []
    for message in messages:
        if not isinstance(message, Mapping):
            raise UnusableError("a message is not an object with keys")
        name = str(message.get("role", message.get("from")))
        if name not in _ROLES:
            raise UnusableError(f"has a message of the role {name!r}: only question and reply can be measured")
        roles.append(_ROLES[name])
        by_role[_ROLES[name]] = message
    if [role for role in roles if role != "system"] not in (["user"], ["user", "assistant"]) or roles.count("system") > 1:
        raise UnusableError("is not one question with one reply")
    system = read_reply(by_role["system"]).answer if "system" in by_role else None
    reply = read_reply(by_role["assistant"]) if "assistant" in by_role else None
    return Chat(read_reply(by_role["user"]).answer, system or None, reply)


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


def reply_of(chat: Chat) -> Reply:
    """Return the reply of a chat that must have one."""
    if chat.reply is None:
        raise UnusableError("has no reply: generate one first")
    return chat.reply


def _parts(content: Sequence[Any], kind: str) -> list[str]:
    texts = []
    for part in content:
        if not isinstance(part, Mapping) or part.get("type") not in ("text", "thinking"):
            raise UnusableError("has a part that is not text")
        if part["type"] == kind:
            texts.append(as_text(part.get(kind), kind) or "")
    return texts
