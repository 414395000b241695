"""What a rule says about two answers."""

from typing import Literal, NamedTuple

Verdict = Literal["correct", "wrong", "undecided"]


class Ruling(NamedTuple):
    """A verdict, and the rule that decided it or that could not."""

    verdict: Verdict
    rule: str
