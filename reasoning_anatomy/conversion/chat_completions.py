"""Responses of an inference server."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from reasoning_anatomy.conversion._chat import Chat, read_chat
from reasoning_anatomy.conversion._samples import Row, Sample
from reasoning_anatomy.errors import UnusableError
from reasoning_anatomy.replies import Reply, read_reply
from reasoning_anatomy.rows import as_text


@dataclass(frozen=True, kw_only=True)
class ChatCompletions:
    """Responses of vLLM and other servers in the form of OpenAI, with the question or the messages beside them."""

    keys: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("choices",),
        ("messages", "choices"),
        ("request", "response"),
        ("custom_id", "response"),
    )

    def convert(self, row: Row) -> Iterator[Sample]:
        """Make a chain of each choice."""
        response = "" if row.get("choices") else "response.body." if row.get("response.body") else "response."
        chat, choices = _asked(row), row.items(f"{response}choices")
        model = row.optional(f"{response}model")
        for number, choice in enumerate(choices):
            reply = _reply(choice)
            yield Sample(
                question=chat.question,
                answer=reply.answer,
                reasoning=reply.reasoning,
                system_prompt=chat.system_prompt,
                part=str(number) if len(choices) > 1 else "",
                source={"teacher": model} if model else {},
                fault="was cut off (finish_reason is length)" if choice.get("finish_reason") == "length" else "",
            )


def _asked(row: Row) -> Chat:
    for key in ("messages", "request.messages", "request.body.messages"):
        if row.get(key):
            return read_chat(row.items(key))
    if row.get("question"):
        return Chat(row.text("question"), row.optional("system_prompt"), None)
    raise UnusableError("has no question: a response does not hold it; put 'messages' of its request, or 'question', beside it")


def _reply(choice: Any) -> Reply:
    if not isinstance(choice, Mapping):
        raise UnusableError("a choice is not an object with keys")
    message = choice.get("message")
    return read_reply(message) if isinstance(message, Mapping) else Reply(as_text(choice.get("text"), "text") or "", None)
