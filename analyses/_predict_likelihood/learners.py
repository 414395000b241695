"""The models that learn from candidates: how each is fitted with one setting, and with which settings it may be."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from reasoning_anatomy.types import FloatArray

Rows = npt.NDArray[Any]
"""(rows, columns)"""
Predict = Callable[[Rows], FloatArray]
"""(rows, columns) -> (rows,)"""
Fit = Callable[[Rows, FloatArray, Mapping[str, Any], int], Predict]
"""From rows, outcome, setting and seed to a fitted model."""

RIDGE: Final = "ridge"
PENALTIES: Final = np.array([1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0])
"""Of ridge, relative to the mean squared error of standardised columns."""

_FARTHEST: Final = 5.0
"""Standard deviations from the mean beyond which the perceptron is told no more: it would run away from what it has seen."""
_ROUNDING: Final = 1e-6
_BINS: Final = 63
"""Of every column, for gradient boosting: attention has no finer steps that some thousand rows would bear out."""
_ROWS_AT_ONCE: Final = 50_000


@dataclass(frozen=True)
class Learner:
    """A model of scikit-learn with the settings among which cross-validation chooses."""

    fit: Fit
    settings: tuple[Mapping[str, Any], ...]


def linear(coefficients: FloatArray) -> Predict:
    """Predict by (1 + columns,) intercept and coefficients."""
    return lambda rows: coefficients[0] + rows @ coefficients[1:]


def _fit_boosting(rows: Rows, outcome: FloatArray, setting: Mapping[str, Any], seed: int) -> Predict:
    from sklearn.ensemble import HistGradientBoostingRegressor  # type: ignore[import-untyped]

    model = HistGradientBoostingRegressor(early_stopping=False, max_bins=_BINS, random_state=seed, **setting)
    model.fit(rows, outcome)
    return _in_blocks(model.predict)


def _fit_perceptron(rows: Rows, outcome: FloatArray, setting: Mapping[str, Any], seed: int) -> Predict:
    """Standardise rows and outcome, then fit for a fixed number of passes, which ends before the loss has converged."""
    from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
    from sklearn.neural_network import MLPRegressor  # type: ignore[import-untyped]

    mean, spread = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    varies = spread > _ROUNDING * np.maximum(np.abs(mean), 1)
    centre, scale = (each.astype(rows.dtype) for each in (mean, np.where(varies, 1 / np.where(varies, spread, 1), 0)))
    level, size = outcome.mean(), outcome.std()
    model = MLPRegressor(hidden_layer_sizes=(64, 64), random_state=seed, n_iter_no_change=10**6, **setting)

    def standardised(more: Rows) -> Rows:
        scaled = (more.astype(rows.dtype, copy=False) - centre) * scale
        return np.asarray(np.clip(scaled, -_FARTHEST, _FARTHEST, out=scaled))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(standardised(rows), ((outcome - level) / size).astype(rows.dtype))
    return _in_blocks(lambda more: level + size * model.predict(standardised(more)).astype(np.float64))


def _in_blocks(predict: Predict) -> Predict:
    """Predict some rows at a time: scikit-learn copies them to float64."""
    return lambda rows: np.concatenate(
        [predict(rows[start : start + _ROWS_AT_ONCE]) for start in range(0, len(rows), _ROWS_AT_ONCE)]
    )


LEARNERS: Final[Mapping[str, Learner]] = {
    "gradient_boosting": Learner(
        _fit_boosting,
        (
            {"learning_rate": 0.1, "max_iter": 50, "max_leaf_nodes": 7},
            {"learning_rate": 0.1, "max_iter": 100, "max_leaf_nodes": 15},
        ),
    ),
    "mlp": Learner(_fit_perceptron, ({"alpha": 0.01, "max_iter": 20}, {"alpha": 1.0, "max_iter": 20})),
}
"""By name, beside ridge, whose fits come from sums of products."""
