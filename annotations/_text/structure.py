# ruff: noqa: RUF001 - look-alike symbols are the subject of this file
"""List, heading and Markdown structure (guideline rule 9): which units only lay the text out."""

import itertools
import re
from typing import Final

from annotations._text.units import Kind, Unit

_LINE_HEAD: Final = re.compile(
    r"(?:[^\S\n]*>)*[^\S\n]*(?P<bullet>[-*+•][^\S\n]+(?=\*\*))?(?:\*{2,3})?[^\S\n]*"
    r"(?P<mark>\#{1,6}(?=\s|[*A-Z])|[-*+•‣◦–—▪●](?=[^\S\n])|\(?(?:\d{1,3}|[A-Za-z]|[ivx]{1,4})\)(?=\s|\*|$)|\d{1,3}[.:](?=[^\S\n]|$|\*)|[A-Za-z]\.(?=[^\S\n]|\*))?"
)
_RULE: Final = re.compile(r"[^\S\n]*(?:-{3,}|\*{3,}|_{3,}|={3,}|[-*_](?: [-*_]){2,})[^\S\n]*$")
_TABLE: Final = re.compile(r"[^\S\n]*\|.*\|[^\S\n]*\r?$")
_NUMBERED: Final = re.compile(
    r"\b(?:steps?|cases?|parts?|methods?|options?|equations?|approach|examples?|question|problem|phase)$", re.I
)
_FENCES: Final = ("```", "~~~")


def find_structure(text: str, units: list[Unit], formula: list[bool]) -> list[bool]:
    """Mark units that are list numbers, bullets, heading signs, emphasis, code fences, tags or table lines."""
    is_mark = [False] * len(units)
    for start, stop in lines(text, units):
        if not formula[start]:
            _mark_line(text, units, start, stop, is_mark)
            _mark_run_in_heading(units, start, stop, is_mark)
        _mark_numbered(units, start, stop, is_mark, formula)
    for index, unit in enumerate(units):
        if not formula[index] and not is_mark[index]:
            is_mark[index] = _is_inline_mark(text, unit)
    return is_mark


def lines(text: str, units: list[Unit]) -> list[tuple[int, int]]:
    """Half-open index ranges of the units of every line that has any."""
    starts = [
        index for index, unit in enumerate(units) if index == 0 or re.search(r"[\n\r]", text[units[index - 1].end : unit.start])
    ]
    return list(itertools.pairwise([*starts, len(units)]))


def _mark_line(text: str, units: list[Unit], start: int, stop: int, is_mark: list[bool]) -> None:
    begin = text.rfind("\n", 0, units[start].start) + 1
    end = units[stop - 1].end
    line = text[begin:end]
    if _RULE.match(line):
        is_mark[start:stop] = [True] * (stop - start)
        return
    head = _LINE_HEAD.match(line)
    mark_end = begin + max(head.end("mark"), head.end("bullet")) if head else -1
    if head and mark_end >= begin and not _opens_formula(text, units, start, stop, mark_end):
        for index in range(start, stop):
            is_mark[index] = is_mark[index] or units[index].end <= mark_end
        if (head["mark"] or "").startswith("#"):
            _mark_heading_colon(units, start, stop, is_mark)
    if units[start].text == ">":
        is_mark[start] = True
    if _TABLE.match(line):
        for index in range(start, stop):
            is_mark[index] = is_mark[index] or not units[index].text.strip("|-:")


def _opens_formula(text: str, units: list[Unit], start: int, stop: int, mark_end: int) -> bool:
    """Whether ``- 5 + 3 = -2`` or ``* 3 = 12`` continues a computation rather than opening a list item."""
    after = [unit for unit in units[start:stop] if unit.start >= mark_end][:2]
    if len(after) < 2 or units[start].text not in ("-", "+", "*", "–", "—"):
        return False
    return after[0].kind is Kind.NUMBER and after[1].text in ("=", "+", "*", "/", "×") and units[start].text != "-"


def _mark_heading_colon(units: list[Unit], start: int, stop: int, is_mark: list[bool]) -> None:
    for index in range(start, stop):
        if units[index].text == ":" and (index + 1 == stop or is_mark[index - 1]):
            is_mark[index] = True


def _mark_run_in_heading(units: list[Unit], start: int, stop: int, is_mark: list[bool]) -> None:
    """Mark the colon of a heading in bold at the head of a line: ``**Final answer:** 5``, ``**Cost**: 5``."""
    opening = next((index for index in range(start, stop) if not is_mark[index]), stop)
    if opening == stop or units[opening].text != "**":
        return
    closing = next((index for index in range(opening + 1, stop) if units[index].text == "**"), stop)
    for index in (closing - 1, closing + 1):
        if closing < stop and index < stop and units[index].text == ":":
            is_mark[index] = True


def _mark_numbered(units: list[Unit], start: int, stop: int, is_mark: list[bool], formula: list[bool]) -> None:
    """Mark the number in ``Step 2:``, and its colon."""
    for index in range(start, stop - 1):
        number = units[index + 1]
        if formula[index + 1] or units[index].kind is not Kind.WORD or not _NUMBERED.search(units[index].text):
            continue
        is_counter = number.kind is Kind.NUMBER and number.text.isdigit() and len(number.text) < 3
        after = units[index + 2] if index + 2 < stop else None
        if after and (after.text in set("=+-*/^×÷<>≤≥") or (after.start == number.end and after.kind is not Kind.SYMBOL)):
            continue
        if is_counter or (number.kind is Kind.WORD and number.text in "ABCDEF" and units[index].text[0].isupper()):
            is_mark[index + 1] = True
            if index + 2 < stop and units[index + 2].text in (":", ".", ")") and all(is_mark[start:index]):
                is_mark[index + 2] = units[index + 2].text != "." or index + 3 < stop


def _is_inline_mark(text: str, unit: Unit) -> bool:
    if unit.text[:3] in _FENCES or unit.text in ("`", "***", "__"):
        return True
    if unit.text == "**":
        return not _between_operands(text, unit)
    if unit.text in ("*", "_"):
        before, after = text[max(unit.start - 1, 0) : unit.start], text[unit.end : unit.end + 1]
        opens = (not before or before.isspace() or before in "(\"'*") and after.isalpha()
        closes = (before.isalpha() or before in ".:!?,") and (not after or after.isspace() or after in ".,:;)\"'*")
        return bool(opens or (closes and before != ""))
    return len(unit.text) > 2 and unit.text[0] == "<" and unit.text[-1] == ">"


def _between_operands(text: str, unit: Unit) -> bool:
    """Whether ``**`` is a power, as in ``2**3`` or ``x ** 2``: between operands, with a space on both sides or on neither."""
    before, after = text[max(unit.start - 12, 0) : unit.start], text[unit.end : unit.end + 12]
    if before[-1:].isspace() != after[:1].isspace():
        return False
    starts = re.match(r"\s?(?:[\d(]|[a-z](?![A-Za-z]))", after)
    return bool(starts) and bool(re.search(r"(?:[\d)]|(?<![A-Za-z])[a-z]) ?$", before))
