"""What an analysis leaves out if it reads the chains several times: once per scorer, or per annotator and strategy."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import pandas as pd

Exclusions = Mapping[str, int]

MIN_TOKENS: Final = 5
"""Of a chain that can be analysed."""


def most_left_out(exclusions: Sequence[Exclusions]) -> dict[str, int]:
    """Take the largest number that any reading left out for each reason; `left_out_table` has them all."""
    most: Counter[str] = Counter()
    for counts in exclusions:
        most |= Counter(counts)
    return dict(sorted(most.items()))


def left_out_table(exclusions: Mapping[tuple[str, ...], Exclusions], names: Sequence[str]) -> pd.DataFrame:
    """One row per reading, whose labels have these ``names``, and reason."""
    rows = [(*labels, reason, count) for labels, counts in exclusions.items() for reason, count in counts.items()]
    return pd.DataFrame(rows, columns=[*names, "reason", "count"])
