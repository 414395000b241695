"""The tables of category_survival: what the chains say, combined over questions."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd

from analyses._category_survival.evidence import ALL_ENDINGS, Evidence
from analyses._category_survival.reading import Reading
from analyses._sample import QuestionSample
from analyses._schemes import ENDINGS, Scheme
from analyses._statistics.families import adjust
from analyses._statistics.questions import question_means
from analyses._statistics.survival import kaplan_meier, relative_times
from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.types import RESULT_COLUMNS, FloatArray

MAIN: Final = "table"
"""Name of the main table among those of `tables_of`."""

_CATEGORIES: Final = "categories"


def tables_of(
    reading: Reading, evidence: Mapping[str, Evidence], sample: QuestionSample, *, keep_ratios: FloatArray
) -> dict[str, pd.DataFrame]:
    """Combine the chains of one annotator under one strategy: `MAIN`, and the detail tables of means over chains by name."""
    rows = pd.concat([_rows(found, sample, reading.horizon) for found in evidence.values()], ignore_index=True)
    is_category_pair = (rows["scheme"] == _CATEGORIES) & rows["is_difference"]
    pairs = rows[is_category_pair].rename(columns={"first": "category_a", "second": "category_b"})
    return {
        MAIN: rows.loc[~is_category_pair, ["scheme", *RESULT_COLUMNS]],
        "between_categories": pairs[["category_a", "category_b", *RESULT_COLUMNS]],
        "curves": _stacked([_curves(reading, found, sample) for found in evidence.values()]),
        "retention": _stacked([_retention(found, sample, keep_ratios) for found in evidence.values()]),
        "between_questions": _stacked([_between_questions(found, sample) for found in evidence.values()]),
        "censored": _censored(reading),
    }


def _stacked(parts: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(parts, ignore_index=True)


def _rows(found: Evidence, sample: QuestionSample, horizon: float) -> pd.DataFrame:
    """All terms of a scheme with every ending; the p-values of the differences of one ending are a family."""
    labels = _labels(found.scheme)
    parts = []
    for number, ending in enumerate(ALL_ENDINGS):
        for is_difference, lowest in ((False, 0.0), (True, -horizon)):
            chosen = (labels["is_difference"] == is_difference).to_numpy()
            part = sample.summary(
                found.restricted[:, number, chosen],
                labels[chosen].assign(term=labels["term"] + ending),
                n_tokens=found.n_tokens[:, chosen],
                lowest=lowest,
                highest=horizon,
            )
            if not is_difference:  # that tokens are not left at all is nobody's hypothesis
                part["p_value"] = np.nan
            parts.append(part.assign(p_adjusted=adjust(part["p_value"].to_numpy(), "holm")))
    return _stacked(parts)


def _labels(scheme: Scheme) -> pd.DataFrame:
    """One row per term."""
    pairs = [(group, "") for group in scheme.groups] + scheme.pairs
    return pd.DataFrame(pairs, columns=["first", "second"]).assign(
        scheme=scheme.name, term=scheme.terms, is_difference=lambda table: table["second"] != ""
    )


def _curves(reading: Reading, found: Evidence, sample: QuestionSample) -> pd.DataFrame:
    """One row per group and time: the mean curve of chains, then questions, with its interval and band."""
    chains = [relative_times(chain.step) for chain in reading.chains]
    time, is_deleted = (np.concatenate(columns) for columns in zip(*chains, strict=True))
    group = found.scheme.group_of_category[np.concatenate([chain.category for chain in reading.chains])]
    group = np.where(np.concatenate([chain.category for chain in reading.chains]) < 0, -1, group)
    parts = []
    for number, name in enumerate(found.scheme.groups):
        curve = found.curves[:, number]
        means = sample.shares(curve)
        low, high = sample.band(curve)
        is_of_group = group == number
        part = {
            "scheme": found.scheme.name,
            "group": name,
            "time": found.times,
            "estimate": means.estimate,
            "ci_low": means.ci_low,
            "ci_high": means.ci_high,
            "band_low": low,
            "band_high": high,
            "pooled": kaplan_meier(time[is_of_group], is_deleted[is_of_group], found.times),
            "n_questions": means.n_questions.astype(np.int64),
            "n_chains": np.isfinite(curve).sum(axis=0),
            "n_tokens": int(is_of_group.sum()),
        }
        parts.append(pd.DataFrame(part))
    return _stacked(parts)


def _retention(found: Evidence, sample: QuestionSample, keep_ratios: FloatArray) -> pd.DataFrame:
    """One row per group, keep ratio and ending; the groups and ratios of one ending are a family."""
    groups = list(found.scheme.groups)
    labels = pd.DataFrame(
        {"scheme": found.scheme.name, "keep_ratio": np.repeat(keep_ratios, len(groups)), "group": groups * len(keep_ratios)}
    )
    n_chains = len(found.excess)
    n_tokens = np.tile(found.n_tokens[:, : len(groups)], len(keep_ratios))
    achieved = np.repeat(found.achieved, len(groups), axis=1)
    parts = []
    for number, ending in enumerate(ENDINGS):
        values = found.excess[:, number].reshape(n_chains, -1)
        part = sample.summary(values, labels.assign(term=labels["group"] + ending), n_tokens=n_tokens)
        part["achieved"] = _mean(sample, np.where(np.isfinite(values), achieved, np.nan))
        part["kept"] = part["achieved"] + part["estimate"]
        parts.append(part.assign(p_adjusted=adjust(part["p_value"].to_numpy(), "holm")))
    return _stacked(parts)[["scheme", "keep_ratio", "achieved", "kept", *RESULT_COLUMNS]]


def _mean(sample: QuestionSample, values: FloatArray) -> FloatArray:
    """Mean over chains, then questions; (chains, columns) -> (columns,)."""
    per_question = question_means(values, sample.questions)
    return np.asarray(question_means(per_question, np.zeros(len(per_question), dtype=np.int64))[0])


def _between_questions(found: Evidence, sample: QuestionSample) -> pd.DataFrame:
    """How far the questions differ in each difference."""
    parts = []
    for number, ending in enumerate(ALL_ENDINGS):
        values = found.restricted[:, number, len(found.scheme.groups) :]
        spread = sample.spread(values, [f"{name}{ending}" for name in found.scheme.differences])
        spread.insert(0, "scheme", found.scheme.name)
        parts.append(spread)
    return _stacked(parts)


def _censored(reading: Reading) -> pd.DataFrame:
    """How many tokens of every category there are, how many were never deleted, and how many were left at the horizon."""
    category = np.concatenate([chain.category for chain in reading.chains])
    step = np.concatenate([chain.step for chain in reading.chains])
    time = np.concatenate([chain.step / len(chain.step) for chain in reading.chains])
    counts = {
        "n_tokens": np.ones(len(step), dtype=bool),
        "n_censored": np.isnan(step),
        "n_left_at_horizon": ~(time <= reading.horizon + 1e-12),
    }
    table = pd.DataFrame({"category": CATEGORIES, "horizon": reading.horizon})
    return table.assign(
        **{name: np.bincount(category[chosen & (category >= 0)], minlength=len(CATEGORIES)) for name, chosen in counts.items()}
    )
