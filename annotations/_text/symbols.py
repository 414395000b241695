# ruff: noqa: RUF001 - look-alike symbols are the subject of this file
"""Numbers, operators, LaTeX, brackets and punctuation: all that characters alone decide (rules 1, 2 and 9)."""

import unicodedata
from typing import Final

from annotations._text import lexicon
from annotations._text.layout import Layout
from annotations._text.lexicon import word_list
from annotations._text.units import Kind
from reasoning_anatomy.categories import ENTITY_NAME, FUNCTION, META_DISCOURSE, SYMBOLIC_MATH

MAX_INNER_UNITS: Final = 60
_CURRENCY: Final = frozenset("$€£¥₹₩₽¢")
_OPENING: Final = {"(": ")", "[": "]", "{": "}"}
_WORD_PAIRS: Final = frozenset({("and", "or"), ("he", "she"), ("she", "he"), ("his", "her"), ("yes", "no"), ("either", "or")})


def label_symbols(layout: Layout) -> list[str | None]:
    """Category of every unit that is not a word; None for words, which their sentence decides."""
    labels: list[str | None] = [_category(layout, index) for index in range(len(layout.units))]
    for start, stop in layout.lines:
        _label_brackets(layout, labels, start, stop)
    _label_raised_units(layout, labels)
    return labels


def _label_raised_units(layout: Layout, labels: list[str | None]) -> None:
    """Count the raised digit of ``12 m²`` as part of the unit of measure."""
    for index in range(2, len(labels)):
        unit = layout.units[index - 1]
        is_measure = unit.lower in _units_of_measure() | {"m", "s"} and layout.units[index - 2].kind is Kind.NUMBER
        if layout.units[index].text in {"²", "³"} and layout.joined(index) and is_measure and unit.text not in layout.variables:
            labels[index - 1] = labels[index] = ENTITY_NAME


def _category(layout: Layout, index: int) -> str | None:
    unit = layout.units[index]
    if layout.is_mark[index]:
        return META_DISCOURSE
    if unit.kind is Kind.NUMBER or unit.kind is Kind.COMMAND:
        return SYMBOLIC_MATH
    if unit.kind is Kind.WORD:
        return _category_of_letters(layout, index)
    if layout.formula[index]:
        return _category_in_formula(layout, index)
    return _category_in_prose(layout, index)


def _category_in_formula(layout: Layout, index: int) -> str:
    """Everything symbolic is mathematics, except the prose punctuation of a text group."""
    if layout.in_text[index] and layout.units[index].text in {",", ".", ":", ";", "?", "!", '"', "'", "’", "“", "”"}:
        return FUNCTION
    return SYMBOLIC_MATH


def _category_in_prose(layout: Layout, index: int) -> str:
    symbol = layout.units[index].text
    if symbol in word_list("operators") or symbol in _CURRENCY or (symbol[0] == "=" and symbol.strip("=") == ""):
        return SYMBOLIC_MATH
    if symbol in {"-", "–", "—", "--"}:
        return SYMBOLIC_MATH if _is_minus(layout, index) else FUNCTION
    if symbol == "/":
        return FUNCTION if (layout.word(index - 1), layout.word(index + 1)) in _WORD_PAIRS else SYMBOLIC_MATH
    if symbol in {"...", "…", "..", "...."}:
        return SYMBOLIC_MATH if _continues_series(layout, index) else FUNCTION
    if symbol in {":", ",", ".", "'", "’", "′"}:
        return SYMBOLIC_MATH if _within_number(layout, index) or _is_prime(layout, index) else FUNCTION
    if symbol == "?" and layout.word(index - 1) == "=":
        return SYMBOLIC_MATH
    if symbol == "!":
        return SYMBOLIC_MATH if _is_factorial(layout, index) else FUNCTION
    if symbol in {"~", "|", "_", "&", "#"}:
        return SYMBOLIC_MATH if _touches_operand(layout, index) else FUNCTION
    if symbol in {"✓", "✔", "✗", "✘", "∴", "•", "·", "■", "□"}:
        return META_DISCOURSE
    return _category_by_unicode(symbol)


def _category_by_unicode(symbol: str) -> str:
    if symbol in "\ufe0f\u200d\u20e3":  # the rest of an emoji
        return META_DISCOURSE
    kind = unicodedata.category(symbol[0])
    if kind in ("Sm", "No", "Nl", "Lm") or symbol in "°′″":
        return SYMBOLIC_MATH
    return META_DISCOURSE if kind == "So" else FUNCTION


def _is_operand(layout: Layout, index: int) -> bool:
    """Whether a unit is a number, a variable, a currency sign, a command or a round bracket."""
    if not 0 <= index < len(layout.units):
        return False
    unit = layout.units[index]
    if unit.kind is Kind.WORD:
        return len(unit.text) == 1 and unit.lower not in "ai"
    return unit.kind is not Kind.SYMBOL or unit.text in _CURRENCY or unit.text in ("(", ")")


def _touches_operand(layout: Layout, index: int) -> bool:
    after = index + 1 < len(layout.units) and layout.joined(index + 1) and _is_operand(layout, index + 1)
    return after or (layout.joined(index) and _is_operand(layout, index - 1))


def _is_minus(layout: Layout, index: int) -> bool:
    """Minus sign or range (``5 - 3``, ``-2``, ``12 apples - 3 apples``) rather than hyphen or dash."""
    before, after = _is_operand(layout, index - 1), _is_operand(layout, index + 1)
    if layout.formula[index - 1] if index else False:
        return after or layout.joined(index)
    touches_before = layout.joined(index)
    touches_after = index + 1 < len(layout.units) and layout.joined(index + 1)
    if touches_before and touches_after:
        return before and after
    if touches_after and not touches_before:
        return after
    if layout.units[index].text in {"—", "--"}:
        return False
    if before and after:
        return True
    counted = index > 1 and _is_operand(layout, index - 2)  # the word before is counted: "12 apples -"
    return (
        (after and (counted or _equation_on_line(layout, index)))
        or (before and _equation_on_line(layout, index))
        or (_equation_on_line(layout, index) and layout.is_word(index - 1) and layout.is_word(index + 1))
    )


def _equation_on_line(layout: Layout, index: int) -> bool:
    """Whether there is an equals sign among the few units around, within the sentence."""
    for direction in (-1, 1):
        for distance in range(1, 12):
            symbol = layout.word(index + direction * distance)
            if symbol in ("", ".", "?", "!", ":"):
                break
            if symbol == "=":
                return True
    return False


def _within_number(layout: Layout, index: int) -> bool:
    """Whether ``:`` or ``,`` is between digits without a space, as in ``3:5``."""
    if not (0 < index < len(layout.units) - 1 and layout.joined(index) and layout.joined(index + 1)):
        return False
    return layout.units[index - 1].kind is Kind.NUMBER and layout.units[index + 1].kind is Kind.NUMBER


def _is_prime(layout: Layout, index: int) -> bool:
    """Whether an apostrophe marks a derivative or an image: ``f'(x)``, ``f''``, ``A'``."""
    if layout.units[index].text not in "'’′" or not layout.joined(index) or index == 0:
        return False
    before = layout.units[index - 1].text
    return (len(before) == 1 and before.isalpha()) or (before in "'’′" and _is_prime(layout, index - 1))


def _continues_series(layout: Layout, index: int) -> bool:
    """Whether dots stand for terms that are left out: ``1, 2, ..., 10`` or ``1 + 2 + … + n``."""
    joints = {",", "+", "*", "·", "×", "⋅", "<", "="}
    before, after = layout.word(index - 1), layout.word(index + 1)
    if not {before, after} & joints or not {before, after} <= joints | {"", ".", ")", "}", "]", ";"}:
        return False
    return before not in joints or _is_operand(layout, index - 2)


def _is_factorial(layout: Layout, index: int) -> bool:
    if not (layout.joined(index) and _is_operand(layout, index - 1) and index + 1 < len(layout.units)):
        return False
    after = layout.units[index + 1].text
    return after in {"/", "=", "*", "×", "+", "-", ")", ","} or after[0].islower()


def _category_of_letters(layout: Layout, index: int) -> str | None:
    """Call variables and names of functions symbols; leave every other word to its sentence."""
    unit = layout.units[index]
    if len(unit.text) == 1 and unit.text.isascii():
        return _category_of_letter(layout, index)
    if _is_mathematical_letter(unit.text) or _is_product_of_letters(layout, index):
        return SYMBOLIC_MATH
    if layout.formula[index] and not layout.in_text[index]:
        return _category_in_latex(layout, index)
    if unit.lower in word_list("functions") and (_is_operand(layout, index + 1) and layout.word(index + 1) != ")"):
        return SYMBOLIC_MATH if unit.lower not in ("max", "min") or layout.word(index + 1) == "(" else None
    if unit.text.isupper() and 2 <= len(unit.text) <= 4 and unit.text.isascii():
        beside = layout.word(index - 1) in word_list("geometry") | {"=", "+", "∠"}
        return SYMBOLIC_MATH if beside or (layout.point_letters and set(unit.text) <= layout.point_letters) else None
    return None


def _is_mathematical_letter(word: str) -> bool:
    """Whether a word is a Greek letter, alone or beside Latin ones (``π``, ``πr``), or in mathematical script."""
    if len(word) > 3 or word.isascii():
        return False
    names = [unicodedata.name(letter, "") for letter in word]
    symbols = [name.startswith(("GREEK SMALL LETTER", "GREEK CAPITAL LETTER")) for name in names]
    scripts = [name.startswith(("MATHEMATICAL", "DOUBLE-STRUCK", "SCRIPT ", "BLACK-LETTER")) for name in names]
    return any(scripts) or (any(symbols) and (len(word) == 1 or not all(symbols)))


def _is_product_of_letters(layout: Layout, index: int) -> bool:
    """Whether a short word is a product of variables of the text: ``2xy``, ``ab + ac``."""
    word = layout.units[index].text
    if not 2 <= len(word) <= 3 or not set(word) <= layout.variables or word.lower() in _units_of_measure():
        return False
    after_number = layout.joined(index) and layout.units[index - 1].kind is Kind.NUMBER
    beside = {layout.word(index - 1), layout.word(index + 1)} & {"=", "+", "^", "-", "−", "*", "/", "(", "<", ">"}
    return after_number or bool(beside)


def _category_in_latex(layout: Layout, index: int) -> str | None:
    unit = layout.units[index]
    if layout.word(index - 2) in (r"\begin", r"\end", r"\operatorname"):
        return SYMBOLIC_MATH
    if len(unit.text) == 2 and unit.lower in _units_of_measure():
        return None
    if len(unit.text) <= 3 or (unit.text.isupper() and len(unit.text) <= 6):
        known = lexicon.entries().get(unit.lower)
        return SYMBOLIC_MATH if known is None or unit.lower in word_list("functions") or len(unit.text) < 3 else None
    return SYMBOLIC_MATH if unit.lower in word_list("functions") else None


def _units_of_measure() -> frozenset[str]:
    return frozenset({"km", "cm", "mm", "kg", "mg", "ml", "ft", "lb", "oz", "hr"})


def _category_of_letter(layout: Layout, index: int) -> str | None:
    """Decide a single letter: variable, name of a thing, unit of measure, article or pronoun."""
    letter = layout.units[index].text
    before, after = layout.word(index - 1), layout.word(index + 1)
    if layout.in_text[index]:
        return None
    if layout.formula[index]:
        return SYMBOLIC_MATH
    if letter in "smghlL" and index and layout.units[index - 1].kind is Kind.NUMBER and letter not in layout.variables:
        return ENTITY_NAME
    if letter == "m" and after == "/" and layout.word(index + 2) in {"s", "h", "min"}:
        return ENTITY_NAME
    if before == "/" and letter in "smh" and layout.word(index - 2) in _units_of_measure() | {"miles", "meters", "metres", "m"}:
        return ENTITY_NAME
    if letter == "s" and before == "(" and after == ")":
        return FUNCTION
    beside_operator = after in {"=", "^", "+", "*", "<", ">", "/"} or before in {"=", "+", "*", "^", "/", "×"}
    if letter in "aAI":
        listed = letter in layout.variables and letter != "I" and after in {"and", ",", ")", "is", ".", "be"}
        pauses = after in {"and", "is", "has", ",", ".", ":", "'s", "to", ")"}
        named = letter == "A" and (before in word_list("geometry") or pauses or _is_inside_sentence(layout, index))
        if not (beside_operator or listed):
            return _category_of_naming_letter(layout, index) if named else None
    return _category_of_naming_letter(layout, index)


def _is_inside_sentence(layout: Layout, index: int) -> bool:
    """Whether a capital letter follows a word on its line and does not open a title: an article would be lower case there."""
    same_line = layout.is_word(index - 1) and "\n" not in layout.text[layout.units[index - 1].end : layout.units[index].start]
    return same_line and index + 1 < len(layout.units) and not layout.units[index + 1].text[0].isupper()


def _category_of_naming_letter(layout: Layout, index: int) -> str:
    """Take the B of ``train B`` for the name of a thing, that of ``point B`` and ``B = 5`` for a symbol."""
    letter, noun = layout.units[index].text, layout.word(index - 1)
    is_name = letter.isupper() and letter not in layout.formula_letters and layout.is_word(index - 1)
    is_noun = lexicon.category_of(noun) in (None, ENTITY_NAME) and noun not in word_list("geometry")
    return ENTITY_NAME if is_name and is_noun else SYMBOLIC_MATH


def _label_brackets(layout: Layout, labels: list[str | None], start: int, stop: int) -> None:
    """Decide brackets in prose, and the commas inside brackets that hold a formula."""
    stack: list[int] = []
    for index in range(start, stop):
        symbol = layout.units[index].text
        if layout.formula[index] or layout.is_mark[index]:
            continue
        if symbol in _OPENING:
            stack.append(index)
        elif stack and symbol == _OPENING[layout.units[stack[-1]].text]:
            opening = stack.pop()
            if _holds_formula(layout, labels, opening, index):
                for inner in range(opening, index + 1):
                    if inner in (opening, index) or layout.units[inner].text in {",", ";"}:
                        labels[inner] = SYMBOLIC_MATH


def _holds_formula(layout: Layout, labels: list[str | None], opening: int, closing: int) -> bool:
    inner = range(opening + 1, closing)
    if len(inner) > MAX_INNER_UNITS:
        return False
    symbols = [index for index in inner if labels[index] == SYMBOLIC_MATH]
    words = [index for index in inner if labels[index] is None]
    if not symbols:
        return False
    if not words:
        others = {layout.units[index].text for index in inner if labels[index] == FUNCTION}
        return others <= {",", ";", ":", "'", "."}
    outside = {layout.word(opening - 1), layout.word(closing + 1)}
    has_operator = any(layout.units[index].text in word_list("operators") | {"-", "/"} for index in symbols)
    grammar = any(lexicon.category_of(layout.word(index)) not in (None, ENTITY_NAME) for index in words)
    return (has_operator and not grammar) or bool(outside & {"*", "/", "×", "÷", "="})
