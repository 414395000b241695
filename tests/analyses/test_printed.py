"""What a terminal shows of tables that have too many rows to be read."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analyses._printed import by_categories, side_by_side
from analyses.category_survival import CategorySurvival
from analyses.deletion_by_category import DeletionByCategory
from reasoning_anatomy.run import Run
from reasoning_anatomy.types import Annotation, ReasoningChain

ROWS = pd.DataFrame(
    {
        "scorer": ["a", "a", "b", "b", "b"],
        "strategy": ["greedy"] * 5,
        "term": ["raw", "given", "raw", "given", "other"],
        "estimate": [0.3, 0.1, -0.2, np.nan, 0.9],
        "ci_low": [0.2, np.nan, -0.3, np.nan, 0.8],
        "ci_high": [0.4, np.nan, -0.1, np.nan, 1.0],
        "p_adjusted": [0.0004, 0.5, np.nan, np.nan, 0.1],
        "n_questions": [9, 1, 9, 0, 9],
    }
)


def test_terms_stand_side_by_side() -> None:
    shown = side_by_side(
        ROWS, about=("scorer", "strategy"), across="term", values={"raw": "rho", "given": "rho given"}, adjusted={"raw": "p"}
    )
    assert shown.to_dict("list") == {  # one strategy everywhere is not said
        "scorer": ["a", "b"],
        "rho": ["0.30 (0.20 to 0.40)", "\N{MINUS SIGN}0.20 (\N{MINUS SIGN}0.30 to \N{MINUS SIGN}0.10)"],
        "p": ["< 0.001", ""],
        "rho given": ["0.10", ""],
    }


def test_an_empty_table_has_its_columns() -> None:
    assert side_by_side(ROWS[:0], about=("scorer",), across="term", values={"raw": "rho"}).columns.tolist() == ["scorer", "rho"]


@pytest.mark.parametrize("analysis", [DeletionByCategory(draws=99), CategorySurvival(draws=99)])
def test_a_terminal_shows_categories_and_classes_in_a_screenful(
    analysis: DeletionByCategory | CategorySurvival,
    make_planted_run: Callable[..., Run],
    make_chains: Callable[..., list[ReasoningChain]],
    tmp_path: Path,
) -> None:
    run = make_planted_run(tmp_path / "run", make_chains(5), keep=0.2, seed=3)
    labels = ("SYMBOLIC_MATH", "VERBAL_MATH", "ENTITY_NAME", "FUNCTION")
    run.write_annotations(
        "rules", {each: Annotation("Rules()", tuple(labels[k % 4] for k in range(30))) for each in run.measured}
    )
    result = analysis.analyse(Run(run.folder))
    assert result.printed is not None
    assert len(result.printed) == 6 + 3  # categories; classes and their difference
    row = result.table[result.table["term"] == "SYMBOLIC_MATH given position"].iloc[0]
    shown = result.printed.set_index("term").loc["SYMBOLIC_MATH", "given position"]
    assert shown == f"{row['estimate']:.2f} ({row['ci_low']:.2f} to {row['ci_high']:.2f})"
    assert len(by_categories(result.table[:0])) == 0
