"""How much of the area between two strategies rests on the answer standing in what one of them has left."""

from collections.abc import Sequence
from itertools import combinations, product
from typing import Final

import numpy as np
import pandas as pd

from analyses._category_survival.reading import steps_of
from analyses._restatement_audit.effects import Effects
from analyses._statistics.curves import weights_of_mean
from analyses._strategy_comparison.curves import Points, gather, points_of
from analyses._strategy_comparison.strategies import Compared, compared_in
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.steps import restatements_in
from reasoning_anatomy.types import FloatArray, IntArray

PART: Final = "likelihood"

_NARROW: Final = 1e-9


def likelihoods(run: Run) -> Effects:
    """Compare the areas of every strategy and every baseline, or of every two strategies if the run has not both.

    Raises
    ------
    MissingError
        The run has fewer than two strategies.
    AnalysisError
        No chain can be used.
    """
    strategies = compared_in(run, ())
    curves = gather(run, strategies, objective="answer", ratios=(), down_to=None)
    pairs = _pairs(strategies)
    kept, stripped = np.zeros((2, len(curves.chain_ids), len(pairs)))
    falls = np.full((len(curves.chain_ids), len(strategies)), np.nan)
    for number, chain_id in enumerate(curves.chain_ids):
        statements = restatements_in(run.chains[chain_id], run.encoded(chain_id).spans)
        of_paths = [_paths(run, chain_id, strategy, statements) for strategy in strategies]
        falls[number] = [np.mean([1 - min(fall, 1 - curves.down_to) for _, fall in draws]) for draws in of_paths]
        for column, (first, second) in enumerate(pairs):
            areas = [
                areas_with_and_without(one, other, 1 - curves.down_to)
                for one, other in product(of_paths[first], of_paths[second])
            ]
            kept[number, column], stripped[number, column] = np.mean(areas, axis=0)
    names = [f"{strategies[first].name} - {strategies[second].name}" for first, second in pairs]
    return Effects(
        pd.DataFrame({"part": PART, "annotator": "", "strategy": names, "term": f"area to keep ratio {curves.down_to:g}"}),
        curves.question_ids,
        kept,
        stripped,
        n_tokens=np.repeat(curves.n_tokens[:, None], len(pairs), axis=1),
        exclusions=curves.exclusions,
        details={"last_statement": _last_statement(curves.names, falls, curves.down_to)},
    )


def falls_at(step: FloatArray, statements: Sequence[IntArray]) -> float:
    """Share of the tokens that are deleted when no statement of the answer is whole any longer.

    Parameters
    ----------
    step
        (n,) deletion steps; NaN = never deleted.
    statements
        (tokens,) positions of each.

    Returns
    -------
    0 if there is none; infinite if one is never touched.
    """
    order = np.where(np.isnan(step), np.inf, step)
    return max((float(order[positions].min()) for positions in statements), default=0.0) / len(step)


def areas_with_and_without(first: tuple[Points, float], second: tuple[Points, float], end: float) -> tuple[float, float]:
    """Mean difference of two curves, and what of it arises while both of them state the answer, or neither does.

    Parameters
    ----------
    first, second
        Where the nll was evaluated, and when the answer is no longer stated (`falls_at`).
    end
        Share of the tokens up to whose deletion the curves are compared.

    Returns
    -------
    Two values in nats per token: areas divided by the same width, so that the rest arises while only one states the answer.
    """
    begin, stop = sorted(min(fall, end) for _, fall in (first, second))
    total = float(_area(first[0], 0, end) - _area(second[0], 0, end))
    alone = float(_area(first[0], begin, stop) - _area(second[0], begin, stop)) if stop - begin > _NARROW else 0.0
    return total / end, (total - alone) / end


def _area(points: Points, begin: float, stop: float) -> float:
    return float(points.rise @ weights_of_mean(points.deleted, begin, stop)) * (stop - begin)


def _paths(run: Run, chain_id: str, strategy: Compared, statements: Sequence[IntArray]) -> list[tuple[Points, float]]:
    """Read the paths of a strategy, one for each seed: evaluated points, and when the answer is no longer stated."""
    paths = [path for label in strategy.labels if (path := run.path(chain_id, label)) is not None]
    return [
        (points, falls_at(steps_of(path), statements)) for path in paths if (points := points_of(path, "answer")) is not None
    ]


def _pairs(strategies: Sequence[Compared]) -> list[tuple[int, int]]:
    """Numbers of the strategies of every comparison."""
    ours = [number for number, strategy in enumerate(strategies) if strategy.role != "baseline"]
    baselines = [number for number, strategy in enumerate(strategies) if strategy.role == "baseline"]
    return list(product(ours, baselines)) or list(combinations(range(len(strategies)), 2))


def _last_statement(names: Sequence[str], falls: FloatArray, down_to: float) -> pd.DataFrame:
    """How much of a chain is left when a strategy breaks the last statement of the answer, on average over chains."""
    return pd.DataFrame(
        {
            "strategy": names,
            "keep_ratio": falls.mean(axis=0),
            "n_chains": len(falls),
            "n_never_stated": (falls >= 1 - _NARROW).sum(axis=0),
            "n_stated_to_the_end": (falls <= down_to + _NARROW).sum(axis=0),
        }
    )
