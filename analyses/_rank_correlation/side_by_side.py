"""All scorers of a run beside each other, against one order of deletion."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import pandas as pd

from analyses._rank_correlation.evidence import Evidence
from analyses._rank_correlation.tables import ScorerTables
from analyses._statistics.correlation import TERMS
from analyses._statistics.families import adjust
from reasoning_anatomy.types import RESULT_COLUMNS

SHOWN: Final = TERMS[:2]
"""The terms of the main table; ``per_scorer`` has all."""


def per_scorer(tables: Mapping[str, ScorerTables]) -> pd.DataFrame:
    """One row per scorer and term; ``p_adjusted`` by Holm over the scorers of a term."""
    rows = pd.concat([found.table.assign(scorer=scorer) for scorer, found in tables.items()], ignore_index=True)
    rows["p_adjusted"] = rows.groupby("term")["p_value"].transform(lambda p: adjust(p.to_numpy(), "holm"))
    return rows[["scorer", *RESULT_COLUMNS]]


def main_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Name the rows of the shown terms ``scorer: term``; those of a scorer stand together."""
    shown = rows[rows["term"].isin(SHOWN)]
    return shown.assign(term=shown["scorer"] + ": " + shown["term"])[list(RESULT_COLUMNS)].reset_index(drop=True)


def joined_details(tables: Mapping[str, ScorerTables]) -> dict[str, pd.DataFrame]:
    """Join the detail tables of the scorers under their names, with a first column ``scorer``."""
    names = dict.fromkeys(name for found in tables.values() for name in found.details)
    return {
        name: pd.concat(
            [_with_scorer(found.details[name], scorer) for scorer, found in tables.items() if name in found.details],
            ignore_index=True,
        )
        for name in names
    }


def joined_exclusions(evidence: Mapping[str, Evidence]) -> dict[str, int]:
    """Count what all scorers leave out alike once, and the rest as ``scorer: reason``."""
    counts = {scorer: Counter(found.exclusions) for scorer, found in evidence.items()}
    shared = _shared(list(counts.values()))
    own = {
        f"{scorer}: {reason}": count
        for scorer, reasons in counts.items()
        for reason, count in reasons.items()
        if reason not in shared
    }
    return {**shared, **own}


def _shared(counts: Sequence[Counter[str]]) -> dict[str, int]:
    first, *others = counts
    return {reason: count for reason, count in first.items() if all(other[reason] == count for other in others)}


def _with_scorer(table: pd.DataFrame, scorer: str) -> pd.DataFrame:
    return pd.concat([pd.Series(scorer, index=table.index, name="scorer"), table], axis=1)
