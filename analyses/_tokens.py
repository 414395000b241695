"""Of the table of tokens, what an analysis needs."""

from collections.abc import Collection

import pandas as pd

from reasoning_anatomy.run.folder import Run


def tokens_with(run: Run, *wanted: str, labels: Collection[str] = ()) -> pd.DataFrame:
    """Read columns of the tokens of a run, and nothing else: a run has a column for every scorer.

    Parameters
    ----------
    run
        The run.
    wanted
        Names of columns beside ``chain_id, question_id, position``. What the tables do not have yet is left out.
    labels
        Names of annotators whose categories are read, too.
    """
    names = {"chain_id", "question_id", "position", *wanted, *(f"category_{name}" for name in labels)}
    return run.tokens(columns=[name for name in run.token_columns if name in names])
