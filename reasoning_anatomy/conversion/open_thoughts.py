"""OpenThoughts, and other conversations in its form."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from reasoning_anatomy.conversion._chat import read_chat, reply_of
from reasoning_anatomy.conversion._samples import Row, Sample


@dataclass(frozen=True, kw_only=True)
class OpenThoughts:
    """OpenThoughts and other sets of conversations, with the thinking in tags.

    References
    ----------
    Guha et al., OpenThoughts: Data Recipes for Reasoning Models, arXiv:2506.04178.
    """

    keys: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("conversations",),
        ("problem", "deepseek_reasoning", "deepseek_solution"),
    )

    def convert(self, row: Row) -> Iterator[Sample]:
        """Read the conversation, beside which the system prompt may stand, or the metadata that it was made of."""
        if row.get("conversations") is None:
            yield Sample(
                question=row.text("problem"), reasoning=row.text("deepseek_reasoning"), answer=row.text("deepseek_solution")
            )
            return
        chat = read_chat(row.items("conversations"))
        reply = reply_of(chat)
        yield Sample(
            question=chat.question,
            answer=reply.answer,
            reasoning=reply.reasoning,
            system_prompt=chat.system_prompt or row.optional("system"),
            did=("thinking cut out of the reply at its tags",) if reply.reasoning is None else (),
        )
