"""The answers of a sweep as arrays: one row for each answer of a chain, one column for each cell of the sweep."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import pandas as pd

from analyses._statistics.position import BoolArray
from analyses._statistics.questions import question_index, question_means
from reasoning_anatomy.errors import AnalysisError
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import FloatArray, IntArray
from reasoning_anatomy.unusable import counted

GROUP: Final = ["strategy", "reference", "reading", "restatements"]
"""What the thresholds of one comparison have in common."""

CELL: Final = [*GROUP, "threshold"]

WORLD: Final = ["reading", "restatements"]
"""What strategies that are beside each other have in common."""

LIVE: Final = "live"
"""Reading of texts that were written anew, under eviction policies."""

MEASURED: Final = (
    "tokens_before", "tokens_after", "steps_before", "steps_after", "achieved_ratio", "tokens_generated", "nll_gold",
    "states_answer", "peak_cache_tokens",
)  # fmt: skip
"""Columns of the evaluations that are averaged as they are."""

_CUT_OFF: Final = ("length", "loop")
_UNIT: Final = ["chain_id", "sample"]


@dataclass(frozen=True, eq=False)
class Answers:
    """What was answered in every cell.

    Attributes
    ----------
    cells
        One row for each cell: `CELL`, with an empty ``reference`` if there is none; thresholds of a group ascend.
    chain
        (units,) number of the chain of every answer; the same sample of the same chain is one unit in all cells.
    question
        (chains,) number of the question of every chain.
    question_ids
        By that number.
    outcomes
        (units, cells) each, by name: the `MEASURED` columns, and as 1 or 0 ``correct``, ``undecided``, ``same_as_chain`` and
        ``truncated``. NaN = there is no such answer, or it has no such value.
    """

    cells: pd.DataFrame
    chain: IntArray
    question: IntArray
    question_ids: tuple[str, ...]
    outcomes: Mapping[str, FloatArray]

    @cached_property
    def at_zero(self) -> IntArray:
        """(cells,) number of the cell of the same group at threshold 0."""
        zero = self.cells[self.cells["threshold"] == 0].reset_index(names="zero")
        number = self.cells.merge(zero[[*GROUP, "zero"]], on=GROUP, how="left")["zero"]
        return np.asarray(number, dtype=np.int64)

    def by_chain(self, values: FloatArray) -> FloatArray:
        """Average the answers of each chain; (units, columns) -> (chains, columns)."""
        return question_means(values, self.chain)

    def by_question(self, values: FloatArray) -> FloatArray:
        """Average the answers of each chain, then the chains of each question; (units, columns) -> (questions, columns)."""
        return question_means(self.by_chain(values), self.question)

    def means(self, values: FloatArray) -> FloatArray:
        """Average over answers, chains, then questions; (units, columns) -> (columns,)."""
        return np.asarray(question_means(self.by_question(values), np.zeros(len(self.question_ids), dtype=np.int64))[0])

    def answers_per_question(self, values: FloatArray) -> IntArray:
        """Count the answers with a value; (units, columns) -> (questions, columns)."""
        counts = np.zeros((len(self.question_ids), values.shape[1]), dtype=np.int64)
        np.add.at(counts, self.question[self.chain], np.isfinite(values))
        return counts


def in_all_cells(answers: Answers) -> BoolArray:
    """(units, cells) whether an answer is there in all cells of the same reading and form of restatements."""
    is_there = np.isfinite(answers.outcomes["correct"])
    for world in answers.cells.groupby(WORLD, sort=False).groups.values():
        is_there[:, world] = is_there[:, world].all(axis=1, keepdims=True)
    return is_there


@dataclass(frozen=True, eq=False)
class Evidence:
    """The answers of a run, and what was left out.

    Attributes
    ----------
    table
        ``run.evaluations()``, with an empty ``reference`` if there is none.
    answers
        Of the chains with a gold answer.
    every
        Of all chains; whether an answer is correct is NaN for chains without a gold answer.
    exclusions
        Chains by reason, and rows of the input that are no chains.
    """

    table: pd.DataFrame
    answers: Answers
    every: Answers
    exclusions: Mapping[str, int]


def gather(run: Run) -> Evidence:
    """Read the evaluations of a run.

    Raises
    ------
    MissingError
        The run has none.
    AnalysisError
        No chain has a gold answer, or a group has no answers at threshold 0.
    """
    table = run.evaluations()
    table = table.assign(reference=table["reference"].astype(object).where(table["reference"].notna(), ""))
    _expect_threshold_zero(run, table)
    has_gold = table.groupby("chain_id", sort=False)["verdict"].transform("count") > 0
    if not has_gold.any():
        raise AnalysisError(
            f"{run.folder}: none of {table['chain_id'].nunique()} evaluated chains has a gold answer, so that no answer is "
            "right or wrong; add gold_answer to the chains and sweep them again"
        )
    _expect_threshold_zero(run, table[has_gold])
    every = _answers(table)
    counts = {
        "not_evaluated": _n_not_evaluated(run, table),
        "no_gold_answer": table.loc[~has_gold, "chain_id"].nunique(),
        **{f"unusable: {reason}": count for reason, count in counted(run.unusable).items()},
    }
    return Evidence(
        table,
        every if has_gold.all() else _answers(table[has_gold]),
        every,
        {reason: count for reason, count in counts.items() if count},
    )


def _n_not_evaluated(run: Run, table: pd.DataFrame) -> int:
    """Count the chains without answers; if nothing was pruned, those on whose question nothing was written."""
    of_pruned = table[table["reading"] != LIVE]
    if len(of_pruned):
        return len(run.chains) - int(of_pruned["chain_id"].nunique())
    questions = set(table["question_id"])
    return sum(chain.question_id not in questions for chain in run.chains.values())


def _expect_threshold_zero(run: Run, table: pd.DataFrame) -> None:
    lowest = table.groupby(GROUP, sort=False, as_index=False)["threshold"].min()
    for row in lowest[lowest["threshold"] != 0].to_dict("records"):
        raise AnalysisError(
            f"{run.folder}: {row['strategy']} ({row['reading']}, restatements {row['restatements']}) has no answers at "
            f"threshold 0, with which the others are compared; add them with: reasoning-anatomy sweep {run.folder} "
            f"{'--evict' if row['reading'] == LIVE else '--strategies'} {row['reference'] or row['strategy']} --thresholds 0"
        )


def _answers(table: pd.DataFrame) -> Answers:
    groups = table[GROUP].drop_duplicates().reset_index(drop=True).reset_index(names="group")
    cells = table[CELL].drop_duplicates().merge(groups, on=GROUP).sort_values(["group", "threshold"], ignore_index=True)[CELL]
    units = table[["question_id", *_UNIT]].drop_duplicates(_UNIT)
    unit = table[_UNIT].merge(units.assign(unit=range(len(units))), on=_UNIT, how="left")["unit"].to_numpy()
    cell = table[CELL].merge(cells.assign(cell=range(len(cells))), on=CELL, how="left")["cell"].to_numpy()
    chains = units.drop_duplicates("chain_id")
    columns = {
        **{name: table[name] for name in MEASURED},
        "correct": _is(table["verdict"], "correct"),
        "undecided": _is(table["verdict"], "undecided"),
        "same_as_chain": _is(table["same_as_chain"], "correct"),
        "truncated": table["finish_reason"].isin(_CUT_OFF),
    }
    return Answers(
        cells,
        chain=question_index(units["chain_id"].tolist()),
        question=question_index(chains["question_id"].tolist()),
        question_ids=tuple(dict.fromkeys(chains["question_id"])),
        outcomes={name: _spread_out(column, unit, cell, (len(units), len(cells))) for name, column in columns.items()},
    )


def _is(verdicts: "pd.Series[str]", verdict: str) -> "pd.Series[float]":
    return verdicts.isin([verdict]).astype(float).where(verdicts.notna())


def _spread_out(column: "pd.Series[float]", unit: IntArray, cell: IntArray, shape: tuple[int, int]) -> FloatArray:
    values = np.full(shape, np.nan)
    values[unit, cell] = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return values
