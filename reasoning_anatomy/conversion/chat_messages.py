"""Messages of a chat."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from reasoning_anatomy.conversion._chat import read_chat, reply_of
from reasoning_anatomy.conversion._samples import Row, Sample


@dataclass(frozen=True, kw_only=True)
class ChatMessages:
    """Messages of a chat with one reply, whose thinking is in tags or in a field of its own."""

    keys: ClassVar[tuple[tuple[str, ...], ...]] = (("messages",),)

    def convert(self, row: Row) -> Iterator[Sample]:
        """Read the messages."""
        chat = read_chat(row.items("messages"))
        reply = reply_of(chat)
        yield Sample(
            question=chat.question,
            answer=reply.answer,
            reasoning=reply.reasoning,
            system_prompt=chat.system_prompt,
            did=("thinking cut out of the reply at its tags",) if reply.reasoning is None else (),
        )
