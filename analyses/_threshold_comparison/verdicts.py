"""The verdict on a threshold, and the sentence that says why."""

from typing import Final

import numpy as np

from analyses._sentences import Row, ends, number
from analyses._statistics.power import questions_needed

BETTER: Final = "better"
WORSE: Final = "worse"
NOT_WORSE: Final = "not worse by more than the margin"
UNDECIDED: Final = "undecided"
NOTHING_DELETED: Final = "nothing was deleted"
NOT_COMPARED: Final = "not compared: truncation differs"

VERDICTS: Final = (BETTER, NOT_WORSE, UNDECIDED, WORSE, NOTHING_DELETED, NOT_COMPARED)
"""In the order in which they are spoken of."""

LEVEL_OF_TRUNCATION: Final = 0.05
"""p-value at which truncation rates differ beyond chance."""


def verdict(row: Row, *, margin: float | None, confidence: float) -> str:
    """Judge one comparison.

    A difference that is shown in both ways, below zero and above the margin, is `NOT_WORSE`; the sentence says the rest.

    Parameters
    ----------
    row
        Of `tables.compared`.
    margin
        Loss that would not matter; None if the user states none.
    confidence
        1 - significance level, of the p-values after Holm.
    """
    if row["is_cut_off"]:
        return NOT_COMPARED
    if row["is_untouched"]:
        return NOTHING_DELETED
    level = 1 - confidence + 1e-12
    is_different = row["p_adjusted"] <= level
    if is_different and row["estimate"] > 0:
        return BETTER
    if margin is not None and row["p_not_worse_adjusted"] <= level:
        return NOT_WORSE
    return WORSE if is_different and row["estimate"] < 0 else UNDECIDED


def because(row: Row, *, what: str, margin: float | None, confidence: float) -> str:
    """Say why a comparison has its verdict; ``what``: where the other accuracy is from, such as ``at threshold 0``."""
    if row["verdict"] == NOT_COMPARED:
        return (
            f"{_percent(row['truncated'])} of answers are cut off, {_percent(row['truncated_there'])} {what} "
            f"(p {row['p_truncated']:.2g}): more than chance, and what is cut off is seldom right"
        )
    if row["verdict"] == NOTHING_DELETED:
        return f"every chain is what it is {what}, so there is nothing to compare"
    if row["n_questions"] < 2:
        return "one question has no variation between questions" if row["n_questions"] else "no answer has its counterpart"
    exact = f" (McNemar's exact test {row['p_exact_adjusted']:.2g})" if np.isfinite(row["p_exact_adjusted"]) else ""
    shown = f"difference {number(row['estimate'])} ({ends(row)}), p {row['p_adjusted']:.2g} by Holm{exact}"
    if row["verdict"] == NOT_WORSE:
        fall = f"; accuracy does fall: {shown}" if row["p_adjusted"] <= 1 - confidence and row["estimate"] < 0 else ""
        return f"the loss is below {margin:g}, p {row['p_not_worse_adjusted']:.2g} by Holm{fall}"
    return shown + (_what_it_would_take(row, margin, confidence) if row["verdict"] == UNDECIDED else "")


def _what_it_would_take(row: Row, margin: float | None, confidence: float) -> str:
    """Say how many questions would decide, if the margin is known."""
    if margin is None:
        return ""
    needed = questions_needed(row["sd_questions"], margin, confidence=confidence, sides=1)
    unseen = float(np.ceil(np.log(1 - confidence) / np.log(1 - margin)))
    if row["n_questions"] < unseen:
        needed = max(needed, unseen) if np.isfinite(needed) else unseen
    return f"; about {needed:.0f} questions would rule out a loss of {margin:g} if there is none" if np.isfinite(needed) else ""


def _percent(share: float) -> str:
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"
