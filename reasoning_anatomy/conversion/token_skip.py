"""Predictions of TokenSkip."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from reasoning_anatomy.answers.marks import FINAL_ANSWER_IS, cut_once
from reasoning_anatomy.conversion._chat import read_chat
from reasoning_anatomy.conversion._samples import Row, Sample
from reasoning_anatomy.errors import UnusableError


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
        cut = cut_once(row.text("model_output"), FINAL_ANSWER_IS)
        if cut is None:
            raise UnusableError(
                f"its output does not hold {FINAL_ANSWER_IS!r} once, so reasoning and answer cannot be told apart"
            )
        reasoning, answer = cut
        chat = read_chat(row.items("messages"))
        yield Sample(
            question=chat.question,
            reasoning=reasoning,
            answer=FINAL_ANSWER_IS + answer,
            gold_answer=row.optional("answer"),
            is_correct=row.verdict("accuracy"),
            system_prompt=chat.system_prompt,
            did=(f"the output was cut before {FINAL_ANSWER_IS!r}",),
        )
