"""Chains of this library whose thinking was not taken apart, or that lack ids."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from reasoning_anatomy.conversion._samples import Row, Sample
from reasoning_anatomy.errors import UnusableError
from reasoning_anatomy.thinking import tag_in
from reasoning_anatomy.types import ReasoningChain


@dataclass(frozen=True, kw_only=True)
class Chains:
    """Question, reasoning and answer by these names: chains of this library, with or without ids."""

    keys: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("question", "reasoning", "answer"),
        ("question", "reasoning_content", "content"),
    )

    def convert(self, row: Row) -> Iterator[Sample]:
        """Keep every field; further fields go into the source."""
        source = row.get("source") or {}
        read = {*ReasoningChain.model_fields, "reasoning_content", "content"}
        further = {name: value for name, value in row.record.items() if name not in read}
        if not isinstance(source, Mapping) or further.keys() & source.keys():
            raise UnusableError("'source' is not an object, or has a key that stands beside it too")
        reasoning, answer = (
            row.optional(ours) if row.optional(ours) is not None else row.optional(theirs)
            for ours, theirs in (("reasoning", "reasoning_content"), ("answer", "content"))
        )
        if answer is None and reasoning is not None and tag_in(reasoning):
            reasoning, answer = None, reasoning  # the whole transcript
        if answer is None:
            raise UnusableError("has no 'answer'")
        yield Sample(
            question=row.text("question"),
            reasoning=reasoning,
            answer=answer,
            gold_answer=row.optional("gold_answer"),
            is_correct=row.verdict("is_correct"),
            system_prompt=row.optional("system_prompt"),
            step_starts=row.get("step_starts"),
            chain_id=row.optional("chain_id"),
            question_id=row.optional("question_id"),
            source={**further, **source},
        )
