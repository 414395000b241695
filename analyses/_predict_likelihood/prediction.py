"""What every model and baseline predicts for the candidates of questions that it has not seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from analyses._predict_likelihood.cross_fitting import UNSEEN, CrossFit, cross_fit, cross_fit_ridge, folds_of, one_way
from analyses._predict_likelihood.evidence import BoolArray, Candidates, place_columns
from analyses._predict_likelihood.learners import LEARNERS, RIDGE
from analyses._predict_likelihood.outcomes import of_chains
from analyses._statistics.within_groups import group_means, spearman_within
from reasoning_anatomy.types import Float32Array, FloatArray, IntArray

STAGE: Final = "stage"
POSITION: Final = "position"
LEVEL: Final = "level, told"
BASELINES: Final = (STAGE, POSITION, LEVEL)
MODELS: Final = (RIDGE, *LEARNERS)

_KEPT: Final = slice(5, 7)
"""Columns of `place_columns` that say what share is kept, and nothing of the place."""
_SHUFFLED_ROWS: Final = 30_000
_MOST_SHUFFLES: Final = 10


@dataclass(frozen=True, eq=False)
class Split:
    """The candidates that models are fitted on and those that they predict; the same in a cross-validation.

    Attributes
    ----------
    train, test
        Both sides.
    train_fold, test_fold
        (rows,) the fold of each row's question; `UNSEEN` if only ``test`` has the question.
    """

    train: Candidates
    test: Candidates
    train_fold: IntArray
    test_fold: IntArray

    @classmethod
    def of(cls, train: Candidates, test: Candidates, *, n_folds: int, seed: int) -> "Split":
        """Deal the questions of ``train`` out into folds."""
        folds = folds_of(train.question_ids, min(n_folds, train.n_questions), seed=seed)
        of_train, of_test = (
            np.array([folds.get(question, UNSEEN) for question in side.question_ids])[side.chain] for side in (train, test)
        )
        return cls(train, test, of_train, of_test)

    @property
    def learn_from(self) -> dict[int, frozenset[int]]:
        """Folds of ``train`` to fit, by the fold to predict."""
        n_folds = int(self.train_fold.max()) + 1
        known = one_way(n_folds) | {UNSEEN: frozenset(range(n_folds))}
        return {int(fold): known[int(fold)] for fold in np.unique(self.test_fold)}


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of all models and baselines.

    Attributes
    ----------
    of
        (rows,) by name.
    fits
        The models, by name.
    """

    of: Mapping[str, FloatArray]
    fits: Mapping[str, CrossFit]


def predict(split: Split, *, training_rows: int, seed: int) -> Predictions:
    """Fit everything and predict."""
    train, test = split.train.design(), split.test.design()
    fits = {RIDGE: cross_fit_ridge(train, split.train.nll, split.train_fold, split.learn_from)}
    for name, learner in LEARNERS.items():
        fits[name] = cross_fit(
            learner, train, split.train.nll, split.train_fold, split.learn_from, most=training_rows, seed=seed
        )
    predicted = baselines(split) | {name: fit.predict(test, split.test_fold) for name, fit in fits.items()}
    return Predictions(predicted, fits)


def baselines(split: Split) -> dict[str, FloatArray]:
    """Predict from the stage alone, and from stage and place; and tell the level, which no model can know."""
    level = group_means(split.test.nll[:, None], split.test.stage)[split.test.stage, 0]
    test = place_columns(split.test.place, split.test.kept)
    of_stage = fit_place(split, _KEPT).predict(test[:, _KEPT], split.test_fold)
    return {STAGE: of_stage, POSITION: fit_place(split).predict(test, split.test_fold), LEVEL: level}


def fit_place(split: Split, columns: slice = slice(None)) -> CrossFit:
    """Fit ridge to some of the `place_columns`."""
    train = place_columns(split.train.place, split.train.kept)[:, columns]
    return cross_fit_ridge(train, split.train.nll, split.train_fold, split.learn_from)


def drops_by_layer(fits: Mapping[str, CrossFit], split: Split, *, seed: int) -> tuple[Candidates, FloatArray]:
    """Shuffle the attention of one layer within every stage, all heads together, and predict again.

    Of long runs some chains are taken, of short ones several shuffles.

    Returns
    -------
    The chains that were taken, and (chains, models, layers) how much Spearman's rho within a stage drops.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(split.test.chain_ids))
    n_rows = np.cumsum(np.bincount(split.test.chain)[order])
    chosen = np.zeros(len(order), dtype=np.bool_)
    chosen[order[: max(1, int(np.searchsorted(n_rows, _SHUFFLED_ROWS, side="right")))]] = True
    taken, fold = split.test.of(chosen), split.test_fold[chosen[split.test.chain]]
    n_shuffles = max(1, min(_MOST_SHUFFLES, _SHUFFLED_ROWS // len(taken.nll)))
    layers = np.unique(taken.layer)
    design, drops = taken.design(), np.zeros((len(taken.chain_of_stage), len(fits), len(layers)))
    before = spearman_within(_predicted(fits, design, fold), taken.nll, taken.stage)
    for _ in range(n_shuffles):
        places = shuffled_within(taken.stage, rng)
        for number, layer in enumerate(layers):
            after = _predicted(fits, with_shuffled(design, taken.layer == layer, places), fold)
            drops[..., number] += (before - spearman_within(after, taken.nll, taken.stage)) / n_shuffles
    values = of_chains(drops.reshape(len(drops), -1), taken)
    return taken, values.reshape(-1, len(fits), len(layers))


def shuffled_within(group: IntArray, rng: np.random.Generator) -> IntArray:
    """Draw a row of the same group, ascending numbers (rows,), for every row, each row once."""
    return np.lexsort((rng.random(len(group)), group))


def with_shuffled(design: Float32Array, chosen: BoolArray, places: IntArray) -> Float32Array:
    """Copy a design with the values of the first columns that are ``chosen`` taken from other rows, (rows,) ``places``."""
    columns, copy = np.flatnonzero(chosen), design.copy()
    copy[:, columns] = design[places[:, None], columns]
    return copy


def _predicted(fits: Mapping[str, CrossFit], design: Float32Array, fold: IntArray) -> FloatArray:
    return np.column_stack([fit.predict(design, fold) for fit in fits.values()])
