"""Whether two quantities are equal: exactly, as a percentage, or as far as one is rounded."""

from dataclasses import replace
from fractions import Fraction
from typing import Final

from reasoning_anatomy.answers.quantities import Quantity
from reasoning_anatomy.answers.rulings import Ruling
from reasoning_anatomy.answers.units import same_unit

_FEWEST_DIGITS: Final = 3


def compare_quantities(gold: Quantity, answer: Quantity) -> Ruling:
    """Compare two quantities. Units count only if both have one; two that differ decide nothing."""
    if ("percent" in gold.unit) != ("percent" in answer.unit):
        return _percent(gold, answer)
    differ = bool(gold.unit and answer.unit) and not same_unit(gold.unit, answer.unit)
    if gold.value == answer.value:
        if differ:
            return Ruling("undecided", "units differ")
        return Ruling("correct", "number" if bool(gold.unit) == bool(answer.unit) else "number, one without unit")
    if differ:
        return Ruling("undecided", "units differ")
    return _rounded(gold, answer) or Ruling("wrong", "number")


def _percent(gold: Quantity, answer: Quantity) -> Ruling:
    """Compare a percentage with a number: the sign is a unit that may be left out, or a hundredth."""
    if gold.value == answer.value:
        return Ruling("correct", "percent sign on one side")
    gold, answer = (_hundredth(each) if "percent" in each.unit else each for each in (gold, answer))
    if gold.value == answer.value:
        return Ruling("correct", "percent as a fraction")
    return _rounded(gold, answer) or Ruling("wrong", "number")


def _hundredth(number: Quantity) -> Quantity:
    decimals = None if number.decimals is None and number.value.denominator > 1 else (number.decimals or 0) + 2
    return replace(number, value=number.value / 100, decimals=decimals)


def _rounded(gold: Quantity, answer: Quantity) -> Ruling | None:
    if answer.decimals is not None and (gold.decimals is None or answer.decimals <= gold.decimals):
        return agrees_when_rounded(answer, gold.value, has_last_decimal=_has_last_decimal(gold.value))
    if gold.decimals is None:
        return None
    return agrees_when_rounded(gold, answer.value, has_last_decimal=_has_last_decimal(answer.value))


def _has_last_decimal(value: Fraction) -> bool:
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1


def agrees_when_rounded(decimal: Quantity, exact: Fraction, *, has_last_decimal: bool) -> Ruling | None:
    """Compare a decimal with the value that it may be rounded from; None if they differ by more than rounding does.

    At least three digits, properly rounded from a value that has no last decimal, are correct. Fewer digits, a value that could
    have been written exactly, and decimals that were cut off are undecided.
    """
    if not decimal.decimals or decimal.digits < _FEWEST_DIGITS - 1:
        return None
    unit = Fraction(1, 10**decimal.decimals)
    difference = abs(decimal.value - exact)
    is_cut = difference < unit and abs(decimal.value) <= abs(exact)
    if difference > unit / 2 and not is_cut:
        return None
    properly = difference <= unit / 2 or decimal.cut
    if properly and decimal.digits >= _FEWEST_DIGITS and not has_last_decimal:
        return Ruling("correct", "rounded")
    return Ruling("undecided", "equal only when rounded")
