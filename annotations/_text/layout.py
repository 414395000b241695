"""What the characters alone say about a text: its units, and where its formulas and marks are."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from annotations._text.formulas import find_formulas
from annotations._text.structure import find_structure, lines
from annotations._text.units import Kind, Unit, scan


@dataclass(frozen=True)
class Layout:
    r"""Units of a text and their surroundings.

    Attributes
    ----------
    text, units
        The text and its units from left to right.
    formula
        Whether each unit is in a delimited formula or in an argument of a LaTeX command.
    in_text
        Whether each unit is in a text group such as the argument of ``\text``.
    is_mark
        Whether each unit is list, heading or Markdown structure.
    """

    text: str
    units: Sequence[Unit]
    formula: Sequence[bool]
    in_text: Sequence[bool]
    is_mark: Sequence[bool]

    def joined(self, index: int) -> bool:
        """Whether this unit touches the one before it."""
        return index > 0 and self.units[index - 1].end == self.units[index].start

    def word(self, index: int) -> str:
        """Lower-case text of a unit; empty beyond the ends of the text."""
        return self.units[index].lower if 0 <= index < len(self.units) else ""

    def is_word(self, index: int) -> bool:
        """Whether this unit is a word of two or more letters."""
        return 0 <= index < len(self.units) and self.units[index].kind is Kind.WORD and len(self.units[index].text) > 1

    @cached_property
    def lines(self) -> list[tuple[int, int]]:
        """Half-open index ranges of the units of every line."""
        return lines(self.text, list(self.units))

    @cached_property
    def point_letters(self) -> frozenset[str]:
        """Capital letters that name points: A, B and C, for ``ABC`` in a formula or after ``triangle``."""
        return frozenset(
            letter
            for index, unit in enumerate(self.units)
            if unit.text.isascii() and unit.text.isupper() and 2 <= len(unit.text) <= 4
            if (self.formula[index] and not self.in_text[index])
            or self.word(index - 1) in {"triangle", "quadrilateral", "rectangle"}
            for letter in unit.text
        )

    @cached_property
    def formula_letters(self) -> frozenset[str]:
        """Single letters in delimited formulas."""
        letters = (unit.text for index, unit in enumerate(self.units) if self.formula[index] and not self.in_text[index])
        return frozenset(letter for letter in letters if len(letter) == 1 and letter.isalpha())

    @cached_property
    def variables(self) -> frozenset[str]:
        """Single letters used as symbols: in delimited formulas, or beside ``=``, ``+`` or ``^``."""
        return self.formula_letters | {
            unit.text for index, unit in enumerate(self.units) if len(unit.text) == 1 and self._is_in_equation(index)
        }

    def _is_in_equation(self, index: int) -> bool:
        """Whether a letter is next to an operator, and not a unit of measure as the ``h`` of ``2.5 h = 150 min`` is."""
        measures = index > 0 and (
            (not self.joined(index) and self.units[index - 1].kind is Kind.NUMBER)
            or (self.word(index - 1) == "/" and self.is_word(index - 2))
        )
        beside = {self.word(index - 1), self.word(index + 1)} & {"=", "+", "^"}
        return self.units[index].kind is Kind.WORD and bool(beside) and not measures


def read_layout(text: str) -> Layout:
    """Scan a text and find its formulas and its structure."""
    units = scan(text)
    formulas = find_formulas(text, units)
    return Layout(text, units, formulas.inside, formulas.in_text, find_structure(text, units, formulas.inside))
