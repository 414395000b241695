"""What a reader must know before believing the table of rank correlations."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd

from analyses._evidence import Evidence
from analyses._side_by_side import SHOWN

FEW_QUESTIONS: Final = 20


def caveats(evidence: Evidence, table: pd.DataFrame, spread: pd.DataFrame) -> list[str]:
    """Sentences for ``AnalysisResult.warnings``, from the main table and the table ``between_questions``.

    Of several scorers, ``evidence`` is that of the one with the most chains.
    """
    found = [*_missing_intervals(table), *_small_sample(spread)]
    censored, total = int(evidence.n_censored.sum()), int(evidence.n_tokens.sum())
    if censored:
        chains = int((evidence.n_censored > 0).sum())
        found.append(
            f"{censored} of {total} tokens, in {chains} of {len(evidence.chains)} chains, were never deleted; they are tied "
            "after the last deletion, and nothing is claimed about the order among them"
        )
    if unmeasured := evidence.exclusions.get("not_measured"):
        found.append(f"{unmeasured} chains of the run are not measured; the table does not speak for them")
    return found


def _missing_intervals(table: pd.DataFrame) -> list[str]:
    found = []
    for row in table.to_dict("records"):
        term, n_questions = row["term"], row["n_questions"]
        if n_questions == 0:
            found.append(
                f"{term}: position fixes the order of the scores or of deletion in every chain; there is nothing to estimate"
            )
        elif n_questions == 1:
            found.append(f"{term}: one question has no variation between questions; no interval and no p-value")
        elif np.isnan(row["ci_low"]):
            found.append(f"{term}: all {n_questions} questions have the same value; no interval and no p-value")
        elif row["ci_high"] - row["ci_low"] == 2:
            found.append(f"{term}: {n_questions} questions are too few for an interval shorter than -1..1")
    return found


def _small_sample(spread: pd.DataFrame) -> list[str]:
    n_questions = int(spread["n_questions"].max())
    if not 2 <= n_questions < FEW_QUESTIONS:
        return []
    listing = _range_of_effects(spread) if "scorer" in spread else _effects(spread)
    return [
        f"{n_questions} questions are few: intervals are wide and their coverage approximate. With the spread seen between "
        f"questions, the smallest mean found with 80 % power is: {listing}"
    ]


def _effects(spread: pd.DataFrame) -> str:
    effects: Mapping[str, float] = dict(zip(spread["term"], spread["detectable_effect"], strict=True))
    return ", ".join(f"{term} {effect:.2g}" for term, effect in effects.items() if np.isfinite(effect))


def _range_of_effects(spread: pd.DataFrame) -> str:
    effects = spread.loc[np.isfinite(spread["detectable_effect"]) & spread["term"].isin(SHOWN), "detectable_effect"]
    return f"{effects.min():.2g} to {effects.max():.2g}, by scorer (between_questions has each)"
