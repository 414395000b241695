"""Likelihood along an order of deletions that is known beforehand."""

import dataclasses
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from reasoning_anatomy.likelihood.opening import open_likelihood
from reasoning_anatomy.likelihood.pieces import open_pieces
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.options import expect_at_least, expect_ratio
from reasoning_anatomy.pruning import PruningJob
from reasoning_anatomy.pruning._threshold import unit_ends
from reasoning_anatomy.types import ChainNll, EncodedChain, FloatArray, IntArray, PruningPath

_NOT_EVALUATED: Final = ChainNll(answer=np.nan, joint=np.nan, reasoning=np.nan)


class CurveOptions:
    """What strategies share that evaluate the likelihood along an order; each finds its own order.

    The strategy declares the options as fields of its own. If this were a dataclass, they would stand before the others in
    the ``repr`` and the label by which run folders know the strategy.

    Attributes
    ----------
    curve_points
        Number of equal shares of the deletions after which the likelihood is evaluated; 0 evaluates it after every deletion.
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
    unit: IntArray | None = None,
    unit_score: FloatArray | None = None,
) -> PruningPath:
    """Make a strategy's path from its deletions (k,), in order: `ordered`, then `evaluated`."""
    path = ordered(strategy, deleted, chain, n_ties=n_ties, unit=unit, unit_score=unit_score)
    return evaluated(strategy, path, chain, loaded=loaded, job=job)


def ordered(
    strategy: object,
    deleted: IntArray,
    chain: EncodedChain,
    *,
    n_ties: int = 0,
    unit: IntArray | None = None,
    unit_score: FloatArray | None = None,
) -> PruningPath:
    """Make a strategy's path from its deletions (k,), in order, of single tokens or of units such as steps.

    Its likelihoods are all NaN.
    """
    nowhere = np.full(len(deleted) + 1, np.nan)
    return PruningPath(
        strategy=repr(strategy),
        n_reasoning=chain.n_reasoning,
        deleted=deleted,
        margin=nowhere[1:],
        n_ties=n_ties,
        nll_answer=nowhere,
        nll_joint=nowhere,
        nll_reasoning=nowhere,
        unit=unit,
        unit_score=unit_score,
    )


def evaluated(
    strategy: CurveOptions, path: PruningPath, chain: EncodedChain, *, loaded: LoadedModel, job: PruningJob | None
) -> PruningPath:
    """Evaluate the likelihood along a path that is `ordered`.

    It is evaluated after every deletion of a unit; with q ``curve_points``, only at the unpruned chain and after 1/q, 2/q, ...
    of the deletions, rounded up to the end of a unit, and is NaN elsewhere.

    Raises
    ------
    MeasurementError
        A likelihood is not a finite number.
    """
    job, deleted, ends = job or PruningJob(), path.deleted, unit_ends(path)
    k, q = len(deleted), strategy.curve_points
    if q:
        shares = [-(-k * point // q) for point in range(1, q + 1)]
        points = {0, *ends[np.searchsorted(ends, shares)].tolist()} if k else {0}
        curve = _evaluate_at(points, deleted, chain, loaded, job, strategy.token_budget)
    else:
        curve = _evaluate_everywhere(ends, deleted, chain, loaded, job, strategy.token_budget)
    nlls = [curve.nll.get(step, _NOT_EVALUATED) for step in range(k + 1)]
    return dataclasses.replace(
        path,
        nll_answer=np.array([nll.answer for nll in nlls]),
        nll_joint=np.array([nll.joint for nll in nlls]),
        nll_reasoning=np.array([nll.reasoning for nll in nlls]),
        token_forwards=curve.token_forwards,
        token_budget=curve.token_budget,
    )


def _evaluate_everywhere(
    ends: IntArray, deleted: IntArray, chain: EncodedChain, loaded: LoadedModel, job: PruningJob, token_budget: int | None
) -> _Curve:
    """Delete unit by unit; only what a deletion changes is run again."""
    likelihood = open_likelihood(loaded, chain, token_budget=token_budget, store_gib=0)
    nll = {0: likelihood.nll()}
    for start, end in pairwise([0, *ends.tolist()]):
        likelihood.delete(deleted[start:end])
        nll[end] = likelihood.nll()
        _advance(job, end - start)
    return _Curve(nll, likelihood.token_forwards, likelihood.token_budget)


def _evaluate_at(
    points: set[int], deleted: IntArray, chain: EncodedChain, loaded: LoadedModel, job: PruningJob, token_budget: int | None
) -> _Curve:
    """Run what is left after these numbers of deletions; the model is not run in between."""
    nll, token_forwards, n_before = {}, 0, 0
    for n_deleted in sorted(points):
        kept = np.setdiff1d(np.arange(chain.n_reasoning), deleted[:n_deleted])
        likelihood = open_pieces(loaded, chain, kept, token_budget=token_budget)
        nll[n_deleted] = likelihood.nll()
        token_forwards += likelihood.token_forwards
        token_budget = likelihood.token_budget
        _advance(job, n_deleted - n_before)
        n_before = n_deleted
    return _Curve(nll, token_forwards, token_budget)


def _advance(job: PruningJob, n_deleted: int) -> None:
    for _ in range(n_deleted):
        job.advance()
