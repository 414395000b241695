"""Messages of a chat: one question, one reply."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from reasoning_anatomy.errors import UnusableError
from reasoning_anatomy.replies import Reply, read_reply

_ROLES: Final = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant",
    "model": "assistant",
}  # fmt: skip


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


def reply_of(chat: Chat) -> Reply:
    """Return the reply of a chat that must have one."""
    if chat.reply is None:
        raise UnusableError("has no reply: generate one first")
    return chat.reply
