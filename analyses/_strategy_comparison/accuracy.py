"""Accuracy of answers at the same achieved keep ratio, from the answers of a sweep.

A threshold means something else to every strategy. So the accuracy of each chain is read at keep ratios, on straight lines
between the ratios that its thresholds have achieved; cells that `threshold_comparison` does not compare, since more or fewer of
their answers are cut off than at threshold 0, are not read, nor is anything between them and their neighbours.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import pandas as pd

from analyses._statistics.bootstrap import Means, resample_counts
from analyses._statistics.curves import weights_at
from analyses._statistics.families import adjust
from analyses._statistics.position import BoolArray
from analyses._statistics.questions import question_means
from analyses._statistics.shares import bounded_means
from analyses._threshold_comparison.answers import GROUP, LIVE, WORLD, Answers
from analyses._threshold_comparison.comparisons import with_zero
from analyses._threshold_comparison.sample import AnswerSample
from reasoning_anatomy.types import FloatArray

_ROUNDING: Final = 1e-9
_COUNTS: Final = ["n_questions", "n_chains"]


@dataclass(frozen=True)
class Resamples:
    """Options of the bootstrap over questions."""

    draws: int
    confidence: float
    seed: int


def accuracy_tables(answers: Answers, ratios: Sequence[float], options: Resamples) -> dict[str, pd.DataFrame]:
    """Compare accuracy at the same keep ratios, within each reading and form of restatements.

    Returns
    -------
    ``accuracy``: one row per group of the sweep and keep ratio, over the chains that it reaches there; ``accuracy_pairs``: one
    row per keep ratio and two groups, over the chains that both reach; ``difference`` is ``first`` less ``second``, positive =
    ``first`` is more accurate; Holm over the pairs of a keep ratio. Texts that were written anew are not among them.
    """
    sample = AnswerSample(answers, options.draws, options.confidence, options.seed)
    zero = with_zero(sample, margin=None)
    refused = np.isin(np.arange(len(answers.cells)), zero.loc[zero["is_cut_off"], "first"])
    levels, pairs = [], []
    for world, cells in answers.cells[answers.cells["reading"] != LIVE].groupby(WORLD, sort=False):
        about = {name: str(value) for name, value in zip(WORLD, world, strict=True)}
        groups = {_name(group): rows.index.to_numpy() for group, rows in cells.groupby(GROUP, sort=False)}
        read = {name: read_accuracy(answers, columns, refused, ratios) for name, columns in groups.items()}
        labels = pd.DataFrame({"strategy": list(read)}).merge(pd.DataFrame({"keep_ratio": list(ratios)}), how="cross")
        levels.append(_levels(answers, np.concatenate(list(read.values()), axis=1), labels.assign(**about), options))
        pairs += [_pairs(answers, {name: of[:, at] for name, of in read.items()}, about, ratio, options)
                  for at, ratio in enumerate(ratios) if len(read) > 1]  # fmt: skip
    tables = {"accuracy": pd.concat(levels, ignore_index=True)} if levels else {}
    return tables | ({"accuracy_pairs": pd.concat(pairs, ignore_index=True)} if pairs else {})


def read_accuracy(answers: Answers, columns: FloatArray, refused: BoolArray, ratios: Sequence[float]) -> FloatArray:
    """Read the accuracy of every chain at keep ratios.

    Parameters
    ----------
    answers
        Of a sweep.
    columns
        Numbers of the cells of one group.
    refused
        (cells,) whether a cell is not to be read.
    ratios
        Keep ratios.

    Returns
    -------
    (chains, ratios) 0..1; NaN where the thresholds of the group do not reach, or a cell is refused that the value needs.
    """
    correct = answers.by_chain(answers.outcomes["correct"][:, columns])
    deleted = 1 - answers.by_chain(answers.outcomes["achieved_ratio"][:, columns])
    found = np.full((len(correct), len(ratios)), np.nan)
    for chain, (accuracy, places) in enumerate(zip(correct, deleted, strict=True)):
        is_there = np.isfinite(accuracy) & np.isfinite(places)
        if is_there.any():
            known = np.where(refused[columns], np.nan, accuracy)[is_there]
            found[chain] = _read(places[is_there], known, 1 - np.asarray(ratios))
    return found


def _read(places: FloatArray, accuracy: FloatArray, wanted: FloatArray) -> FloatArray:
    """Read one chain; thresholds that achieved the same ratio are averaged."""
    at, number = np.unique(places, return_inverse=True)
    if len(at) < 2:
        return np.full(len(wanted), np.nan)
    mean = np.bincount(number, weights=accuracy) / np.bincount(number)
    weights = weights_at(at, wanted)
    is_unknown = np.isnan(mean)[:, None] & (weights > _ROUNDING)
    value = np.where(np.isnan(mean), 0, mean) @ weights
    return np.where(is_unknown.any(axis=0), np.nan, value)


def _levels(answers: Answers, values: FloatArray, labels: pd.DataFrame, options: Resamples) -> pd.DataFrame:
    means = _means(answers, values, options, lowest=0)
    return labels[["strategy", *WORLD, "keep_ratio"]].assign(
        accuracy=means.estimate, accuracy_low=means.ci_low, accuracy_high=means.ci_high, **_counts(means, values)
    )


def _pairs(
    answers: Answers, read: dict[str, FloatArray], about: dict[str, str], ratio: float, options: Resamples
) -> pd.DataFrame:
    """Compare every two groups at one keep ratio."""
    pairs = list(combinations(read, 2))
    values = np.stack([read[first] - read[second] for first, second in pairs], axis=1)
    means = _means(answers, values, options, lowest=-1)
    return pd.DataFrame(pairs, columns=["first", "second"]).assign(
        **about, keep_ratio=ratio, difference=means.estimate, difference_low=means.ci_low, difference_high=means.ci_high,
        p_value=means.p_value, p_adjusted=adjust(means.p_value, "holm"), **_counts(means, values),
    )  # fmt: skip


def _means(answers: Answers, values: FloatArray, options: Resamples, *, lowest: float) -> Means:
    """Average chains within questions, then questions; (chains, columns) -> (columns,)."""
    resamples = resample_counts(len(answers.question_ids), draws=options.draws, rng=np.random.default_rng(options.seed))
    by_question = question_means(values, answers.question)
    return bounded_means(by_question, resamples, confidence=options.confidence, lowest=lowest, highest=1)


def _counts(means: Means, values: FloatArray) -> dict[str, FloatArray]:
    return dict(zip(_COUNTS, (means.n_questions.astype(np.int64), np.isfinite(values).sum(axis=0)), strict=True))


def _name(group: tuple[Hashable, ...]) -> str:
    strategy, reference = group[:2]
    return f"{strategy} as {reference}" if reference else str(strategy)
