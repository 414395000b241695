"""Rows in no known format, whose keys were named by hand."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from reasoning_anatomy.conversion._samples import Row, Sample
from reasoning_anatomy.errors import ChainFileError

_FIELDS: Final = (
    "question", "reasoning", "answer", "gold_answer", "is_correct", "system_prompt", "step_starts", "chain_id", "question_id",
)  # fmt: skip


@dataclass(frozen=True)
class Mapped:
    """Rows whose keys were named.

    Attributes
    ----------
    key_of
        Key by field of a chain. Without ``reasoning``, the answer is a transcript.
    """

    keys: ClassVar[tuple[tuple[str, ...], ...]] = ()

    key_of: Mapping[str, str]

    @classmethod
    def of(cls, mapping: Mapping[str, str]) -> Self:
        """Check the names of the fields."""
        if unknown := sorted(mapping.keys() - set(_FIELDS)):
            raise ChainFileError(f"--map {unknown[0]}=...: a chain has no such field; it has {', '.join(_FIELDS)}")
        if lacking := sorted({"question", "answer"} - mapping.keys()):
            raise ChainFileError(f"--map does not say which key holds the {lacking[0]}; add {lacking[0]}=KEY")
        return cls(mapping)

    def convert(self, row: Row) -> Iterator[Sample]:
        """Take each field from its key."""
        transcript_alone = "reasoning" not in self.key_of
        yield Sample(
            question=row.text(self.key_of["question"]),
            reasoning=None if transcript_alone else row.text(self.key_of["reasoning"]),
            answer=row.text(self.key_of["answer"]),
            gold_answer=self._optional(row, "gold_answer"),
            is_correct=row.verdict(self.key_of["is_correct"]) if "is_correct" in self.key_of else None,
            system_prompt=self._optional(row, "system_prompt"),
            step_starts=row.get(self.key_of["step_starts"]) if "step_starts" in self.key_of else None,
            chain_id=self._optional(row, "chain_id"),
            question_id=self._optional(row, "question_id"),
            did=("thinking cut out of the answer at its tags",) if transcript_alone else (),
        )

    def _optional(self, row: Row, field: str) -> str | None:
        return row.optional(self.key_of[field]) if field in self.key_of else None
