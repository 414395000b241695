"""Likelihood along an order of deletions that is known beforehand."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from reasoning_anatomy.likelihood.base import ChainLikelihood
from reasoning_anatomy.likelihood.opening import open_likelihood
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.options import expect_at_least, expect_ratio
from reasoning_anatomy.pruning import PruningJob
from reasoning_anatomy.types import ChainNll, EncodedChain, IntArray, PruningPath

_NOT_EVALUATED: Final = ChainNll(answer=np.nan, joint=np.nan, reasoning=np.nan)


class CurveOptions:
    """What strategies share that evaluate the likelihood along an order; each finds its own order.

    The strategy declares the options as fields of its own. If this were a dataclass, they would stand before the others in
    the ``repr`` and the label by which run folders know the strategy.

    Attributes
    ----------
    curve_points
        Number of equal steps of the keep ratio at which the likelihood is evaluated; 0 evaluates every deletion.
    token_budget
        Tokens of one forward pass, as for `greedy`; changes speed and memory, and numbers in the last digits.
    """

    curve_points: int
    token_budget: int | None

    def __post_init__(self) -> None:
        expect_at_least(self, curve_points=0, token_budget=1)


class FixedOrder(CurveOptions):
    """What strategies share that order all tokens before the first deletion, and stop on the way.

    Attributes
    ----------
    keep_ratio
        Stop when this fraction of the reasoning tokens is left (rounded down); 0 deletes all.
    """

    keep_ratio: float

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_ratio(self, "keep_ratio")


@dataclass(frozen=True)
class _Curve:
    """Likelihood by number of deletions made, and what it took."""

    nll: dict[int, ChainNll]
    token_forwards: int
    token_budget: int | None


def until(keep_ratio: float, order: IntArray) -> IntArray:
    """Of a complete order (n,), the deletions until ``keep_ratio`` of the tokens is left (rounded down)."""
    return order[: len(order) - int(len(order) * keep_ratio)]


def follow(
    strategy: CurveOptions,
    deleted: IntArray,
    chain: EncodedChain,
    *,
    loaded: LoadedModel,
    job: PruningJob | None,
    n_ties: int = 0,
) -> PruningPath:
    """Make a strategy's path from its deletions (k,), in order.

    The likelihood is evaluated after every deletion; with q ``curve_points``, only at the unpruned chain and after 1/q,
    2/q, ... of the deletions, rounded up, and is NaN elsewhere.

    Raises
    ------
    MeasurementError
        A likelihood is not a finite number.
    """
    job = job or PruningJob()
    k, q = len(deleted), strategy.curve_points
    if q:
        steps = {-(-k * point // q) for point in range(q + 1)}
        curve = _evaluate_at(steps, deleted, chain, loaded, job, strategy.token_budget)
    else:
        curve = _evaluate_everywhere(deleted, chain, loaded, job, strategy.token_budget)
    nlls = [curve.nll.get(step, _NOT_EVALUATED) for step in range(k + 1)]
    return PruningPath(
        strategy=repr(strategy),
        n_reasoning=chain.n_reasoning,
        deleted=deleted,
        margin=np.full(k, np.nan),
        n_ties=n_ties,
        nll_answer=np.array([nll.answer for nll in nlls]),
        nll_joint=np.array([nll.joint for nll in nlls]),
        nll_reasoning=np.array([nll.reasoning for nll in nlls]),
        token_forwards=curve.token_forwards,
        token_budget=curve.token_budget,
    )


def _evaluate_everywhere(
    deleted: IntArray, chain: EncodedChain, loaded: LoadedModel, job: PruningJob, token_budget: int | None
) -> _Curve:
    """Delete one by one; only what a deletion changes is run again."""
    likelihood = open_likelihood(loaded, chain, token_budget=token_budget, store_gib=0)
    nll = {0: likelihood.nll()}
    for step, position in enumerate(deleted.tolist(), 1):
        likelihood.delete(position)
        nll[step] = likelihood.nll()
        job.advance()
    return _Curve(nll, likelihood.token_forwards, likelihood.token_budget)


def _evaluate_at(
    steps: set[int], deleted: IntArray, chain: EncodedChain, loaded: LoadedModel, job: PruningJob, token_budget: int | None
) -> _Curve:
    """Run what is left after these numbers of deletions; the model is not run in between."""
    nll, token_forwards = {}, 0
    for step in range(len(deleted) + 1):
        if step in steps:
            kept = np.setdiff1d(np.arange(chain.n_reasoning), deleted[:step])
            likelihood = _likelihood_of(kept, chain, loaded, token_budget)
            nll[step] = likelihood.nll()
            token_forwards += likelihood.token_forwards
            token_budget = likelihood.token_budget
        if step:
            job.advance()
    return _Curve(nll, token_forwards, token_budget)


def _likelihood_of(kept: IntArray, chain: EncodedChain, loaded: LoadedModel, token_budget: int | None) -> ChainLikelihood:
    if len(kept):
        return open_likelihood(loaded, chain.keep(kept), token_budget=token_budget, store_gib=0)
    # An encoded chain has at least one reasoning token.
    likelihood = open_likelihood(loaded, chain.keep(np.array([0])), token_budget=token_budget, store_gib=0)
    likelihood.delete(0)
    return likelihood
