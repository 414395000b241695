"""What a run holds, as the figures and the page ask for it."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import AnalysisResult, FloatArray

STEP_PREFIX: Final = "deletion_step_"
SCORE_PREFIX: Final = "score_"
CATEGORY_PREFIX: Final = "category_"
CONFIDENCE_PREFIX: Final = "confidence_"


def names(tokens: pd.DataFrame, prefix: str) -> list[str]:
    """Strategies, scorers or annotators that have a column, in the order of the table."""
    return [str(column).removeprefix(prefix) for column in tokens.columns if str(column).startswith(prefix)]


def strategies(run: Run, tokens: pd.DataFrame) -> list[str]:
    """Strategies of a run; `RunError` says how to get one where there is none."""
    found = names(tokens, STEP_PREFIX)
    if not found:
        raise RunError(
            f"{run.folder}: has no deletion order; measure the chains with a pruning strategy: "
            "reasoning-anatomy run CHAINS.jsonl --out ANOTHER_RUN"
        )
    return found


def annotator_of(run: Run, tokens: pd.DataFrame, wanted: str) -> str:
    """Return the wanted annotator, or the first for ``""``; `RunError` where there is none."""
    found = names(tokens, CATEGORY_PREFIX)
    if not found:
        raise RunError(f"{run.folder}: has no annotation; make one with: reasoning-anatomy annotate {run.folder}")
    if wanted and wanted not in found:
        raise RunError(f"{run.folder}: has no annotation by {wanted!r}; it has {', '.join(found)}")
    return wanted or found[0]


def detail(run: Run, result: AnalysisResult, name: str) -> pd.DataFrame:
    """Return a detail table of an analysis; `RunError` where it has none."""
    if name not in result.details:
        raise RunError(
            f"{run.folder}: the result of {result.name} has no table {name!r} (its scorer may have no value per head); "
            f"make it again with a scorer that has: python -m analyses.{result.name} {run.folder}"
        )
    return result.details[name]


def relative_step(tokens: pd.DataFrame, strategy: str) -> "pd.Series[float]":
    """deletion_step as a share of the chain's reasoning tokens, in 0..1; NaN = never deleted."""
    length = tokens.groupby("chain_id", observed=True)["position"].transform("size")
    return tokens[STEP_PREFIX + strategy].astype("Float64").astype("float64") / length


def bootstrap_interval(values: Sequence[float] | FloatArray, *, draws: int, seed: int) -> tuple[float, float]:
    """95 % percentile interval of the mean of (q,) question means; NaN for fewer than two questions."""
    array = np.asarray(values, dtype=np.float64)
    if len(array) < 2:
        return float("nan"), float("nan")
    picks = np.random.default_rng(seed).integers(len(array), size=(draws, len(array)))
    low, high = np.quantile(array[picks].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def by_term(table: pd.DataFrame, terms: Sequence[str]) -> pd.DataFrame:
    """Detail table with one row per term: columns ``term`` and ``estimate`` beside its own.

    It takes both shapes of a detail table: one row per term already, or one column per term.
    """
    for name in ("term", "statistic"):
        if name in table:
            return table.rename(columns={name: "term"})
    columns = [term for term in terms if term in table]
    others = [column for column in table.columns if column not in columns]
    return table.melt(id_vars=others, value_vars=columns, var_name="term", value_name="estimate")
