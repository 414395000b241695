"""OpenR1-Math."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from reasoning_anatomy.conversion._samples import Row, Sample
from reasoning_anatomy.rows import as_text, as_truth


@dataclass(frozen=True, kw_only=True)
class OpenR1:
    """OpenR1-Math: several generations of DeepSeek-R1 a row, each a chain, with the verdicts of the data set.

    References
    ----------
    Hugging Face, Open R1, github.com/huggingface/open-r1.
    """

    keys: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("problem", "generations", "is_reasoning_complete", "correctness_math_verify"),
        ("problem", "generations"),
    )

    def convert(self, row: Row) -> Iterator[Sample]:
        """Make a chain of each generation."""
        generations = row.items("generations")
        for number, generation in enumerate(generations):
            complete = _of(row, "is_reasoning_complete", number)
            verdict, did = _verdict(row, number)
            yield Sample(
                question=row.text("problem"),
                answer=as_text(generation, "generations") or "",
                gold_answer=row.optional("answer"),
                is_correct=verdict,
                part=str(number) if len(generations) > 1 else "",
                did=("thinking cut out of the generation at its tags", *did),
                fault="its thinking is never closed: it was cut off" if complete is False else "",
            )


def _of(row: Row, key: str, number: int) -> bool | None:
    return as_truth(row.get(f"{key}.{number}"), key)


def _verdict(row: Row, number: int) -> tuple[bool | None, tuple[str, ...]]:
    """Take the verdict of Math-Verify or of Llama; none if the two differ."""
    verdicts = {
        found for key in ("correctness_math_verify", "correctness_llama") if (found := _of(row, key, number)) is not None
    }
    if len(verdicts) > 1:
        return None, ("no verdict: Math-Verify and Llama differ",)
    return next(iter(verdicts), None), ()
