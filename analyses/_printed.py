"""What a terminal shows of a table that has too many rows to be read: terms side by side."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
import pandas as pd

from analyses._schemes import ENDINGS
from analyses._sentences import briefly

_SCHEMES: Final = ("categories", "classes")


def side_by_side(
    table: pd.DataFrame,
    *,
    about: Sequence[str],
    across: str,
    values: Mapping[str, str],
    adjusted: Mapping[str, str] = MappingProxyType({}),
    counts: Mapping[str, str] = MappingProxyType({}),
) -> pd.DataFrame:
    """Put the rows of a result that are about the same into one.

    Parameters
    ----------
    table
        Of a result.
    about
        Columns that say what a row is about; those behind the first that say the same everywhere are left out.
    across
        Column whose values come to stand side by side.
    values
        Which of them, and what the column with estimate and interval is called.
    adjusted
        Of which of them there is a column with the adjusted p-value, and what it is called.
    counts
        Columns with a count that all rows about the same thing share, and what they are called.
    """
    rows: dict[tuple[str, ...], dict[str, object]] = {}
    for row in table.to_dict("records"):
        name, subject = row[across], tuple(str(row[column]) if pd.notna(row[column]) else "" for column in about)
        if name not in values:
            continue
        line = rows.setdefault(
            subject, dict(zip(about, subject, strict=True)) | {counts[column]: row[column] for column in counts}
        )
        line[values[name]] = briefly(row) if np.isfinite(row["estimate"]) else ""
        if name in adjusted:
            line[adjusted[name]] = p_value(row["p_adjusted"])
    columns = [*about, *(each for name in values for each in (values[name], adjusted.get(name)) if each), *counts.values()]
    shown = pd.DataFrame(list(rows.values()), columns=columns).fillna("")
    alike = [column for column in about[1:] if len(set(shown[column])) <= 1]
    return shown.drop(columns=alike)


def by_categories(table: pd.DataFrame, *, endings: Sequence[str] = ENDINGS) -> pd.DataFrame:
    """Show the terms of categories and classes, as they are and with something held constant, side by side."""
    shown = table[table["scheme"].isin(_SCHEMES)]
    longest_first = sorted(endings, key=len, reverse=True)
    constant = [next(ending for ending in longest_first if term.endswith(ending)) for term in shown["term"]]
    terms = [term.removesuffix(ending) for term, ending in zip(shown["term"], constant, strict=True)]
    names = {ending: ending.strip() or "mean" for ending in endings}
    return side_by_side(
        shown.assign(term=terms, constant=constant), about=("term", "strategy", "annotator"), across="constant", values=names
    )


def p_value(value: float) -> str:
    """Three digits, as a reader of a terminal wants them; nothing if there is none."""
    return "" if np.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"
