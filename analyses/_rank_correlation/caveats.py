"""What a reader must know before believing the table of rank correlations."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd

from analyses._rank_correlation.evidence import Evidence
from analyses._rank_correlation.side_by_side import SHOWN

FEW_QUESTIONS: Final = 20
_MOST_NAMED: Final = 4


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
    """One sentence for all terms of which the same is to be said."""
    terms: dict[str, list[str]] = {}
    for row in table.to_dict("records"):
        if sentence := _missing_interval(row["n_questions"], row["ci_low"], row["ci_high"]):
            terms.setdefault(sentence, []).append(row["term"])
    return [f"{_joined(named, len(table))}: {sentence}" for sentence, named in terms.items()]


def _missing_interval(n_questions: int, ci_low: float, ci_high: float) -> str | None:
    if n_questions == 0:
        return "position fixes the order of the scores or of deletion in every chain; there is nothing to estimate"
    if n_questions == 1:
        return "one question has no variation between questions; no interval and no p-value"
    if np.isnan(ci_low):
        return f"all {n_questions} questions have the same value; no interval and no p-value"
    if ci_high - ci_low == 2:
        return f"{n_questions} questions are too few for an interval shorter than -1..1"
    return None


def _joined(terms: list[str], n_terms: int) -> str:
    return ", ".join(terms) if len(terms) <= _MOST_NAMED else f"{len(terms)} of {n_terms} rows"


def _small_sample(spread: pd.DataFrame) -> list[str]:
    n_questions = int(spread["n_questions"].max())
    if not 2 <= n_questions < FEW_QUESTIONS:
        return []
    few = f"{n_questions} questions are few: intervals are wide and their coverage approximate."
    known = spread[spread["detectable_effect"] > 0]
    shown = known[known["term"].isin(SHOWN)] if "scorer" in spread else known
    if shown.empty:
        return [f"{few} No two of them differ, so how small a mean they could show is not known"]
    listing = _range_of_effects(shown["detectable_effect"]) if "scorer" in spread else _effects(shown)
    return [f"{few} With the spread seen between questions, the smallest mean found with 80 % power is: {listing}"]


def _effects(spread: pd.DataFrame) -> str:
    effects: Mapping[str, float] = dict(zip(spread["term"], spread["detectable_effect"], strict=True))
    return ", ".join(f"{term} {effect:.2g}" for term, effect in effects.items())


def _range_of_effects(effects: "pd.Series[float]") -> str:
    ends = dict.fromkeys(f"{effect:.2g}" for effect in (effects.min(), effects.max()))
    return f"{' to '.join(ends)}, by scorer (between_questions has each)"
