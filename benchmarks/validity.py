"""How often every analysis finds what is not there, how often its intervals hold, and what it would have found.

``python -m benchmarks.validity > docs/validity.md`` draws data whose truth is known, with the structure of the real thing
(questions, chains on them, neighbouring tokens that resemble each other, trends with position, tokens that are never
deleted), and hands them to the code of the analyses.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Final

import pandas as pd
import tyro

from benchmarks._validity import Kind, Rate, simulated_analyses, simulation_of

WANTED: Final[Mapping[Kind, tuple[float, float]]] = {"false positives": (0.03, 0.07), "coverage": (0.93, 0.97)}

_OPENING: Final = """\
# Validity

The output of `{command}`, in per cent of {samples} samples of each size; the standard error of a rate of 5 % is {error:.1f}.

- **False positives**: how often p ≤ 0.05 where there is nothing to find. Nominal 5, wanted 3 to 7.
- **Coverage**: how often a 95 % interval holds the truth. Nominal 95, wanted 93 to 97.
- **Power**: how often p ≤ 0.05 where the effect of the setting is there.

A rate outside what is wanted has a number that leads to the reason below the table.
"""


@dataclass(frozen=True)
class Options:
    """False positives, coverage and power of the analyses, as a page in Markdown."""

    analyses: tuple[str, ...] = ()
    """That are tried; all that have a simulation if left out."""
    questions: tuple[int, ...] = (8, 30, 100)
    """Sizes of sample."""
    samples: int = 1000
    """Of each size."""
    seed: int = 0
    """Of the samples."""
    workers: int = os.cpu_count() or 1
    """Processes that share the work."""


def main(options: Options) -> None:
    """Print the page; stop if an analysis has no simulation."""
    analyses = options.analyses or tuple(simulated_analyses())
    if unknown := sorted(set(analyses) - set(simulated_analyses())):
        sys.exit(f"error: no simulation of {', '.join(unknown)}; there are {', '.join(simulated_analyses())}")
    sys.stdout.write(page(analyses, options))


def page(analyses: Sequence[str], options: Options) -> str:
    """Simulate, and write what came out."""
    command = (
        "python -m benchmarks.validity"
        if not options.analyses
        else f"python -m benchmarks.validity --analyses {' '.join(analyses)}"
    )
    error = 100 * (0.05 * 0.95 / options.samples) ** 0.5
    jobs = list(product(analyses, options.questions))
    with ProcessPoolExecutor(options.workers) as pool:
        found = pool.map(_simulate, *zip(*jobs, strict=True), [options.samples] * len(jobs), [options.seed] * len(jobs))
        rates = dict(zip(jobs, found, strict=True))
    opening = _OPENING.format(command=command, samples=f"{options.samples:,}", error=error)
    return opening + "".join(
        section(analysis, {size: rates[analysis, size] for size in options.questions}) for analysis in analyses
    )


def section(analysis: str, rates: Mapping[int, Sequence[Rate]]) -> str:
    """Write the table of one analysis; a rate outside what is wanted leads to its note, or to the remark that it has none."""
    notes: dict[str, int] = {}
    rows = []
    for of_one in zip(*rates.values(), strict=True):
        cells = {f"{size} questions": _cell(rate, notes) for size, rate in zip(rates, of_one, strict=True)}
        rows.append({"": of_one[0].quantity, "setting": of_one[0].setting, "rate": of_one[0].kind, **cells})
    table = _markdown(rows)
    below = "".join(f"\n{number}. {note}" for note, number in notes.items())
    return f"\n## `{analysis}`\n\n{table}\n{below}{chr(10) if below else ''}"


def is_wanted(rate: Rate) -> bool:
    """Whether a rate lies within what is wanted of its kind."""
    low, high = WANTED.get(rate.kind, (0, 1))
    return low <= rate.share <= high


def _simulate(analysis: str, n_questions: int, samples: int, seed: int) -> list[Rate]:
    return simulation_of(analysis)(n_questions, samples, seed)


def _cell(rate: Rate, notes: dict[str, int]) -> str:
    shown = f"{100 * rate.share:.1f}"
    if is_wanted(rate):
        return shown
    note = rate.note or "By chance, or the analysis is wrong here: no reason is known."
    return f"{shown} ({notes.setdefault(note, len(notes) + 1)})"


def _markdown(rows: Sequence[Mapping[str, str]]) -> str:
    table = pd.DataFrame.from_records(rows)
    lines = [table.columns, ["---"] * len(table.columns), *table.to_numpy()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main(tyro.cli(Options))
