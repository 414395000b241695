"""The tables of deletion_by_category: what the chains say, combined over questions."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from analyses._deletion_by_category.evidence import Evidence
from analyses._exclusions import left_out_table
from analyses._sample import QuestionSample
from analyses._schemes import ENDINGS, SCHEMES, Scheme
from analyses._statistics.families import adjust
from analyses._statistics.questions import question_means
from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.types import RESULT_COLUMNS

MAIN = "table"
"""Name of the main table among those of `tables_by_labels`."""

_CATEGORIES = "categories"
_LABELS = ["annotator", "strategy"]


def tables_by_labels(
    evidence: Mapping[tuple[str, str], Evidence], *, draws: int, seed: int, confidence: float
) -> dict[str, pd.DataFrame]:
    """Combine the chains of every annotator and strategy that have a usable one.

    Parameters
    ----------
    evidence
        By annotator and strategy, at least one of them with a usable chain.
    draws, seed, confidence
        Of the bootstrap over questions.

    Returns
    -------
    `MAIN` and the detail tables by name, each with first columns ``annotator, strategy``.
    """
    parts = {
        labels: _tables(found, QuestionSample(found.question_ids, draws, confidence, seed))
        for labels, found in evidence.items()
        if found.chain_ids
    }
    first = next(iter(parts.values()))
    tables = {name: _stacked({labels: part[name] for labels, part in parts.items()}) for name in first}
    tables["left_out"] = left_out_table({labels: found.exclusions for labels, found in evidence.items()}, _LABELS)
    return tables


def _stacked(by_labels: Mapping[tuple[str, str], pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(by_labels, names=_LABELS).reset_index(_LABELS).reset_index(drop=True)


def _tables(evidence: Evidence, sample: QuestionSample) -> dict[str, pd.DataFrame]:
    rows = pd.concat([_rows(evidence, sample, scheme) for scheme in SCHEMES], ignore_index=True)
    is_category_pair = (rows["scheme"] == _CATEGORIES) & rows["is_difference"]
    pairs = rows[is_category_pair].rename(columns={"first": "category_a", "second": "category_b"})
    return {
        MAIN: rows.loc[~is_category_pair, ["scheme", *RESULT_COLUMNS]],
        "between_categories": pairs[["category_a", "category_b", *RESULT_COLUMNS]],
        "between_questions": _between_questions(evidence, sample),
        "per_question": _per_question(evidence, sample),
        "censored": _censored(evidence),
    }


def _rows(evidence: Evidence, sample: QuestionSample, scheme: Scheme) -> pd.DataFrame:
    """All terms of a scheme, as they are and then given position; the p-values of the differences are a family each."""
    labels = _labels(scheme)
    values, n_tokens = evidence.by_scheme[scheme.name], evidence.n_tokens(scheme)
    parts = []
    for number, ending in enumerate(ENDINGS):
        for is_difference, lowest in ((False, 0), (True, -1)):
            chosen = (labels["is_difference"] == is_difference).to_numpy()
            part = sample.summary(
                values[:, number, chosen],
                labels[chosen].assign(term=labels["term"] + ending),
                n_tokens=n_tokens[:, chosen],
                lowest=lowest,
            )
            if not is_difference:  # a mean step of zero is nobody's hypothesis
                part["p_value"] = np.nan
            parts.append(part.assign(p_adjusted=adjust(part["p_value"].to_numpy(), "holm")))
    return pd.concat(parts, ignore_index=True)


def _labels(scheme: Scheme) -> pd.DataFrame:
    """One row per term."""
    pairs = [(group, "") for group in scheme.groups] + scheme.pairs
    return pd.DataFrame(pairs, columns=["first", "second"]).assign(
        scheme=scheme.name, term=scheme.terms, is_difference=lambda table: table["second"] != ""
    )


def _between_questions(evidence: Evidence, sample: QuestionSample) -> pd.DataFrame:
    """How far the questions differ in each difference."""
    parts = []
    for scheme in SCHEMES:
        values = evidence.by_scheme[scheme.name][..., len(scheme.groups) :]
        for number, ending in enumerate(ENDINGS):
            spread = sample.spread(values[:, number], [f"{name}{ending}" for name in scheme.differences])
            spread.insert(0, "scheme", scheme.name)
            parts.append(spread)
    return pd.concat(parts, ignore_index=True)


def _per_question(evidence: Evidence, sample: QuestionSample) -> pd.DataFrame:
    """Mean step of every group in every question that has a value."""
    ids = list(dict.fromkeys(sample.question_ids))
    parts = []
    for scheme in SCHEMES:
        values = evidence.by_scheme[scheme.name][..., : len(scheme.groups)]
        for number, ending in enumerate(ENDINGS):
            means = pd.DataFrame(question_means(values[:, number], sample.questions), columns=list(scheme.groups))
            table = means.add_suffix(ending).assign(scheme=scheme.name, question_id=ids)
            parts.append(table.melt(id_vars=["scheme", "question_id"], var_name="term", value_name="estimate"))
    return pd.concat(parts, ignore_index=True).dropna(subset="estimate")[["scheme", "term", "question_id", "estimate"]]


def _censored(evidence: Evidence) -> pd.DataFrame:
    """How many tokens of every category there are, and how many of them were never deleted."""
    return pd.DataFrame(
        {
            "category": CATEGORIES,
            "n_chains": (evidence.n_of_category > 0).sum(axis=0),
            "n_tokens": evidence.n_of_category.sum(axis=0),
            "n_censored": evidence.n_censored.sum(axis=0),
        }
    )
