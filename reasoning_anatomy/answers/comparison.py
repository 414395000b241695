"""Whether an answer is the gold answer, by rules that each have a name; formulas are left to another judge."""

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Final

from reasoning_anatomy.answers.amounts import compare_quantities
from reasoning_anatomy.answers.formulas import is_formula, is_words, named
from reasoning_anatomy.answers.moments import same_moment
from reasoning_anatomy.answers.normal import compact, normalised, words_of
from reasoning_anatomy.answers.parts import Parts, is_interval, parts_of
from reasoning_anatomy.answers.quantities import Quantity, choice_of, long_integer, quantity, with_decimal_comma
from reasoning_anatomy.answers.restating import stated_numbers
from reasoning_anatomy.answers.rulings import Ruling
from reasoning_anatomy.answers.units import same_unit, without_unit

_MOST_UNORDERED: Final = 8
_LONGEST: Final = 10_000  # characters
_LONGEST_SENTENCE: Final = 2000
_LETTERS: Final = re.compile(r"\(?[A-J]\)?(?:\s*(?:,|,?\s+and\s+|\s)\s*\(?[A-J]\)?)+|[A-J]{2,10}")
_CHANGED: Final = re.compile(
    r"\b(?:not|no|less|fewer|more|greater|smaller|larger|than|least|most|under|over|below|above|between|except|about|around|half|twice|"
    r"double|triple|times|squared|cubed|square|cube|root|plus|minus|negative|dozen|hundred|thousand|million|billion|trillion)s?\b",
    re.IGNORECASE,
)
_SYMBOL: Final = re.compile(r"\\?[A-Za-z](?:_\w)?")


FormulaRule = Callable[[str, str], Ruling]
"""Judges two formulas, normalised, the gold answer first."""


def compare(gold: str, answer: str, formulas: FormulaRule) -> Ruling:
    """Compare an answer with the gold answer, both as they were read.

    Identical texts; choices; times and dates; numbers; parts; words; what is left are formulas.
    """
    if max(len(gold), len(answer)) > _LONGEST:
        return _compare_long(gold.split(), answer.split())
    gold, answer = normalised(gold), normalised(answer)
    if not gold:
        return Ruling("undecided", "no gold answer")
    return _compare(gold, answer, formulas) if answer else Ruling("undecided", "empty answer")


def _compare_long(gold: list[str], answer: list[str]) -> Ruling:
    """Compare texts that are too long for an answer: as they are, and digit by digit."""
    if gold == answer:
        return Ruling("correct", "identical")
    digits = [long_integer(text[0]) if len(text) == 1 else None for text in (gold, answer)]
    return _ruled(digits[0] == digits[1], "number") if all(digits) else Ruling("undecided", "too long")


def _compare(gold: str, answer: str, formulas: FormulaRule) -> Ruling:
    if compact(gold) == compact(answer):
        return Ruling("correct", "identical")
    (gold_name, gold_value), (answer_name, answer_value) = named(gold), named(answer)
    unnamed = answer_value if gold_name and not answer_name else gold_value if answer_name and not gold_name else ""
    if (gold_value, answer_value) != (gold, answer) and "=" not in unnamed:
        return _same_name(gold_name, answer_name, _compare(gold_value, answer_value, formulas))
    return (
        _choices(gold, answer, formulas)
        or same_moment(gold, answer)
        or _numbers(gold, answer)
        or _parts(gold, answer, formulas)
        or _words(gold, answer)
        or _formulas(gold, answer, formulas)
    )


def _same_name(gold: str, answer: str, ruling: Ruling) -> Ruling:
    """Do not call ``y = 5`` correct for ``x = 5``."""
    differ = gold != answer and _SYMBOL.fullmatch(gold) and _SYMBOL.fullmatch(answer)
    return Ruling("undecided", "names differ") if differ and ruling.verdict == "correct" else ruling


def _choices(gold: str, answer: str, formulas: FormulaRule) -> Ruling | None:
    if _LETTERS.fullmatch(gold) and _LETTERS.fullmatch(answer):
        return _ruled(set(re.findall("[A-J]", gold)) == set(re.findall("[A-J]", answer)), "letters")
    right, given = choice_of(gold), choice_of(answer)
    if right and given is None and len(answer) == 1 and answer.isalpha():
        given = (answer.upper(), "")
    if right and given:
        same_text = not (right[1] and given[1]) or _compare(right[1], given[1], formulas).verdict == "correct"
        if right[1] and given[1] and same_text != (right[0] == given[0]):
            return Ruling("undecided", "letter and text differ")
        return _ruled(right[0] == given[0], "letter")
    if right or given:
        with_text = (right or given or ("", ""))[1]
        if not with_text:
            return Ruling("undecided", "a letter on one side only")
        return _compare(with_text, answer, formulas) if right else _compare(gold, with_text, formulas)
    return None


def _numbers(gold: str, answer: str) -> Ruling | None:
    digits = long_integer(gold), long_integer(answer)
    if digits[0] and digits[1]:
        return _ruled(digits[0] == digits[1], "number")
    right, given = quantity(gold), quantity(answer)
    if right and given:
        return compare_quantities(right, given)
    if right is None and given is None:
        return None
    number, text = (right, answer) if right else (given, gold)
    if number and with_decimal_comma(text) == number.value:
        return Ruling("correct", "number, decimal comma")
    if number is None or not is_words(text) or len(text) > _LONGEST_SENTENCE:
        return None
    return _number_in_words(number, text)


def _number_in_words(number: Quantity, text: str) -> Ruling:
    """Compare a number with a sentence: its only number counts."""
    values = set(stated_numbers(text))
    if not values:
        return Ruling("wrong", "a number and words")
    if _CHANGED.search(text):
        return Ruling("undecided", "words that change a number")
    only = values.pop()
    if values or not isinstance(only, Fraction):
        return Ruling("undecided", "several numbers")
    return Ruling(compare_quantities(number, Quantity(only)).verdict, "only number")


def _parts(gold: str, answer: str, formulas: FormulaRule) -> Ruling | None:
    right, given = parts_of(gold), parts_of(answer)
    if right is None and given is None:
        return None
    if right and given:
        return _same_name(right.name, given.name, _both_parts(right, given, formulas))
    several = right or given
    if several and len(several.items) == 1:
        only = several.items[0]
        return _compare(only, answer, formulas) if right else _compare(gold, only, formulas)
    number = quantity(answer if right else gold)
    if several is None or number is None:
        return None
    if several.kind == "ratio" and len(several.items) == 2 and (ratio := quantity("/".join(several.items))):
        return _ruled(ratio.value == number.value, "ratio")
    return Ruling("wrong", "number of parts")


def _both_parts(gold: Parts, answer: Parts, formulas: FormulaRule) -> Ruling:
    kinds = {gold.kind, answer.kind}
    if kinds == {"ratio"}:
        return _ratios(gold.items, answer.items)
    if kinds & {"set", "list", "union"} and kinds <= {"set", "list"} | ({"union"} if kinds == {"union"} else set()):
        return _unordered(gold.items, answer.items, formulas)
    if gold.kind == "list" and answer.kind == "bracketed" and not is_interval(answer):
        return _unordered(gold.items, answer.items, formulas)
    if len(gold.items) != len(answer.items):
        return Ruling("undecided", "other brackets") if "union" in kinds else Ruling("wrong", "number of parts")
    ruling = _ordered(gold.items, answer.items, formulas)
    if ruling.verdict != "correct":
        return ruling
    if kinds == {"matrix"}:
        return _ruled(gold.brackets == answer.brackets, "parts")
    if kinds == {"bracketed"}:
        return _ruled(gold.brackets == answer.brackets or len(gold.items) > 2, "parts and brackets")
    if kinds == {"bracketed", "list"} and not is_interval(gold) and not is_interval(answer):
        return ruling
    return Ruling("undecided", "other brackets")


def _ratios(gold: Sequence[str], answer: Sequence[str]) -> Ruling:
    right, given = ([quantity(part) for part in parts] for parts in (gold, answer))
    if len(right) != len(given):
        return Ruling("wrong", "number of parts")
    pairs = [(one.value, other.value) for one, other in zip(right, given, strict=True) if one and other]
    same = len(pairs) == len(right) and all(one * pairs[0][1] == other * pairs[0][0] for one, other in pairs)
    return _ruled(same, "ratio")


def _ordered(gold: Sequence[str], answer: Sequence[str], formulas: FormulaRule) -> Ruling:
    rulings = [_compare(one, other, formulas) for one, other in zip(gold, answer, strict=True)]
    for verdict in ("wrong", "undecided"):
        if found := [ruling for ruling in rulings if ruling.verdict == verdict]:
            return Ruling(found[0].verdict, f"parts: {found[0].rule}")
    return Ruling("correct", "parts")


def _unordered(gold: Sequence[str], answer: Sequence[str], formulas: FormulaRule) -> Ruling:
    left, given = (list({compact(part): part for part in parts}.values()) for parts in (gold, answer))
    if len(left) != len(given):
        return Ruling("wrong", "number of parts")
    if len(left) > _MOST_UNORDERED:
        same = {compact(part) for part in left} == {compact(part) for part in given}
        return Ruling("correct", "parts in any order") if same else Ruling("undecided", "many parts")
    doubts: list[Ruling] = []
    for part in given:
        rulings = {one: _compare(one, part, formulas) for one in left}
        match = next((one for one, ruling in rulings.items() if ruling.verdict == "correct"), None)
        if match is not None:
            left.remove(match)
        elif doubt := next((ruling for ruling in rulings.values() if ruling.verdict == "undecided"), None):
            doubts.append(doubt)
        else:
            return Ruling("wrong", "parts in any order")
    return Ruling("undecided", f"parts: {doubts[0].rule}") if doubts else Ruling("correct", "parts in any order")


def _words(gold: str, answer: str) -> Ruling | None:
    if not (is_words(gold) or is_words(answer)):
        return None
    right, given = f" {words_of(gold)} ", f" {words_of(answer)} "
    if right == given:
        return Ruling("correct", "words")
    if right in given or given in right:
        return Ruling("undecided", "one is part of the other")
    if is_words(gold) and is_words(answer):
        return Ruling("wrong", "words")
    return Ruling("undecided", "words and a formula")


def _formulas(gold: str, answer: str, formulas: FormulaRule) -> Ruling:
    (gold, gold_unit), (answer, answer_unit) = without_unit(gold), without_unit(answer)
    if gold_unit and answer_unit and not same_unit(gold_unit, answer_unit):
        return Ruling("undecided", "units differ")
    if (r"\circ" in gold) != (r"\circ" in answer) and r"\pi" in gold + answer:
        return Ruling("undecided", "degrees and radians")
    if gold_unit or answer_unit:
        return _compare(gold, answer, formulas)
    if is_formula(gold) and is_formula(answer):
        return formulas(gold, answer)
    return Ruling("undecided", "neither formula nor words")


def _ruled(same: bool, rule: str) -> Ruling:
    return Ruling("correct" if same else "wrong", rule)
