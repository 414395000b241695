"""The only reader of answers: what a response states as its answer, and by which rule that was found."""

import re
from typing import Final, Literal, NamedTuple

from reasoning_anatomy.answers.formulas import is_value
from reasoning_anatomy.answers.marks import Box, Statement, boxes, declared, sentence_start, stem_before, tagged
from reasoning_anatomy.answers.normal import normalised, unwrapped
from reasoning_anatomy.answers.quantities import choice_of
from reasoning_anatomy.answers.restating import last_number
from reasoning_anatomy.thinking import Transcript, behind_thinking

THINKING_NOT_CLOSED: Final = "thinking not closed"
BOX_NOT_CLOSED: Final = "box not closed"
NO_ANSWER: Final = "no answer found"

_LONGEST_EMPTY: Final = 1000  # characters of a box that may turn out to be empty
_MOST_BOXES: Final = 20
_LETTER_ALONE: Final = re.compile(r"[\W_]*(?:\\\w+\{)?(?:(?:option|choice|answer)\W*)?[A-Za-z][\W_]*", re.IGNORECASE)
_BETWEEN_BOXES: Final = re.compile(r"[\s$.;]*(?:,|;|and|or|,\s*(?:and|or))[\s$]*(?:\\?[A-Za-z](?:_\w)?\s*=\s*)?")
_NEXT_TURN: Final = re.compile(r"^[ \t]*\**(?:Question|Problem|Q|Human|User)\**[ \t]*\d*[ \t]*:", re.MULTILINE)
_LEAD: Final = re.compile(r"(?:(?:so|thus|hence|therefore|it\s+is|it's|that\s+is|that's)\b|=)[,:]?\s*", re.IGNORECASE)


class Reading(NamedTuple):
    """What was read.

    Attributes
    ----------
    text
        The answer as it is written, without what marks it; None if there is none.
    rule
        How it was found, or why not.
    """

    text: str | None
    rule: str


def read_answer(response: str, *, thinking_opened: bool = False, fallback: Literal["last_number"] | None = None) -> Reading:
    r"""Read the answer that a response states.

    In this order, in what stands behind the thinking: the last ``<answer>…</answer>``; the last ``\boxed{…}``; the last
    declaration (*the answer is*, *Answer:*, ``####``); a letter that stands alone on its line; the whole response, if it is
    nothing but a value. A question that the model goes on to ask itself ends the response.

    Parameters
    ----------
    response
        What the model wrote.
    thinking_opened
        Whether the prompt ended with the opening tag of the thinking.
    fallback
        ``"last_number"`` takes the last number of the text if nothing states an answer, as many published extractors do.

    Examples
    --------
    >>> read_answer(r"<think>\boxed{1}?</think>So it is \boxed{\frac{1}{2}}.")
    Reading(text='\\frac{1}{2}', rule='box')
    >>> read_answer("<think>The answer is 4"), read_answer("I make it 4 or so, all told.")
    (Reading(text=None, rule='thinking not closed'), Reading(text=None, rule='no answer found'))
    """
    text = behind_thinking(response, opened=thinking_opened)
    if text is None:
        return Reading(None, THINKING_NOT_CLOSED)
    if found := statements(text):
        return Reading(found[0].text, found[0].rule)
    if any(box.inside is None for box in boxes(text)):
        return Reading(None, BOX_NOT_CLOSED)
    if fallback == "last_number" and (number := last_number(text)):
        return Reading(number, "last number")
    return Reading(None, NO_ANSWER)


def statements(text: str) -> list[Statement]:
    """Find the answers that a text without thinking states, the one that counts first, at most one by each rule."""
    starts = [0, *(match.start() for match in _NEXT_TURN.finditer(text) if match.start())]
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        if found := _statements_of_turn(text[start:end]):
            return [statement._replace(start=statement.start + start) for statement in found]
    return []


def take_off_answer(text: str) -> Transcript:
    r"""Divide what a model without thinking tags wrote: the sentence or line that states the answer, and all before it.

    Without a statement the last line is the answer. Either part may be empty.

    >>> take_off_answer("3 rows of 4 are 12. So the answer is 12.\n")
    Transcript(reasoning='3 rows of 4 are 12.', answer='So the answer is 12.')
    """
    text = text.strip()
    found = statements(text)
    start = _sentence_of(text, found[0].start) if found else text.rfind("\n") + 1
    return Transcript(text[:start].strip(), text[start:].strip())


def _statements_of_turn(text: str) -> list[Statement]:
    if tag := tagged(text):
        inner = [statement for statement in _statements_of_turn(tag.text) if statement.rule in ("box", "boxes", "declared")]
        return [(inner[0] if inner else tag)._replace(start=tag.start)]
    found = boxes(text)
    if found and found[-1].inside is None:
        return []
    return [statement for statement in (_boxed(text), declared(text), _letter_alone(text), _whole(text)) if statement]


def _boxed(text: str) -> Statement | None:
    """Return the last box with something in it, together with those that are listed right before it."""
    group: list[tuple[str, Box]] = []
    for box in reversed(_outer_boxes(text)):
        if box.inside is None or _is_empty(box.inside):
            continue
        if group and (len(group) == _MOST_BOXES or not _BETWEEN_BOXES.fullmatch(text, box.end, group[-1][1].start)):
            break
        group.append((_innermost(box.inside), box))
    if not group:
        return None
    contents = [inside for inside, _ in reversed(group)]
    if len({normalised(inside) for inside in contents}) == 1:
        return Statement(contents[-1], "box", group[0][1].start)
    return Statement(", ".join(contents), "boxes", group[-1][1].start)


def _outer_boxes(text: str) -> list[Box]:
    outer: list[Box] = []
    for box in boxes(text):
        if not outer or box.start >= outer[-1].end:
            outer.append(box)
    return outer


def _is_empty(inside: str) -> bool:
    return len(inside) <= _LONGEST_EMPTY and not normalised(inside)


def _innermost(inside: str) -> str:
    """Return what a box in a box holds, or what a sentence in a box declares."""
    inner = [box.inside for box in boxes(inside) if box.inside]
    inside = (inner[-1] if inner else inside).strip()
    statement = declared(unwrapped(inside))
    return statement.text if statement else inside


def _letter_alone(text: str) -> Statement | None:
    """Return the letter of a choice that is all there is on a line; None if there are several different ones."""
    found: dict[str, Statement] = {}
    position = 0
    for line in text.splitlines(keepends=True):
        if _LETTER_ALONE.fullmatch(line) and (choice := choice_of(normalised(line))) and not choice[1]:
            found[choice[0]] = Statement(line.strip(), "letter alone", position)
        position += len(line)
    return next(iter(found.values())) if len(found) == 1 else None


def _whole(text: str) -> Statement | None:
    """Return the response if it is one line that is a value and says no more."""
    bare = text.strip()
    if not bare or "\n" in bare:
        return None
    lead = _LEAD.match(bare)
    bare = bare[lead.end() :] if lead else bare
    return Statement(bare, "whole response", text.index(bare)) if is_value(bare, words=not lead) else None


def _sentence_of(text: str, position: int) -> int:
    """Return where the sentence that states an answer begins; a stem before a displayed box belongs to it."""
    start = sentence_start(text, position)
    stem = stem_before(text, position)
    return start if stem is None else min(start, sentence_start(text, stem))
