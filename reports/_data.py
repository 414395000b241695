"""What a run holds, as the figures and the page ask for it."""

from typing import Final

import pandas as pd

from reasoning_anatomy.errors import RunError
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


def result_of(run: Run, name: str, *, about: str) -> AnalysisResult:
    """Read the result of an analysis whose table has a column ``about``.

    Raises
    ------
    RunError
        There is none, or it is of an earlier version, in which the table had another shape; the message says how to make it.
    """
    result = run.analysis(name)
    if about not in result.table:
        raise RunError(
            f"{run.folder}: the result of {name} is of an earlier version (its table has no column {about!r}); make it again "
            f"with: python -m analyses.{name} {run.folder}"
        )
    return result


def detail(run: Run, result: AnalysisResult, name: str) -> pd.DataFrame:
    """Return a detail table of an analysis; `RunError` if it has none."""
    if name not in result.details:
        raise RunError(
            f"{run.folder}: the result of {result.name} has no table {name!r} (its scorer may have no value per head); "
            f"make it again with a scorer that has: python -m analyses.{result.name} {run.folder}"
        )
    return result.details[name]
