"""The curves of a run as arrays: how far the nll has risen in every chain, under every strategy, at the same keep ratios."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from analyses._exclusions import MIN_TOKENS
from analyses._statistics.curves import gaps_at, weights_at, weights_of_mean
from analyses._strategy_comparison.strategies import Compared
from reasoning_anatomy.errors import AnalysisError
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import FloatArray, IntArray, PruningPath

Objective = Literal["answer", "joint", "reasoning"]

GRID: Final = np.round(np.linspace(1, 0, 21), 2)
"""Keep ratios at which curves are read, as far as they go."""

REACHED_BY: Final = 0.9
"""Share of the chains that reach the end of the common range."""

_ROUNDING: Final = 1e-9


@dataclass(frozen=True, eq=False)
class Curves:
    """How far the nll of every chain has risen, in nats per token over that of the unpruned chain; higher = more is lost.

    Attributes
    ----------
    chain_ids, question_ids
        Of every chain: those that all strategies have pruned to ``down_to``.
    strategies
        That are compared.
    n_tokens
        (chains,) reasoning tokens.
    down_to
        Keep ratio at which the common range ends; it begins at 1.
    grid
        (grid,) keep ratios of ``rise``, from 1 to ``down_to``.
    rise
        (chains, strategies, grid).
    gap
        (strategies, grid) mean width of the stretch between the two evaluated points that a value is read between, in shares
        of the reasoning; 0 = evaluated right there.
    ratios
        (ratios,) keep ratios of ``rise_at``.
    rise_at
        (chains, strategies, ratios); NaN below ``down_to``.
    area
        (chains, strategies) area under the rise over the common range, divided by its width: the mean rise.
    exclusions
        Chains left out, by reason.
    """

    chain_ids: tuple[str, ...]
    question_ids: tuple[str, ...]
    strategies: tuple[Compared, ...]
    n_tokens: IntArray
    down_to: float
    grid: FloatArray
    rise: FloatArray
    gap: FloatArray
    ratios: FloatArray
    rise_at: FloatArray
    area: FloatArray
    exclusions: Mapping[str, int]

    @property
    def names(self) -> list[str]:
        """Names of the strategies."""
        return [strategy.name for strategy in self.strategies]


@dataclass(frozen=True, eq=False)
class Points:
    """Where the nll of one path was evaluated.

    Attributes
    ----------
    deleted
        (points,) share of the reasoning tokens that are deleted, ascending from 0.
    rise
        (..., points) nll less that of the unpruned chain.
    """

    deleted: FloatArray
    rise: FloatArray


_ReadChain = list[list[Points]]
"""The paths of a chain, by strategy and seed."""


def gather(
    run: Run, strategies: Sequence[Compared], *, objective: Objective, ratios: Sequence[float], down_to: float | None
) -> Curves:
    """Read the curves of all chains that every strategy has pruned.

    Parameters
    ----------
    run
        With their paths.
    strategies
        To compare.
    objective
        Whose nll.
    ratios
        Keep ratios of ``rise_at``.
    down_to
        Where the common range ends; None takes the lowest of `GRID` that nine tenths of these chains reach with every strategy.

    Raises
    ------
    AnalysisError
        No chain can be used, or there is no common range.
    """
    exclusions: Counter[str] = Counter()
    chains: dict[str, _ReadChain] = {}
    n_tokens: list[int] = []
    for chain_id in run.chains:
        found = _read_chain(run, chain_id, strategies, objective)
        if isinstance(found, str):
            exclusions[found] += 1
        else:
            chains[chain_id], n = found
            n_tokens.append(n)
    _expect_some(run, chains, exclusions)
    reach = np.array([[_lowest_ratio(paths) for paths in chain] for chain in chains.values()])  # (chains, strategies)
    end = _common_end(run, strategies, reach) if down_to is None else down_to
    reaches = reach.max(axis=1) <= end + _ROUNDING
    exclusions[f"not_pruned_to_{end:g}"] += int((~reaches).sum())
    used = [chain_id for chain_id, is_used in zip(chains, reaches, strict=True) if is_used]
    _expect_some(run, used, exclusions)
    grid = np.append(GRID[end + _ROUNDING < GRID], end)
    rise, gap, rise_at, area = (
        np.stack(arrays)
        for arrays in zip(*(_readings(chains[chain_id], grid, np.array(ratios)) for chain_id in used), strict=True)
    )
    return Curves(
        chain_ids=tuple(used),
        question_ids=tuple(run.chains[chain_id].question_id for chain_id in used),
        strategies=tuple(strategies),
        n_tokens=np.array(n_tokens)[reaches],
        down_to=float(end),
        grid=grid,
        rise=rise,
        gap=gap.mean(axis=0),
        ratios=np.array(ratios),
        rise_at=rise_at,
        area=area,
        exclusions={reason: count for reason, count in sorted(exclusions.items()) if count},
    )


def points_of(path: PruningPath, objective: Objective) -> Points | None:
    """Take the evaluated points of a path; None if the unpruned chain, or everything after it, was not evaluated."""
    nll: FloatArray = {"answer": path.nll_answer, "joint": path.nll_joint, "reasoning": path.nll_reasoning}[objective]
    evaluated = np.flatnonzero(np.isfinite(nll))
    if len(evaluated) < 2 or evaluated[0] != 0:
        return None
    return Points(evaluated / path.n_reasoning, nll[evaluated] - nll[0])


def rises(points: Points, ratios: FloatArray) -> FloatArray:
    """Read the rise at keep ratios, on straight lines between evaluated points; (..., ratios), NaN where no path goes."""
    return np.asarray(points.rise @ weights_at(points.deleted, 1 - ratios))


def mean_rise(points: Points, down_to: float) -> FloatArray:
    """Area under the rise from keep ratio 1 to ``down_to``, divided by its width; (...)."""
    return np.asarray(points.rise @ weights_of_mean(points.deleted, 0.0, 1 - down_to))


def _read_chain(run: Run, chain_id: str, strategies: Sequence[Compared], objective: Objective) -> tuple[_ReadChain, int] | str:
    """Return the curves of a chain and its number of tokens, or the reason why it cannot be used."""
    found: _ReadChain = []
    n_missing, n_tokens = 0, 0
    for strategy in strategies:
        paths = [path for label in strategy.labels if (path := run.path(chain_id, label)) is not None]
        n_missing += not paths
        n_tokens = paths[0].n_reasoning if paths else n_tokens
        found.append([points for path in paths if (points := points_of(path, objective)) is not None])
    if n_missing:
        return "not_measured" if n_missing == len(strategies) else "strategy_not_measured"
    if n_tokens < MIN_TOKENS:
        return f"fewer_than_{MIN_TOKENS}_tokens"
    return (found, n_tokens) if all(found) else "not_evaluated"


def _readings(chain: _ReadChain, grid: FloatArray, ratios: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Rise and gap on the grid, rise at the ratios, and mean rise, averaged over seeds; (strategies, ...) each."""
    wanted = np.concatenate([grid, ratios])

    def over_seeds(values: list[FloatArray]) -> FloatArray:
        return np.asarray(np.mean(values, axis=0))

    at = np.stack([over_seeds([rises(points, wanted) for points in paths]) for paths in chain])
    at[:, wanted < grid[-1] - _ROUNDING] = np.nan
    gaps = np.stack([over_seeds([gaps_at(points.deleted, 1 - grid) for points in paths]) for paths in chain])
    area = np.array([np.mean([mean_rise(points, float(grid[-1])) for points in paths]) for paths in chain])
    return at[:, : len(grid)], gaps, at[:, len(grid) :], area


def _lowest_ratio(paths: Sequence[Points]) -> float:
    """Find the lowest keep ratio that all seeds reach."""
    return max(1 - float(points.deleted[-1]) for points in paths)


def _common_end(run: Run, strategies: Sequence[Compared], reach: FloatArray) -> float:
    lowest = np.sort(reach.max(axis=1))[int(np.ceil(REACHED_BY * len(reach))) - 1]
    reached = GRID[(lowest - _ROUNDING <= GRID) & (GRID < 1)]
    if not len(reached):
        least = int(reach.mean(axis=0).argmax())
        raise AnalysisError(
            f"{run.folder}: there is no keep ratio to which all strategies have pruned nine tenths of the chains; "
            f"{strategies[least].name} deletes least. Compare fewer strategies (--strategies), or say how far (--down-to)"
        )
    return float(reached[-1])


def _expect_some(run: Run, chains: Mapping[str, _ReadChain] | Sequence[str], exclusions: Mapping[str, int]) -> None:
    if not chains:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(exclusions.items()) if count)
        raise AnalysisError(
            f"{run.folder}: none of {len(run.chains)} chains can be used ({reasons}); compare strategies that have pruned the "
            "same chains, and as far"
        )
