"""What a terminal shows of the comparison of thresholds: one line for each, with its verdict."""

import numpy as np
import pandas as pd

from analyses._sentences import number
from analyses._threshold_comparison.words import percent
from reasoning_anatomy.types import FloatArray


def printed_table(thresholds: pd.DataFrame) -> pd.DataFrame:
    """Put the table ``thresholds`` into words, without columns that are the same in all of its rows."""
    texts = thresholds[["reference", "verdict"]].astype(object)
    table = thresholds.assign(**texts.where(texts.notna(), ""))
    shown = pd.DataFrame(
        {
            "strategy": table["strategy"] + np.where(table["reference"] == "", "", " as " + table["reference"]),
            "reading": table["reading"],
            "restatements": table["restatements"],
            "threshold": table["threshold"],
            "accuracy": _with_interval(table, "accuracy"),
            "steps kept": table["steps_kept"].map("{:.1f}".format),
            "tokens kept": table["share_of_tokens_kept"].map(percent),
            **_costs(table),
            "difference from 0": _with_interval(table, "difference"),
            "p adjusted": table["p_adjusted"].map(_p),
            "verdict": table["verdict"],
        }
    )
    same = [name for name in ("reading", "restatements") if len(set(shown[name])) == 1]
    return shown.drop(columns=same)


def _costs(table: pd.DataFrame) -> dict[str, "pd.Series[str]"]:
    """Peak of the cache and length of the texts, if any were written anew."""
    if "peak_cache_tokens" not in table:
        return {}
    names = {"peak cache": "peak_cache_tokens", "tokens written": "tokens_generated"}
    return {shown: table[name].map(lambda value: "" if np.isnan(value) else f"{value:.1f}") for shown, name in names.items()}


def _with_interval(table: pd.DataFrame, name: str) -> list[str]:
    values: FloatArray = table[[name, f"{name}_low", f"{name}_high"]].to_numpy(dtype=float)
    return [
        "" if np.isnan(value) else number(value) if np.isnan(low) else f"{number(value)} ({number(low)} to {number(high)})"
        for value, low, high in values
    ]


def _p(value: float) -> str:
    return "" if np.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"
