"""Which chains are on the same question: by its text, whatever id it was given."""

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from reasoning_anatomy.types import ReasoningChain

_SHOWN = 3


def normalised_question(question: str) -> str:
    """Return what makes two questions the same: their characters in the form NFC, with single spaces between the words."""
    return " ".join(unicodedata.normalize("NFC", question).split())


def question_id_of(question: str) -> str:
    """Make the id of a question from its normalised text; capital letters count."""
    text = normalised_question(question)
    return f"question-{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:12]}"


def question_notes(chains: Iterable[ReasoningChain]) -> list[str]:
    """Say if the ids of questions do not fit their texts, which decides the number of questions in every statistic.

    Returns
    -------
    One sentence for questions that have several ids, and one for ids that several questions have; none if all is well.
    """
    ids: defaultdict[str, set[str]] = defaultdict(set)
    questions: defaultdict[str, set[str]] = defaultdict(set)
    for chain in chains:
        text = normalised_question(chain.question)
        ids[text].add(chain.question_id)
        questions[chain.question_id].add(text)
    notes = []
    if several := {text: found for text, found in ids.items() if len(found) > 1}:
        text, found = next(iter(several.items()))
        notes.append(
            f"{_n(several, 'question')} with several question_ids, such as {_some(found)} for {_shown(text)}: every id counts "
            "as a question of its own in all statistics; give all chains on one question the same id"
        )
    if several := {question_id: found for question_id, found in questions.items() if len(found) > 1}:
        question_id, found = next(iter(several.items()))
        notes.append(
            f"{_n(several, 'question_id')} with several questions, such as {question_id!r} for "
            f"{' and '.join(_shown(text) for text in sorted(found)[:2])}: they count as one question in all statistics; give "
            "each its own id, unless they are variants of one question"
        )
    return notes


def _n(several: dict[str, set[str]], noun: str) -> str:
    return f"1 {noun}" if len(several) == 1 else f"{len(several)} {noun}s"


def _some(names: set[str]) -> str:
    first = sorted(names)[:_SHOWN]
    return ", ".join(map(repr, first)) + (", ..." if len(names) > _SHOWN else "")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
