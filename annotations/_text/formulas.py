r"""Formulas that the text itself delimits: ``$..$``, ``\(..\)``, ``\[..\]``, environments, braces of commands."""

import re
from dataclasses import dataclass
from typing import Final

from annotations._text.units import Kind, Unit

_CLOSERS: Final = {r"\(": r"\)", r"\[": r"\]", "$$": "$$"}
_TEXT_COMMANDS: Final = frozenset(
    rf"\{name}"
    for name in (
        "text",
        "textbf",
        "textit",
        "mbox",
        "mathrm",
        "mathbf",
        "textrm",
        "mathit",
        "texttt",
        "textnormal",
        "textsc",
        "textsf",
        "emph",
        "hbox",
        "intertext",
        "tag",
    )
)
_OPAQUE_COMMANDS: Final = frozenset(
    rf"\{name}" for name in ("begin", "end", "operatorname", "label", "ref", "hspace", "vspace")
)
_PROSE: Final = re.compile(r"(?<![\\A-Za-z])[A-Za-z]*[a-z][A-Za-z]+")
_TEXT_GROUP: Final = re.compile(r"\\(?:text|mbox|mathrm|operatorname)[a-z]*\*?\s*\{[^}]*\}")
MAX_UNITS: Final = 2_000
"""A delimiter whose partner is further away than this is taken as unbalanced."""


@dataclass(frozen=True)
class Formulas:
    """Which units are in a delimited formula (delimiters included), and which in a text group inside LaTeX."""

    inside: list[bool]
    in_text: list[bool]


def find_formulas(text: str, units: list[Unit]) -> Formulas:
    """Mark the units of delimited formulas, of arguments of LaTeX commands and of text groups.

    An unbalanced delimiter opens a formula up to the end of its line.
    """
    inside = [False] * len(units)
    in_text = [False] * len(units)
    _mark_delimited(text, units, inside)
    _mark_dollars(text, units, inside)
    _mark_arguments(units, inside, in_text)
    return Formulas(inside, in_text)


def _mark_delimited(text: str, units: list[Unit], inside: list[bool]) -> None:
    index = 0
    while index < len(units):
        unit = units[index]
        stop = index
        if unit.text in _CLOSERS:
            stop = _closing(text, units, index, _CLOSERS[unit.text])
        elif unit.text == r"\begin":
            stop = _environment_end(units, index)
        if stop > index:
            inside[index : stop + 1] = [True] * (stop + 1 - index)
        index = stop + 1


def _closing(text: str, units: list[Unit], opening: int, closer: str) -> int:
    for index in range(opening + 1, min(len(units), opening + MAX_UNITS)):
        if units[index].text == closer:
            return index
        if units[index].text in (r"\[", r"\("):
            break
    if closer == "$$":
        return opening
    index = opening
    while index + 1 < len(units) and "\n" not in text[units[index].end : units[index + 1].start]:
        index += 1
    return index


def _environment_end(units: list[Unit], opening: int) -> int:
    depth = 0
    for index in range(opening, min(len(units), opening + MAX_UNITS)):
        depth += (units[index].text == r"\begin") - (units[index].text == r"\end")
        if depth == 0:
            while index + 1 < len(units) and units[index].text != "}":
                index += 1
            return index
    return opening


def _mark_dollars(text: str, units: list[Unit], inside: list[bool]) -> None:
    opening: int | None = None
    for index, unit in enumerate(units):
        if unit.text != "$" or inside[index]:
            continue
        if opening is not None and _is_formula(text, units[opening].end, unit):
            inside[opening : index + 1] = [True] * (index + 1 - opening)
            opening = None
        else:
            opening = index if text[unit.end : unit.end + 1].strip() else None


def _is_formula(text: str, start: int, closer: Unit) -> bool:
    """Pandoc's rule against currency: no space before the closing sign, no digit after it; and no sentence inside."""
    content = text[start : closer.start]
    if not content or len(content) > 500 or content[-1].isspace() or text[closer.end : closer.end + 1].isdigit():
        return False
    n_words = len(_PROSE.findall(_TEXT_GROUP.sub("", content)))
    return n_words <= (3 if "\\" in content and "\n\n" not in content else 1 if "\n" not in content else -1)


def _mark_arguments(units: list[Unit], inside: list[bool], in_text: list[bool]) -> None:
    """Mark commands, the brace groups that follow them, and the words of text groups."""
    stack: list[bool] = []  # for every open brace: is it a text group?
    for index, unit in enumerate(units):
        previous = units[index - 1].text if index else ""
        if unit.text == "{":
            is_text = previous in _TEXT_COMMANDS or (bool(stack) and stack[-1])
            follows_command = index > 0 and (units[index - 1].kind is Kind.COMMAND or previous in ("}", "_", "^", "]"))
            if stack or inside[index] or (follows_command and inside[index - 1]):
                stack.append(is_text and previous not in _OPAQUE_COMMANDS)
        if unit.kind is Kind.COMMAND and (len(unit.text) > 2 or unit.text in _CLOSERS or inside[index]):
            inside[index] = True
        if stack:
            inside[index] = True
            in_text[index] = stack[-1] and unit.text not in "{}"
        if unit.text == "}" and stack:
            stack.pop()
        if len(stack) > 100 or (stack and index + 1 < len(units) and units[index + 1].start - unit.end > 200):
            stack.clear()
