"""What the strategies have in common that delete whole steps."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from reasoning_anatomy import plugins
from reasoning_anatomy.errors import MeasurementError, PluginError
from reasoning_anatomy.models.finite import not_finite
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.pruning._curve import CurveOptions, ordered
from reasoning_anatomy.steps import aggregate
from reasoning_anatomy.types import EncodedChain, FloatArray, IntArray, PruningPath


class StepOptions(CurveOptions):
    """What strategies share that order steps before the first deletion.

    Attributes
    ----------
    steps
        Key and options of the segmenter that cuts the steps.
    curve_points
        Number of equal shares of the tokens after which the likelihood is evaluated, each rounded up to the end of a step; 0
        evaluates it after every step.
    """

    steps: str

    def __post_init__(self) -> None:
        super().__post_init__()
        plugins.load("segmenter", self.steps)  # refuses an unknown segmenter before anything is measured


class StepScoreOptions(StepOptions):
    """What strategies share that delete first the steps with the lowest scores in the unpruned chain.

    Attributes
    ----------
    scorer
        Key and options of a scorer of tokens.
    how
        How scores of tokens become the score of their step: their ``"mean"`` or their ``"sum"``, which favours long steps.
    """

    scorer: str
    how: Literal["mean", "sum"]

    def __post_init__(self) -> None:
        super().__post_init__()
        plugins.load("scorer", self.scorer)


def steps_of(segmenter: str, chain: EncodedChain) -> IntArray:
    """(n,) step of every reasoning token, numbered from 0 without gaps."""
    return numbered(plugins.load("segmenter", segmenter).segment(chain.chain, chain.spans))


def numbered(step: IntArray) -> IntArray:
    """(n,) steps numbered from 0 without gaps."""
    return np.unique(step, return_inverse=True)[1].astype(np.int64)


def token_scores(scorer: str, chain: EncodedChain, *, loaded: LoadedModel) -> FloatArray:
    """(n,) score of every reasoning token; `MeasurementError` if one is not a finite number."""
    return expect_finite_scores(plugins.load("scorer", scorer).score(chain, loaded=loaded).score, scorer, chain, loaded)


def expect_finite_scores(score: FloatArray, scorer: str, chain: EncodedChain, loaded: LoadedModel) -> FloatArray:
    """Return (n,) scores; `MeasurementError` if one is not a finite number."""
    if not np.isfinite(score).all():
        what = f"the scores of {scorer} are not all finite numbers"
        raise MeasurementError(chain.chain_id, not_finite(what, loaded.model.dtype))
    return score


def by_score(strategy: StepScoreOptions, chain: EncodedChain, *, loaded: LoadedModel) -> PruningPath:
    """Put whole steps in ascending order of their score, by the scorer of a strategy; see `ascending`."""
    step = steps_of(strategy.steps, chain)
    score = token_scores(strategy.scorer, chain, loaded=loaded)
    return ascending(strategy, aggregate(score, step, how=strategy.how), score, step, chain)


def ascending(
    strategy: StepOptions, importance: FloatArray, score: FloatArray, step: IntArray, chain: EncodedChain
) -> PruningPath:
    """Put whole steps in ascending order of their importance (s,), ties to the first step.

    Within a step, tokens go by ascending score (n,), ties to the lowest position. Likelihoods are NaN.
    """
    order = np.argsort(importance, kind="stable")
    deleted, unit = in_order(order, step, within=score)
    unit_score = importance[order]
    n_ties = int(np.count_nonzero(np.diff(unit_score) == 0))
    return ordered(strategy, deleted, chain, n_ties=n_ties, unit=unit, unit_score=unit_score)


def scores_of_units(path: PruningPath) -> FloatArray:
    """(u,) scores of the steps of a path, in the order of deletion; `PluginError` if it has none."""
    if path.unit_score is None:
        raise PluginError(
            f"{path.strategy}: its path has no scores of steps, so no rule can choose among them; measure it again"
        )
    return path.unit_score


def in_order(order: IntArray, step: IntArray, *, within: npt.NDArray[Any]) -> tuple[IntArray, IntArray]:
    """Put tokens in the order (s,) of their steps, ascending by ``within`` (n,) in each: (n,) positions, (n,) their units."""
    place = np.argsort(order)[step]
    deleted = np.lexsort((within, place))
    return deleted, place[deleted]
