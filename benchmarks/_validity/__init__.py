"""Simulations of data whose truth is known, one file per analysis, each named after the analysis that it tries.

A file has a function ``simulate(n_questions, samples, seed)`` that draws as many samples of so many questions, hands them to
the estimators of the analysis, and returns a `Rate` for every p-value and interval that the analysis gives.
"""

from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Literal, Protocol, cast

__all__ = ["Kind", "Rate", "Simulate", "simulated_analyses", "simulation_of"]

Kind = Literal["false positives", "coverage", "power"]


@dataclass(frozen=True)
class Rate:
    """How often something held in samples of one size.

    Attributes
    ----------
    quantity
        The p-value or interval, by the name that the table of the analysis gives it.
    kind
        ``false positives``: p <= 0.05 where nothing is to be found, nominal 0.05. ``coverage``: a 95 % interval holds the
        truth, nominal 0.95. ``power``: p <= 0.05 where the effect of ``setting`` is there.
    share
        0..1.
    samples
        That it is a share of.
    setting
        In which world, or of which effect; empty for the plain one.
    note
        Why it is allowed to lie outside 3..7 % or 93..97 %, in a sentence; empty if it must lie within.
    """

    quantity: str
    kind: Kind
    share: float
    samples: int
    setting: str = ""
    note: str = ""


class Simulate(Protocol):
    """The function ``simulate`` of every file."""

    def __call__(self, n_questions: int, samples: int, seed: int) -> list[Rate]:
        """Draw ``samples`` samples of ``n_questions`` questions; the same rates in the same order for every size."""


def simulated_analyses() -> list[str]:
    """Names of the analyses that have a simulation."""
    return sorted(module.name for module in iter_modules(__path__) if not module.name.startswith("_"))


def simulation_of(analysis: str) -> Simulate:
    """Return the simulation of an analysis."""
    return cast(Simulate, import_module(f"{__name__}.{analysis}").simulate)
