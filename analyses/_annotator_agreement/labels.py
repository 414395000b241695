"""The labels of several annotators on the same tokens of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analyses._statistics.agreement import MISSING
from analyses._statistics.questions import question_index
from analyses._tokens import tokens_with
from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.errors import AnalysisError
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import IntArray


@dataclass(frozen=True, eq=False)
class Labels:
    """Tokens that two or more annotators have labelled.

    Attributes
    ----------
    annotators
        Their names.
    codes
        (annotators, n) place in ``CATEGORIES``, `MISSING` for a token without a label.
    questions
        (n,) number of every token's question.
    chain_ids
        (n,) of every token.
    exclusions
        Tokens left out, by reason.
    """

    annotators: tuple[str, ...]
    codes: IntArray
    questions: IntArray
    chain_ids: Sequence[str]
    exclusions: Mapping[str, int]


def gather_labels(run: Run, annotators: Sequence[str]) -> Labels:
    """Read the labels that are to be compared.

    Tokens that show no character, and all but the first of those that share one, are left out: every annotator labels
    them alike by convention.

    Raises
    ------
    MissingError
        An annotator is unknown.
    AnalysisError
        There are fewer than two annotators, or no token has two labels.
    """
    names = _names(run, annotators)
    tokens = tokens_with(run, "text", "start", "end", labels=names)
    is_blank = tokens["text"].str.strip() == ""
    is_shared = tokens.duplicated(["chain_id", "start", "end"]) & ~is_blank
    codes = np.stack([_codes(tokens[f"category_{name}"], name, run) for name in names])
    is_alone = ((codes != MISSING).sum(axis=0) < 2) & ~is_blank & ~is_shared
    used = ~(is_blank | is_shared | is_alone)
    if not used.any():
        raise AnalysisError(
            f"{run.folder}: no token has the labels of two of {', '.join(names)}; let them label the same chains"
        )
    reasons = {"no_visible_character": is_blank, "shares_its_characters": is_shared, "fewer_than_2_labels": is_alone}
    return Labels(
        names,
        codes[:, used],
        question_index(tokens.loc[used, "question_id"].tolist()),
        tokens.loc[used, "chain_id"].tolist(),
        {reason: int(left_out.sum()) for reason, left_out in reasons.items() if left_out.any()},
    )


def _names(run: Run, wanted: Sequence[str]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys([run.annotator_named(name) for name in wanted] or run.annotators))
    if len(names) < 2:
        raise AnalysisError(
            f"{run.folder}: agreement needs two or more annotators, not {', '.join(names) or 'none'}; add one with: "
            f"reasoning-anatomy annotate {run.folder} --annotator KEY, or reasoning-anatomy annotations import"
        )
    return names


def _codes(labels: "pd.Series[str]", name: str, run: Run) -> IntArray:
    present = labels.notna()
    if unknown := sorted(set(labels[present]) - set(CATEGORIES)):
        raise AnalysisError(f"{run.folder}: {name!r} has the category {unknown[0]!r}; expected one of {', '.join(CATEGORIES)}")
    places: dict[str, int] = {category: place for place, category in enumerate(CATEGORIES)}
    return np.array([places[label] if known else MISSING for label, known in zip(labels, present, strict=True)], dtype=np.int64)
