"""The finding of restatement_audit in a sentence, and what a reader must know before believing the table."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from analyses._restatement_audit import accuracy, deletion_time, likelihood
from analyses._restatement_audit.effects import DIFFERENCE, KEPT, SHARE_LEFT, STRIPPED
from analyses._sentences import FEW_QUESTIONS, Row, briefly, few_questions, has_interval
from reasoning_anatomy.verdicts import UNDECIDED

_EFFECTS: Final = {
    deletion_time.PART: "the difference between the classes in the time that a token is left by {strategy} (categories by "
    "{annotator})",
    likelihood.PART: "the area between the nll curves of {strategy}",
    accuracy.PART: "the {term} by {strategy}",
}
_WITHOUT: Final = {
    deletion_time.PART: "without the tokens that restate the answer",
    likelihood.PART: "without the keep ratios at which only one of the two still states the answer",
    accuracy.PART: "if what states the answer is stripped",
}


def finding(table: pd.DataFrame) -> str:
    """Say of the first effect of every part how much of it is left; first of those of which something could be left."""
    said = []
    for part, rows in table.groupby("part", sort=False):
        first = rows[rows["restatements"] == KEPT].iloc[0]
        of_effect = rows[(rows[["annotator", "strategy", "term"]] == first[["annotator", "strategy", "term"]]).all(axis=1)]
        said.append(_left(str(part), {row["restatements"]: row for row in of_effect.to_dict("records")}))
    said.sort(key=lambda text: text.startswith(UNDECIDED))
    return "\n".join(f"{text[0].upper()}{text[1:]}." for text in said)


def warnings(table: pd.DataFrame, missing: Mapping[str, str], said: Sequence[str]) -> list[str]:
    """Sentences for ``AnalysisResult.warnings``.

    Parameters
    ----------
    table
        The main table.
    missing
        Why there is nothing of a part, with the command for it, by part.
    said
        What the parts say.
    """
    sentences = [f"nothing is said of {part}: {reason}" for part, reason in missing.items()]
    sentences += said
    n_questions = int(table["n_questions"].max())
    if 2 <= n_questions < FEW_QUESTIONS:
        sentences.append(
            f"{few_questions(n_questions)}. One question apart from others that are alike makes an interval very wide, so that "
            "of a difference may be wider than both of its parts"
        )
    shares = table[(table["restatements"] == SHARE_LEFT) & table["estimate"].isna() & (table["n_questions"] > 0)]
    if len(shares):
        sentences.append(
            f"{len(shares)} of {(table['restatements'] == SHARE_LEFT).sum()} effects are not clear with restatements kept, so "
            "that there is nothing of which a share could be left"
        )
    differences = table[(table["restatements"] == DIFFERENCE) & (table["n_questions"] > 1)]
    without = differences[differences["ci_low"].isna() & (differences["estimate"] == 0)]
    if len(without):
        sentences.append(f"{len(without)} effects are the same with and without restatements in all questions; no interval")
    return sentences


def _left(part: str, rows: Mapping[str, Row]) -> str:
    kept, stripped, share, difference = (rows[form] for form in (KEPT, STRIPPED, SHARE_LEFT, DIFFERENCE))
    effect, without = _EFFECTS[part].format(**_texts(kept)), _WITHOUT[part]
    if kept["n_questions"] == 0:
        return f"nothing can be said of {effect}, since no chain has a value both with and without what restates the answer"
    values = f"{briefly(kept)} with restatements, {briefly(stripped)} without, difference {_difference(difference)}"
    if not np.isfinite(share["estimate"]):
        return f"{UNDECIDED}: {effect} is not clear even with restatements, so that no share of it could be left: {values}"
    interval = f" ({_percent(share['ci_low'])} to {_percent(share['ci_high'])})" if has_interval(share) else ""
    return f"{_percent(share['estimate'])}{interval} of {effect} are left {without}: {values}"


def _texts(row: Row) -> dict[str, Any]:
    texts = {name: row[name] for name in ("annotator", "strategy", "term")}
    return texts | {"strategy": " and ".join(str(row["strategy"]).split(" - "))}


def _difference(row: Row) -> str:
    return briefly(row) if np.isfinite(row["estimate"]) else "not compared"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}\N{NO-BREAK SPACE}%".replace("-", "\N{MINUS SIGN}")
