"""Accuracy against tokens: which cells of a sweep no other beats in both."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from analyses._threshold_comparison.answers import WORLD
from reasoning_anatomy.types import FloatArray


def frontier_table(points: pd.DataFrame) -> pd.DataFrame:
    """Mark the points of every reading and form of restatements that are on the frontier.

    Parameters
    ----------
    points
        One row per cell: labels, ``accuracy``, ``accuracy_low``, ``accuracy_high``, ``tokens_kept``, ``tokens_generated`` and
        ``is_compared``; cells that are not compared, since truncation differs, are on no frontier.

    Returns
    -------
    The same rows with ``tokens``, the sum of both, and ``on_frontier``.
    """
    table = points.assign(tokens=points["tokens_kept"] + points["tokens_generated"], on_frontier=False)
    for _, rows in table[table["is_compared"]].groupby(WORLD, sort=False):
        table.loc[rows.index, "on_frontier"] = on_frontier(rows["accuracy"].to_numpy(), rows["tokens"].to_numpy())
    return table


def on_frontier(accuracy: FloatArray, tokens: FloatArray) -> npt.NDArray[np.bool_]:
    """Whether no other point is as accurate with as few tokens, and better in one of the two; (points,) each -> (points,)."""
    as_good = (accuracy >= accuracy[:, None]) & (tokens <= tokens[:, None])
    better = (accuracy > accuracy[:, None]) | (tokens < tokens[:, None])
    return np.asarray(~(as_good & better).any(axis=1) & np.isfinite(accuracy))
