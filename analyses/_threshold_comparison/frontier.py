"""Accuracy against tokens: which cells of a sweep no other beats in both."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from analyses._threshold_comparison.answers import LIVE, WORLD
from reasoning_anatomy.types import FloatArray


def frontier_table(points: pd.DataFrame) -> pd.DataFrame:
    """Mark the points of every reading and form of restatements that are on the frontier.

    Parameters
    ----------
    points
        One row per cell: labels, ``accuracy``, ``accuracy_low``, ``accuracy_high``, ``tokens_kept``, ``tokens_generated``,
        ``peak_cache_tokens`` and ``is_compared``; cells that are not compared, since truncation differs, are on no frontier.

    Returns
    -------
    The same rows with ``tokens``, what the model reads and writes behind the question: those that are kept and those that are
    generated, or only the latter if it writes all of the text itself; and ``on_frontier``, by tokens, or by the peak of the
    cache and the tokens that are generated.
    """
    is_live = points["reading"] == LIVE
    read = points["tokens_kept"].where(~is_live, 0.0)
    table = points.assign(tokens=read + points["tokens_generated"], on_frontier=False)
    for (reading, _), rows in table[table["is_compared"]].groupby(WORLD, sort=False):
        costs = ("peak_cache_tokens", "tokens_generated") if reading == LIVE else ("tokens",)
        found = on_frontier(rows["accuracy"].to_numpy(), *(rows[cost].to_numpy() for cost in costs))
        table.loc[rows.index, "on_frontier"] = found
    return table


def on_frontier(accuracy: FloatArray, *costs: FloatArray) -> npt.NDArray[np.bool_]:
    """Whether no other point is as accurate at no higher cost, and better in one of them; (points,) each -> (points,)."""
    as_good, better = accuracy >= accuracy[:, None], accuracy > accuracy[:, None]
    for cost in costs:
        as_good &= cost <= cost[:, None]
        better |= cost < cost[:, None]
    return np.asarray(~(as_good & better).any(axis=1) & np.isfinite(accuracy))
