"""MMLU-Pro."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

from reasoning_anatomy.answers.marks import ANSWER_IS, cut_once
from reasoning_anatomy.conversion._samples import Row, Sample
from reasoning_anatomy.errors import UnusableError
from reasoning_anatomy.rows import as_text

_OPENING: Final = re.compile(r"\A\s*A: Let's think step by step\.\s*")
_LETTERS: Final = "ABCDEFGHIJKLMNOP"


@dataclass(frozen=True, kw_only=True)
class MmluPro:
    """MMLU-Pro: the chain of thought of its validation rows; the test rows have none.

    References
    ----------
    Wang et al., MMLU-Pro: A More Robust and Challenging Multi-Task Language Understanding Benchmark, arXiv:2406.01574.
    """

    keys: ClassVar[tuple[tuple[str, ...], ...]] = (("question", "options", "answer_index", "cot_content"),)

    def convert(self, row: Row) -> Iterator[Sample]:
        """Cut the chain of thought before its last sentence."""
        thought = row.optional("cot_content")
        if thought is None:
            raise UnusableError("has no reasoning: test rows have no chain of thought; generate the reasoning first")
        cut = cut_once(thought, ANSWER_IS)
        if cut is None:
            raise UnusableError(f"its chain of thought does not hold {ANSWER_IS!r} once")
        reasoning, answer = cut
        options = [as_text(option, "options") for option in row.items("options")]
        lines = [f"{letter}. {option}" for letter, option in zip(_LETTERS, options, strict=False)]
        yield Sample(
            question="\n".join([row.text("question"), *lines]),
            reasoning=_OPENING.sub("", reasoning),
            answer=ANSWER_IS + answer,
            gold_answer=row.optional("answer"),
            did=(f"the options were put below the question, and the chain of thought was cut before {ANSWER_IS!r}",),
        )
