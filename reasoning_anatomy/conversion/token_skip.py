"""Predictions of TokenSkip."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

from reasoning_anatomy.conversion._chat import read_chat
from reasoning_anatomy.conversion._samples import Row, Sample
from reasoning_anatomy.errors import UnusableError

_ANSWER: Final = "The final answer is"


@dataclass(frozen=True, kw_only=True)
class TokenSkip:
    """Predictions of TokenSkip: the output is cut before its last sentence, "The final answer is ...".

    References
    ----------
    Xia et al., TokenSkip: Controllable Chain-of-Thought Compression in LLMs, arXiv:2502.12067.
    """

    keys: ClassVar[tuple[tuple[str, ...], ...]] = (("messages", "model_output", "prediction", "accuracy"),)

    def convert(self, row: Row) -> Iterator[Sample]:
        """Cut the output where the paper's code cuts it."""
        output = row.text("model_output")
        if output.count(_ANSWER) != 1:
            raise UnusableError(f"its output does not hold {_ANSWER!r} once, so reasoning and answer cannot be told apart")
        reasoning, answer = output.split(_ANSWER)
        chat = read_chat(row.items("messages"))
        yield Sample(
            question=chat.question,
            reasoning=reasoning,
            answer=_ANSWER + answer,
            gold_answer=row.optional("answer"),
            is_correct=row.verdict("accuracy"),
            system_prompt=chat.system_prompt,
            did=(f"the output was cut before {_ANSWER!r}",),
        )
