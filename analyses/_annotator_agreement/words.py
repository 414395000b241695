"""The finding of annotator agreement in one sentence, and what a reader must know before believing the table."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analyses._sentences import FEW_QUESTIONS, briefly, few_questions, number, with_interval


def finding(table: pd.DataFrame, annotators: Sequence[str], *, confidence: float) -> str:
    """Say in one sentence how far the annotators agree."""
    who = f"{', '.join(annotators[:-1])} and {annotators[-1]}"
    measure, name = ("kappa", "Cohen's kappa") if len(annotators) == 2 else ("alpha", "Krippendorff's alpha")
    rows = {row["term"]: row for row in table[table["annotators"] == ", ".join(annotators)].to_dict("records")}
    six, two = rows[f"{measure}_categories"], rows[f"{measure}_classes"]
    if np.isnan(six["estimate"]):
        return f"{who} use one and the same category throughout, so their agreement beyond chance cannot be computed."
    beyond = f"{name} {with_interval(six, confidence=confidence)} on the six categories"
    beyond += (
        ", which cannot be computed on the two classes" if np.isnan(two["estimate"]) else f", {briefly(two)} on the two classes"
    )
    if len(annotators) == 2:
        share = f"{100 * rows['agreement_categories']['estimate']:.0f}\N{NO-BREAK SPACE}%"
        return f"{who} give {share} of tokens the same category: {beyond}."
    return f"{who} agree as follows: {beyond}{_range_of_pairs(table)}."


def warnings(table: pd.DataFrame, n_questions: int) -> list[str]:
    """Sentences for ``AnalysisResult.warnings``."""
    said = []
    if n_questions == 1:
        said.append("one question has no variation between questions; no interval")
    elif n_questions < FEW_QUESTIONS:
        said.append(few_questions(n_questions))
    rows = {(row["annotators"], row["term"]): row for row in table.to_dict("records")}
    for (names, term), three in rows.items():
        if term in ("alpha_classes_entities_apart", "kappa_classes_entities_apart"):
            two = rows[names, term.removesuffix("_entities_apart")]
            if not two["ci_low"] <= three["estimate"] <= two["ci_high"] and np.isfinite(two["ci_low"]):
                said.append(
                    f"{term} of {names}: is {three['estimate']:.3f}, so that taking ENTITY_NAME out as a third class leaves "
                    f"the interval of the two classes ({two['estimate']:.3f}); say which is meant"
                )
    return said + [
        f"{term} of {names}: only one label is used, so agreement beyond chance cannot be computed"
        for (names, term), row in rows.items()
        if np.isnan(row["estimate"])
    ]


def _range_of_pairs(table: pd.DataFrame) -> str:
    pairs = table[table["term"] == "kappa_categories"].dropna(subset="estimate").sort_values("estimate", kind="stable")
    ends = [f"{number(row['estimate'])} ({row['annotators']})" for row in pairs.to_dict("records")]
    return f"; Cohen's kappa of the pairs is {ends[0]} to {ends[-1]}" if len(ends) > 1 else ""
