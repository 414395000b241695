"""What runs and results hold, as the figures and the page ask for it."""

from collections.abc import Sequence
from typing import Final

import pandas as pd

from reasoning_anatomy.errors import AnalysisError
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.layout import EVALUATIONS_NAME
from reasoning_anatomy.types import AnalysisResult

STEP_PREFIX: Final = "deletion_step_"
SCORE_PREFIX: Final = "score_"
CATEGORY_PREFIX: Final = "category_"
CONFIDENCE_PREFIX: Final = "confidence_"
ROLE_PREFIX: Final = "role_"
BLOCK_PREFIX: Final = "step_"


def names(tokens: pd.DataFrame, prefix: str) -> list[str]:
    """Strategies, scorers, annotators, roles or segmenters that have a column, in the order of the table."""
    return [str(column).removeprefix(prefix) for column in tokens.columns if str(column).startswith(prefix)]


def has_answers(run: Run) -> bool:
    """Whether the model has answered again from what strategies left."""
    return (run.folder / EVALUATIONS_NAME).exists()


def main_table(result: AnalysisResult, columns: Sequence[str]) -> pd.DataFrame:
    """Return the main table of a result.

    Raises
    ------
    AnalysisError
        It lacks one of the columns: the result is of an earlier version. The message says how to make it again.
    """
    return _with_columns(result, "table", result.table, columns)


def detail(result: AnalysisResult, name: str, columns: Sequence[str], *, why_missing: str = "") -> pd.DataFrame:
    """Return a detail table of a result.

    Parameters
    ----------
    result
        Of an analysis.
    name
        Of the table.
    columns
        That it must have.
    why_missing
        What else than an earlier version may be the reason if there is no such table.

    Raises
    ------
    AnalysisError
        There is no such table, or it lacks one of the columns. The message says how to make it.
    """
    if name not in result.details:
        reason = f" ({why_missing})" if why_missing else ", so it is of an earlier version"
        raise AnalysisError(f"the result of {result.name} has no table {name!r}{reason}; {_again(result)}")
    return _with_columns(result, name, result.details[name], columns)


def of(table: pd.DataFrame, result: AnalysisResult, column: str, wanted: str | None) -> pd.DataFrame:
    """Return the rows about one value of a column, those about the first value if None is wanted.

    Raises
    ------
    AnalysisError
        There is no such value; the message lists those that there are.
    """
    known = list(dict.fromkeys(table[column]))
    if wanted is None and not known:
        raise AnalysisError(f"the result of {result.name} has no {column} to be drawn; {_again(result)} on other chains")
    if wanted is not None and wanted not in known:
        listed = ", ".join(map(str, known)) or "none"
        raise AnalysisError(f"the result of {result.name} has no {column} {wanted!r} to be drawn; it has {listed}")
    return table[table[column] == (known[0] if wanted is None else wanted)]


def _with_columns(result: AnalysisResult, name: str, table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    if missing := [column for column in columns if column not in table]:
        raise AnalysisError(
            f"the result of {result.name} is of an earlier version (its {name} has no column {missing[0]!r}); {_again(result)}"
        )
    return table


def _again(result: AnalysisResult) -> str:
    return f"make it again with: python -m analyses.{result.name} RUN"
