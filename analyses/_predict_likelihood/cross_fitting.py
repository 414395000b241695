"""Predictions for questions by models that have not seen them; settings are chosen without those questions, too."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from analyses._predict_likelihood.learners import PENALTIES, Learner, Predict, Rows, linear
from analyses._statistics.ridge import products, ridge, squared_error
from reasoning_anatomy.types import FloatArray, IntArray

UNSEEN: Final = -1
"""Fold of the questions that no model is fitted on; they are predicted from all folds."""


@dataclass(frozen=True, eq=False)
class CrossFit:
    """Models of one kind, each fitted to some folds of the questions to predict another.

    Attributes
    ----------
    models
        By the fold that each is to predict.
    means
        Of the outcome that each was fitted on.
    settings
        Chosen for each.
    """

    models: Mapping[int, Predict]
    means: Mapping[int, float]
    settings: Mapping[int, Mapping[str, Any]]

    def predict(self, rows: Rows, fold: IntArray) -> FloatArray:
        """Predict every row (rows, columns) by the model for its fold (rows,), less the mean that the model was fitted on.

        Without that mean, models that know nothing predict 0 for all folds. With it, their predictions would fall where the
        outcome rises: a fold that lies high leaves a low mean to the others.
        """
        predicted = np.empty(len(rows))
        for number, model in self.models.items():
            chosen = fold == number
            if chosen.any():
                predicted[chosen] = model(rows[chosen]) - self.means[number]
        return predicted


def folds_of(question_ids: Sequence[str], n_folds: int, *, seed: int) -> dict[str, int]:
    """Deal the questions out at random into folds of equal size, or nearly so; whatever order they come in."""
    distinct = sorted(set(question_ids))
    order = np.random.default_rng(seed).permutation(len(distinct))
    return {question: int(place) % n_folds for question, place in zip(distinct, order, strict=True)}


def one_way(n_folds: int) -> dict[int, frozenset[int]]:
    """Say which folds a fold is predicted from: the (n - 1) / 2 that follow it in a circle, so that no two predict each other.

    If each is predicted from all others, what two questions have in common by chance makes both predictions better, or both
    worse: their values are correlated where nothing is related, and a test of their mean finds too much.

    >>> one_way(5)[3] == {4, 0}
    True
    """
    return {fold: frozenset((fold + 1 + k) % n_folds for k in range((n_folds - 1) // 2)) for fold in range(n_folds)}


def cross_fit_ridge(rows: Rows, outcome: FloatArray, fold: IntArray, learn_from: Mapping[int, frozenset[int]]) -> CrossFit:
    """Fit ridge to some folds for every fold to predict, with the penalty that predicts those folds best from one another.

    Parameters
    ----------
    rows, outcome
        (rows, columns) and (rows,) to fit.
    fold
        (rows,) from 0.
    learn_from
        The folds to fit, two or more, by the fold to predict.
    """
    centre, level = rows.mean(axis=0, dtype=np.float64), outcome.mean()
    sums = np.stack(
        [
            products(rows[fold == each].astype(np.float64) - centre, outcome[fold == each] - level)
            for each in range(int(fold.max()) + 1)
        ]
    )
    known = dict[frozenset[int], FloatArray]()

    def path(folds: frozenset[int]) -> FloatArray:
        if folds not in known:
            known[folds] = ridge(sums[sorted(folds)].sum(axis=0), PENALTIES)
        return known[folds]

    models, means, settings = dict[int, Predict](), dict[int, float](), dict[int, Mapping[str, Any]]()
    for outer, folds in learn_from.items():
        errors = sum(squared_error(sums[inner], path(folds - {inner})) for inner in sorted(folds))
        chosen = int(np.argmin(errors))
        n, *_, total = sums[sorted(folds)].sum(axis=0)[0]
        models[outer] = _shifted(linear(path(folds)[chosen]), centre, float(level))
        means[outer], settings[outer] = float(level + total / n), {"penalty": float(PENALTIES[chosen])}
    return CrossFit(models, means, settings)


def cross_fit(
    learner: Learner,
    rows: Rows,
    outcome: FloatArray,
    fold: IntArray,
    learn_from: Mapping[int, frozenset[int]],
    *,
    most: int,
    seed: int,
) -> CrossFit:
    """Fit a model of scikit-learn in the same way; it is fitted to, and chosen by, at most so many rows drawn at random."""
    known: dict[tuple[frozenset[int], int], Predict] = {}

    def some(folds: Iterable[int]) -> IntArray:
        rows_of_folds = np.flatnonzero(np.isin(fold, sorted(folds)))
        if len(rows_of_folds) <= most:
            return rows_of_folds
        return np.sort(np.random.default_rng(seed).choice(rows_of_folds, most, replace=False))

    def fitted(folds: frozenset[int], number: int) -> Predict:
        if (folds, number) not in known:
            chosen = some(folds)
            known[folds, number] = learner.fit(rows[chosen], outcome[chosen], learner.settings[number], seed)
        return known[folds, number]

    def error(folds: frozenset[int], number: int, inner: int) -> float:
        judged = some([inner])
        return float(((fitted(folds - {inner}, number)(rows[judged]) - outcome[judged]) ** 2).sum())

    models, means, settings = dict[int, Predict](), dict[int, float](), dict[int, Mapping[str, Any]]()
    for outer, folds in learn_from.items():
        errors = [sum(error(folds, number, inner) for inner in sorted(folds)) for number in range(len(learner.settings))]
        chosen = int(np.argmin(errors))
        models[outer], settings[outer] = fitted(folds, chosen), learner.settings[chosen]
        means[outer] = float(outcome[np.isin(fold, sorted(folds))].mean())
    return CrossFit(models, means, settings)


def _shifted(model: Predict, centre: FloatArray, level: float) -> Predict:
    return lambda rows: level + model(rows - centre)
