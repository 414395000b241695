"""Predictions for questions by models that have not seen them; settings are chosen without those questions, too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from analyses._predict_likelihood.learners import PENALTIES, Learner, Predict, Rows, fit_ridge
from analyses._statistics.ridge import products, ridge, squared_error
from reasoning_anatomy.types import FloatArray, IntArray

UNSEEN: Final = -1
"""Fold of the rows of a question that no model is fitted on: the model of all rows predicts it."""


@dataclass(frozen=True, eq=False)
class CrossFit:
    """Models of one kind, each fitted without one fold of the questions.

    Attributes
    ----------
    models
        By the fold that the model has not seen; `UNSEEN` = fitted on all.
    settings
        Chosen for each.
    """

    models: Mapping[int, Predict]
    settings: Mapping[int, Mapping[str, Any]]

    def predict(self, rows: Rows, fold: IntArray) -> FloatArray:
        """Predict every row (rows, columns) by the model that has not seen its fold (rows,)."""
        predicted = np.empty(len(rows))
        for number, model in self.models.items():
            chosen = fold == number
            if chosen.any():
                predicted[chosen] = model(rows[chosen])
        return predicted


def folds_of(question_ids: Sequence[str], n_folds: int, *, seed: int) -> dict[str, int]:
    """Deal the questions out at random into folds of equal size, or nearly so; whatever order they come in."""
    distinct = sorted(set(question_ids))
    order = np.random.default_rng(seed).permutation(len(distinct))
    return {question: int(place) % n_folds for question, place in zip(distinct, order, strict=True)}


def cross_fit_ridge(rows: Rows, outcome: FloatArray, fold: IntArray, unseen: Sequence[int]) -> CrossFit:
    """Fit ridge without each fold, with the penalty that predicts the other folds best from one another.

    Parameters
    ----------
    rows, outcome
        (rows, columns) and (rows,) to fit.
    fold
        (rows,) from 0.
    unseen
        Folds to leave out, one at a time; `UNSEEN` leaves out none.
    """
    centre, level = rows.mean(axis=0, dtype=np.float64), outcome.mean()
    sums = np.stack(
        [products(rows[fold == each].astype(np.float64) - centre, outcome[fold == each] - level) for each in _folds(fold)]
    )
    total, known = sums.sum(axis=0), dict[frozenset[int], FloatArray]()

    def path(without: frozenset[int]) -> FloatArray:
        if without not in known:
            known[without] = ridge(total - sums[sorted(without)].sum(axis=0), PENALTIES)
        return known[without]

    models: dict[int, Predict] = {}
    settings: dict[int, Mapping[str, Any]] = {}
    for outer in unseen:
        left_out = frozenset({outer} - {UNSEEN})
        errors = sum(squared_error(sums[inner], path(left_out | {inner})) for inner in range(len(sums)) if inner != outer)
        penalty = float(PENALTIES[int(np.argmin(errors))])
        model = fit_ridge(total - sums[sorted(left_out)].sum(axis=0), penalty)
        models[outer] = _shifted(model, centre, float(level))
        settings[outer] = {"penalty": penalty}
    return CrossFit(models, settings)


def cross_fit(
    learner: Learner, rows: Rows, outcome: FloatArray, fold: IntArray, unseen: Sequence[int], *, most: int, seed: int
) -> CrossFit:
    """Fit a model of scikit-learn in the same way, to at most so many rows at a time, which are drawn at random."""
    known: dict[tuple[frozenset[int], int], Predict] = {}

    def fitted(without: frozenset[int], number: int) -> Predict:
        if (without, number) not in known:
            chosen = np.flatnonzero(~np.isin(fold, sorted(without)))
            if len(chosen) > most:
                chosen = np.sort(np.random.default_rng(seed).choice(chosen, most, replace=False))
            known[without, number] = learner.fit(rows[chosen], outcome[chosen], learner.settings[number], seed)
        return known[without, number]

    def error(without: frozenset[int], number: int, inner: int) -> float:
        judged = fold == inner
        return float(((fitted(without, number)(rows[judged]) - outcome[judged]) ** 2).sum())

    models: dict[int, Predict] = {}
    settings: dict[int, Mapping[str, Any]] = {}
    for outer in unseen:
        left_out = frozenset({outer} - {UNSEEN})
        errors = [
            sum(error(left_out | {inner}, number, inner) for inner in _folds(fold) if inner != outer)
            for number in range(len(learner.settings))
        ]
        chosen = int(np.argmin(errors))
        models[outer], settings[outer] = fitted(left_out, chosen), learner.settings[chosen]
    return CrossFit(models, settings)


def _folds(fold: IntArray) -> range:
    return range(int(fold.max()) + 1)


def _shifted(model: Predict, centre: FloatArray, level: float) -> Predict:
    return lambda rows: level + model(rows - centre)
