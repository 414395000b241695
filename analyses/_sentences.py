"""What analyses say in words: the warnings that several share, and the numbers of a finding."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from reasoning_anatomy.verdicts import AGAINST, CLEAR, UNDECIDED, says_nothing

Row = Mapping[Hashable, Any]
"""A row of a result, as ``to_dict("records")`` gives it."""

FEW_QUESTIONS: Final = 20
_MOST_NAMED: Final = 4


def verdict(row: Row) -> str:
    """Say what an estimate tells of questions that were not asked; one question alone decides nothing."""
    if int(row["n_questions"]) < 2 or not is_clear(row):
        return UNDECIDED
    return CLEAR if row["estimate"] > 0 else AGAINST


def judged_by(raw: Row, given: Row) -> tuple[Row, str]:
    """Return the value that decides, that with position held constant if there is one, and the words that say so."""
    if int(given["n_questions"]):
        return given, " with position held constant"
    return raw, ""


def left_free(raw: Row, given: Row) -> str:
    """Second sentence of a finding: the value without the control, and what the control did to it."""
    if not int(given["n_questions"]):
        return "Position cannot be held constant: it fixes the order of what is compared."
    explained = ", which position may explain" if direction(raw) and has_interval(given) and not direction(given) else ""
    return f"Without that it is {briefly(raw)}{explained}."


def direction(row: Row) -> int:
    """Sign of an estimate whose interval leaves out zero; 0 if it holds zero or is missing."""
    return int(row["ci_low"] > 0) - int(row["ci_high"] < 0)


def is_clear(row: Row) -> bool:
    """Whether the sign of an estimate may be spoken of: its interval leaves out zero, or it has none and is not zero."""
    return direction(row) != 0 if has_interval(row) else row["estimate"] != 0


def has_interval(row: Row) -> bool:
    """Whether a row of a result has an interval."""
    return bool(np.isfinite(row["ci_low"]))


def number(value: float) -> str:
    """Two digits after the point, as a reader of a sentence wants them; an exact reader has the table."""
    return f"{value + 0.0:.2f}".replace("-0.00", "0.00").replace("-", "\N{MINUS SIGN}")


def number_or_nothing(value: float) -> str:
    """Write a number as `number` does, and an empty text for what is not known."""
    return number(value) if np.isfinite(value) else ""


def differ(count: int) -> str:
    """Verb of a sentence about ``count`` of several."""
    return "differs" if count == 1 else "differ"


def are(count: int) -> str:
    """Verb of a sentence about ``count`` of several; none is one."""
    return "is" if count < 2 else "are"


def with_interval(row: Row, *, confidence: float) -> str:
    """Estimate, interval and number of questions of a row: ``0.31 (95 % interval 0.12 to 0.50, 25 questions)``."""
    n_questions = int(row["n_questions"])
    if n_questions == 1:
        return f"{number(row['estimate'])} (one question, which has no interval)"
    if not has_interval(row):
        return f"{number(row['estimate'])} (the same in all {n_questions} questions, so without an interval)"
    questions = f"only {n_questions} questions" if n_questions < FEW_QUESTIONS else f"{n_questions} questions"
    if says_nothing(row["ci_low"], row["ci_high"]):
        return f"{number(row['estimate'])} ({questions}, too few for an interval that says anything)"
    return f"{number(row['estimate'])} ({100 * confidence:.6g}\N{NO-BREAK SPACE}% interval {ends(row)}, {questions})"


def ends(row: Row) -> str:
    """Write the interval of a row: ``0.12 to 0.50``, or that it says nothing."""
    if says_nothing(row["ci_low"], row["ci_high"]):
        return "says nothing"
    return f"{number(row['ci_low'])} to {number(row['ci_high'])}"


def briefly(row: Row) -> str:
    """Estimate and interval of a row, beside one that says the rest: ``0.05 (-0.10 to 0.20)``."""
    return number(row["estimate"]) + (f" ({ends(row)})" if has_interval(row) else "")


def few_questions(n_questions: int) -> str:
    """Warn of a small sample."""
    return f"{n_questions} questions are few: intervals are wide and their coverage approximate"


def small_sample(spread: pd.DataFrame) -> list[str]:
    """Say what so few questions could have found, from a table ``between_questions``; nothing if they are many."""
    n_questions = int(spread["n_questions"].max())
    if not 2 <= n_questions < FEW_QUESTIONS:
        return []
    few = few_questions(n_questions)
    effects = spread[spread["detectable_effect"] > 0].groupby("term", sort=False)["detectable_effect"].agg(["min", "max"])
    if effects.empty:
        return [f"{few}. No two of them differ, so how small a mean they could show is not known"]
    listing = ", ".join(f"{term} {_span(low, high)}" for term, low, high in effects.itertuples())
    return [f"{few}. With the spread seen between questions, the smallest mean found with 80 % power is: {listing}"]


def missing_intervals(
    table: pd.DataFrame, names: Sequence[str], *, widest: Sequence[float], nothing: str | Sequence[str]
) -> list[str]:
    """Say why rows of a table have no interval, or none that says anything; one sentence for all rows of one reason.

    Parameters
    ----------
    table
        Of a result.
    names
        What to call each row.
    widest
        Width of the interval that holds every value there can be, for each row.
    nothing
        Why a row has no value, if it has none; of all rows, or of each.
    """
    reasons: dict[str, list[str]] = {}
    why = [nothing] * len(table) if isinstance(nothing, str) else nothing
    for row, name, width, none in zip(table.to_dict("records"), names, widest, why, strict=True):
        if sentence := _missing_interval(row, width, none):
            reasons.setdefault(sentence, []).append(name)
    return [
        f"{', '.join(rows) if len(rows) <= _MOST_NAMED else f'{len(rows)} of {len(table)} rows'}: {sentence}"
        for sentence, rows in reasons.items()
    ]


def _missing_interval(row: Row, width: float, nothing: str) -> str | None:
    n_questions = row["n_questions"]
    if n_questions == 0:
        return nothing
    if n_questions == 1:
        return "one question has no variation between questions; no interval and no p-value"
    if not has_interval(row):
        return f"all {n_questions} questions have the same value; no interval and no p-value"
    if row["ci_high"] - row["ci_low"] >= width:
        return f"{n_questions} questions are too few for an interval that leaves out any value"
    return None


def _span(low: float, high: float) -> str:
    return " to ".join(dict.fromkeys(f"{end:.2g}" for end in (low, high)))
