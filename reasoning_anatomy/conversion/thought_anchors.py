"""Base solutions of Thought Anchors."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from reasoning_anatomy.conversion._samples import Row, Sample
from reasoning_anatomy.rows import as_text
from reasoning_anatomy.thinking import THINKING_TAGS, tag_in


@dataclass(frozen=True, kw_only=True)
class ThoughtAnchors:
    """Base solutions of Thought Anchors rollouts, with the right answer from the problem.json beside them.

    References
    ----------
    Bogdan et al., Thought Anchors: Which LLM Reasoning Steps Matter?, arXiv:2506.19143.
    """

    keys: ClassVar[tuple[tuple[str, ...], ...]] = (("prompt", "solution", "full_cot", "answer"),)
    only_file_in_folders: ClassVar[str] = "base_solution.json"
    reads_beside: ClassVar[tuple[str, ...]] = ("problem.json",)

    def convert(self, row: Row) -> Iterator[Sample]:
        """Cut the solution at its closing tag; a solution without one goes before the answer that was found in it."""
        prompt, solution = row.text("prompt").rstrip(), row.text("solution")
        for tags in THINKING_TAGS:
            prompt = prompt.removesuffix(tags.opening).rstrip()
        has_tag = tag_in(solution) is not None
        yield Sample(
            question=prompt,
            reasoning=None if has_tag else solution,
            answer=solution if has_tag else row.optional("answer") or "",
            gold_answer=as_text(Row(row.beside.get("problem.json", {})).get("gt_answer"), "gt_answer"),
            is_correct=row.verdict("is_correct"),
            did=(
                "thinking cut out of the solution at its tags" if has_tag else "the answer was taken from its own key",
                "the question is the prompt without the opening tag",
            ),
        )
