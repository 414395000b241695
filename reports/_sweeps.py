"""Sweeps as the token viewer shows them: what is kept of a chain at every threshold, and what the model answers from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
import pandas as pd

from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.manifest import Condition
from reasoning_anatomy.run.selection import Kept
from reasoning_anatomy.run.sweep import SweepFolder
from reports._data import has_answers
from reports._style import NOT_GIVEN

RESPONSE_LENGTH: Final = 1500
"""Characters of a response that the page shows."""

SAMPLES_SHOWN: Final = 8
"""Samples of every condition that the page shows, from the first."""

_Value = TypeVar("_Value")
_EXTRACTED_LENGTH: Final = 200
_CELL: Final = ["strategy", "reading", "restatements", "threshold"]

Shown = Callable[[str], str]
"""Makes text fit to be shown."""


@dataclass(frozen=True)
class SweepChoices:
    """What the viewer can switch between. Strategies are those with thresholds of their own; their baselines are not shown."""

    strategies: Sequence[str] = ()
    readings: Sequence[str] = ()
    restatements: Sequence[str] = ()
    n_samples: int = 0

    @property
    def samples(self) -> list[int]:
        """Numbers of the samples that are shown, from 1."""
        return list(range(1, min(self.n_samples, SAMPLES_SHOWN) + 1))


@dataclass(frozen=True)
class ChainSweep:
    """The sweep of one chain.

    Attributes
    ----------
    numbers
        For the script: ``texts`` (responses), ``answers`` (place of the text, extracted answer, verdict, finish reason, tokens
        generated), ``kept`` (see `runs_of`), ``steps`` of the whole chain, and ``rows`` by strategy, reading and restatements,
        thresholds ascending: threshold, place of what is kept, number of steps kept, places of the answers by sample.
    table
        For readers without scripts: one row per threshold of the first strategy, reading and form of restatements.
    """

    numbers: Mapping[str, Any]
    table: pd.DataFrame


@dataclass(frozen=True)
class _Cell:
    """What is kept of a chain under one condition, and the rows of ``run.evaluations()`` with the answers, by sample."""

    condition: Condition
    kept: Kept
    answers: Sequence[Mapping[Any, Any]]


def choices_of(run: Run) -> SweepChoices:
    """List what a run was swept with; nothing if it has no answers."""
    conditions = _own_conditions(run)
    if not has_answers(run):
        return SweepChoices()
    return SweepChoices(
        strategies=list(dict.fromkeys(condition.strategy for condition in conditions)),
        readings=list(dict.fromkeys(condition.reading for condition in conditions)),
        restatements=list(dict.fromkeys(condition.restatements for condition in conditions)),
        n_samples=max((condition.samples for condition in conditions), default=0),
    )


def chain_sweeps(run: Run, chain_ids: Sequence[str], shown: Shown) -> dict[str, ChainSweep]:
    """Read the sweeps of these chains, by chain_id; chains without answers are missing."""
    if not has_answers(run):
        return {}
    table = run.evaluations()
    table = table[table["reference"].isna() & table["chain_id"].isin(chain_ids) & (table["sample"] < SAMPLES_SHOWN)]
    found = {}
    for chain_id, answers in table.groupby("chain_id", sort=False):
        if cells := _cells(run, str(chain_id), answers):
            found[str(chain_id)] = ChainSweep(_numbers(cells, shown), _static_table(cells, shown))
    return found


def runs_of(kept: Kept) -> list[int]:
    """Lengths of runs of tokens, alternately kept and deleted; the first is kept, and may be empty.

    Examples
    --------
    >>> runs_of(Kept(np.array([2, 3, 5]), n_reasoning=7))
    [0, 2, 2, 1, 1, 1]
    """
    is_kept = np.zeros(kept.n_reasoning, dtype=bool)
    is_kept[kept.positions] = True
    borders = np.flatnonzero(np.diff(is_kept, prepend=True))
    return [int(length) for length in np.diff(borders, prepend=0, append=kept.n_reasoning)]


def _own_conditions(run: Run) -> list[Condition]:
    """Conditions of pruned chains with thresholds of their own, thresholds ascending."""
    conditions = run.manifest.configuration.conditions.values()
    own = (each for each in conditions if not each.reference and not each.is_live)
    return sorted(own, key=lambda condition: condition.threshold)


def _cells(run: Run, chain_id: str, answers: pd.DataFrame) -> list[_Cell]:
    folder = SweepFolder(run, run.manifest.configuration)
    by_cell = dict(iter(answers.sort_values("sample").groupby(_CELL, sort=False)))
    cells = []
    for condition in _own_conditions(run):
        rows = by_cell.get((condition.strategy, condition.reading, condition.restatements, condition.threshold))
        kept = folder.kept(chain_id, condition)
        if rows is not None and kept is not None:
            cells.append(_Cell(condition, kept, rows.to_dict("records")))
    return cells


def _numbers(cells: Sequence[_Cell], shown: Shown) -> dict[str, Any]:
    """Numbers and texts of one chain; what several conditions share is there once."""
    texts: dict[str, int] = {}
    answers: dict[tuple[Any, ...], int] = {}
    kept: dict[tuple[int, ...], int] = {}
    rows: dict[str, dict[str, dict[str, list[list[Any]]]]] = {}
    for cell in cells:
        places = []
        for answer in cell.answers:
            text = _place(texts, _cut(shown(answer["response"]), RESPONSE_LENGTH))
            verdict = None if pd.isna(answer["verdict"]) else answer["verdict"]
            said = (text, _extracted(answer, shown), verdict, answer["finish_reason"], answer["tokens_generated"])
            places.append(_place(answers, said))
        of_strategy = rows.setdefault(cell.condition.strategy, {}).setdefault(cell.condition.reading, {})
        of_strategy.setdefault(cell.condition.restatements, []).append(
            [cell.condition.threshold, _place(kept, tuple(runs_of(cell.kept))), cell.answers[0]["steps_after"], places]
        )
    steps = cells[0].answers[0]["steps_before"]
    return {"texts": list(texts), "answers": list(answers), "kept": list(kept), "steps": steps, "rows": rows}


def _static_table(cells: Sequence[_Cell], shown: Shown) -> pd.DataFrame:
    """Of several answers the first is shown, and the correct ones are counted."""
    first = cells[0].condition
    rows = []
    for cell in cells:
        condition, answer = cell.condition, cell.answers[0]
        if (condition.strategy, condition.reading, condition.restatements) != (
            first.strategy, first.reading, first.restatements
        ):  # fmt: skip
            continue
        row = {
            "threshold": condition.threshold,
            "tokens_kept": len(cell.kept.positions),
            "steps_kept": answer["steps_after"],
            "answer": _extracted(answer, shown) or NOT_GIVEN,
            "verdict": NOT_GIVEN if pd.isna(answer["verdict"]) else answer["verdict"],
            "finish_reason": answer["finish_reason"],
        }
        if len(cell.answers) > 1:
            row["correct"] = f"{sum(each['verdict'] == 'correct' for each in cell.answers)} of {len(cell.answers)}"
        rows.append(row)
    return pd.DataFrame(rows)


def _extracted(answer: Mapping[Any, Any], shown: Shown) -> str | None:
    return None if pd.isna(answer["extracted"]) else _cut(shown(answer["extracted"]), _EXTRACTED_LENGTH)


def _place(places: dict[_Value, int], value: _Value) -> int:
    """Place of a value among those that were seen before; the next place for a new one."""
    return places.setdefault(value, len(places))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[:length] + "\N{HORIZONTAL ELLIPSIS}"
