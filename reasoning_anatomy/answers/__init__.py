"""The only place where answers are read, compared and found again: in responses, gold answers and reasoning."""

from typing import TYPE_CHECKING

from reasoning_anatomy.lazy import lazy_names

if TYPE_CHECKING:
    from reasoning_anatomy.answers.judging import Judge, Judgement, judge_exactly
    from reasoning_anatomy.answers.reading import Reading, read_answer, take_off_answer
    from reasoning_anatomy.answers.restating import answer_values, restatements

__all__ = [
    "Judge",
    "Judgement",
    "Reading",
    "answer_values",
    "judge_exactly",
    "read_answer",
    "restatements",
    "take_off_answer",
]

__getattr__ = lazy_names(
    __name__,
    {
        "judging": ["Judge", "Judgement", "judge_exactly"],
        "reading": ["Reading", "read_answer", "take_off_answer"],
        "restating": ["answer_values", "restatements"],
    },
)
