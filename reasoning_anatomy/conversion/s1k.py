"""s1K and s1K-1.1."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from reasoning_anatomy.conversion._samples import Row, Sample
from reasoning_anatomy.errors import UnusableError


@dataclass(frozen=True, kw_only=True)
class S1k:
    """s1K and s1K-1.1: one chain for each teacher of a row, Gemini and DeepSeek-R1.

    References
    ----------
    Muennighoff et al., s1: Simple test-time scaling, arXiv:2501.19393.
    """

    keys: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("question", "solution", "thinking_trajectories", "attempt"),
        ("question", "solution", "deepseek_thinking_trajectory", "deepseek_attempt"),
    )

    def convert(self, row: Row) -> Iterator[Sample]:
        """Make a chain of each trajectory with its attempt."""
        teachers = {"gemini": ("gemini_thinking_trajectory", "gemini_attempt")}
        if row.get("gemini_thinking_trajectory") is None:
            teachers = {"gemini": ("thinking_trajectories.0", "attempt")}
            if row.get("thinking_trajectories.1") is not None:
                raise UnusableError("has several trajectories and one attempt")
        teachers["deepseek"] = ("deepseek_thinking_trajectory", "deepseek_attempt")
        present = {name: keys for name, keys in teachers.items() if row.get(keys[0]) is not None}
        if not present:
            raise UnusableError("has no trajectory")
        for teacher, (reasoning, answer) in present.items():
            yield Sample(
                question=row.text("question"),
                reasoning=row.text(reasoning),
                answer=row.optional(answer) or "",
                gold_answer=row.optional("solution"),
                is_correct=row.verdict(f"{teacher}_grade"),
                part=teacher,
                source={"teacher": teacher},
            )
