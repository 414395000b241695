"""Which units of a text no annotator for English can be sure of."""

from annotations._text.layout import Layout
from annotations._text.units import Kind
from reasoning_anatomy.language import in_another_script, is_english


def without_confidence(layout: Layout) -> list[bool]:
    """Whether each unit is a word of another script, or a word in a text whose prose is not English."""
    english = is_english(layout.text)
    return [unit.kind is Kind.WORD and (not english or in_another_script(unit.text)) for unit in layout.units]
