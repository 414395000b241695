"""What ``threshold_comparison`` found, under the names that the report has for it: nothing else here reads that analysis."""

from collections.abc import Iterator
from typing import Final

import pandas as pd

from reasoning_anatomy.types import AnalysisResult
from reports._data import detail
from reports._style import p_value

ANALYSIS: Final = "threshold_comparison"

WORLD: Final = ["reading", "restatements"]
"""What points of one panel, and strategies that are compared with each other, have in common."""

_KEPT: Final = "share_of_tokens_kept"

POINTS: Final = (
    "strategy", "reference", *WORLD, "threshold", "tokens", "tokens_kept", "tokens_generated", "accuracy", "accuracy_low",
    "accuracy_high", "is_compared", "on_frontier", _KEPT,
)  # fmt: skip
"""Columns of `points`."""

_DIFFERENCE: Final = "difference_from_threshold_0"
_COMPARED: Final = {
    "threshold": "threshold", "accuracy": "accuracy", "accuracy_low": "accuracy_low", "accuracy_high": "accuracy_high",
    "steps_kept": "steps_kept", "tokens_kept": "tokens_kept", "difference": _DIFFERENCE, "difference_low": f"{_DIFFERENCE}_low",
    "difference_high": f"{_DIFFERENCE}_high", "p_adjusted": "p_adjusted", "truncated": "share_cut_off", "verdict": "verdict",
}  # fmt: skip
"""Columns of the detail table ``thresholds`` that a summary shows, and as what."""
_COSTS: Final = ("peak_cache_tokens", "tokens_generated")
"""Further ones, of texts that were written anew."""


def points(result: AnalysisResult) -> pd.DataFrame:
    """Accuracy and tokens of every cell of the sweep.

    Returns
    -------
    Columns `POINTS`: ``reference`` (of a baseline: the strategy whose length it has; else missing), ``tokens`` (mean number of
    reasoning tokens kept and of tokens generated for an answer), ``accuracy`` in 0..1 with its interval, ``is_compared``
    (whether truncation is as at threshold 0), ``on_frontier`` (no other cell is as accurate with as few tokens) and
    ``share_of_tokens_kept`` (of the chain, as a mean over all answers of the cell).

    Raises
    ------
    AnalysisError
        The result is of an earlier version.
    """
    cell = ["strategy", "reference", *WORLD, "threshold"]
    points, kept = detail(result, "frontier", POINTS[:-1]), detail(result, "thresholds", [*cell, _KEPT])
    return points.merge(kept[[*cell, _KEPT]], on=cell, how="left")[list(POINTS)]


def with_kept(threshold: float, share: float) -> str:
    """Write a threshold with the share of the chain that it kept, without which it says nothing: ``0.5 (94 %)``."""
    return f"{threshold:g} ({_percent(share)})" if pd.notna(share) else f"{threshold:g}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}\N{NO-BREAK SPACE}%"


def summary(result: AnalysisResult) -> dict[str, list[pd.DataFrame]]:
    """Tables by strategy, reading and form of restatements; first those that the finding speaks of.

    The first compares every threshold with threshold 0, the second with baselines of the same length or budget. Raises as
    `points`.
    """
    thresholds = detail(result, "thresholds", list(_COMPARED))
    baselines, truncation = (detail(result, name, ["strategy", *WORLD]) for name in ("baselines", "truncation"))
    tables = {}
    for world, rows in thresholds[thresholds["reference"].isna()].groupby(WORLD, sort=False):
        for strategy, own in rows.groupby("strategy", sort=False):
            mine = {"strategy": strategy, **dict(zip(WORLD, world, strict=True))}
            refused = _of(truncation[truncation["reference"].isna()], mine)["differs"]
            others = _of(baselines, mine)
            heading = f"{strategy} ({mine['reading']}, restatements {mine['restatements']})"
            tables[heading] = [_compared(own, with_truncation=bool(refused.any())), *_beside_baselines(own, others)]
    return tables


def _compared(rows: pd.DataFrame, *, with_truncation: bool) -> pd.DataFrame:
    shares = [f"kept {_percent(share)}" for share in rows[_KEPT]]
    table = rows[list(_COMPARED)].rename(columns=_COMPARED).assign(threshold_note=shares)
    if _is_live(rows):
        for place, name in enumerate(_COSTS, start=list(table.columns).index("tokens_kept") + 1):
            table.insert(place, name, rows[name])
    table.attrs["title"] = "Compared with threshold 0"
    return table if with_truncation else table.drop(columns="share_cut_off")


def _beside_baselines(own: pd.DataFrame, found: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """One row per threshold and one column per baseline, with the verdict on the strategy below the baseline's accuracy."""
    if found.empty:
        return
    ours = own[own["threshold"].isin(found["threshold"])].set_index("threshold")
    table = ours[["tokens_kept", "accuracy"]].copy()
    for baseline, rows in found.groupby("baseline", sort=False):
        rows = rows.set_index("threshold")
        table[baseline] = rows["accuracy_of_baseline"]
        table[f"{baseline}_note"] = [
            f"{verdict}, p {p_value(p)}" if pd.notna(p) else verdict
            for verdict, p in zip(rows["verdict"], rows["p_adjusted"], strict=True)
        ]
    table = table.reset_index()
    table.insert(1, "threshold_note", [f"kept {_percent(share)}" for share in ours[_KEPT]])
    table.attrs["labels"] = list(found["baseline"].unique())
    same = "evict at the same budget" if _is_live(own) else "keep as many tokens"
    table.attrs["title"] = f"Beside the accuracy of baselines that {same}; below each, how the strategy compares"
    yield table


def _is_live(rows: pd.DataFrame) -> bool:
    """Whether rows of one reading are about texts that were written anew."""
    return bool((rows["reading"] == "live").all())


def _of(table: pd.DataFrame, wanted: dict[str, object]) -> pd.DataFrame:
    for name, value in wanted.items():
        table = table[table[name] == value]
    return table
