"""What a strategy keeps at a threshold."""

from typing import Final

import numpy as np

from reasoning_anatomy.errors import PluginError
from reasoning_anatomy.pruning import HasThresholdRule, Strategy
from reasoning_anatomy.types import IntArray, PruningPath

_ROUNDING: Final = 1e-9


def kept_at(strategy: Strategy, path: PruningPath, threshold: float, *, pass_rate: float | None = None) -> IntArray:
    """Find which tokens a strategy keeps of one chain at a threshold.

    A strategy with a rule of its own decides by that (`HasThresholdRule`). For any other, the threshold is the largest share
    of the tokens to delete: as many units as fit into it are deleted, single tokens or whole steps.

    Parameters
    ----------
    strategy
        Whose path this is.
    path
        Its path of the chain.
    threshold
        0..1; at 0 everything is kept. At any threshold, the unit that would be deleted last is kept.
    pass_rate
        Share of the samples of the chain's question that are correct; None if it is not known.

    Returns
    -------
    (k,) positions, ascending; k >= 1.

    Raises
    ------
    PluginError
        The threshold is outside 0..1, or the path ends before it.
    """
    if not 0 <= threshold <= 1:
        raise PluginError(f"threshold {threshold}: is a share, from 0 (delete nothing) to 1; give one in between")
    ends = unit_ends(path)
    is_complete = len(path.deleted) == path.n_reasoning
    if threshold == 0:
        n_units = 0
    elif isinstance(strategy, HasThresholdRule):
        n_units = strategy.n_units_deleted(path, threshold, pass_rate=pass_rate)
    else:
        most = threshold * path.n_reasoning + _ROUNDING
        if not is_complete and most >= len(path.deleted) + 1:
            raise PluginError(
                f"{path.strategy}: its path ends when {path.n_reasoning - len(path.deleted)} of {path.n_reasoning} tokens are "
                f"left, before the threshold {threshold}; measure it with a lower keep_ratio"
            )
        n_units = int(np.searchsorted(ends, most, side="right"))
    n_units = min(n_units, len(ends) - 1 if is_complete else len(ends))
    return kept_without(path, int(ends[n_units - 1]) if n_units else 0)


def kept_without(path: PruningPath, n_deleted: int) -> IntArray:
    """(n - n_deleted,) positions that are left after the first ``n_deleted`` deletions of a path, ascending.

    Raises
    ------
    PluginError
        The path ends before that.
    """
    if n_deleted > len(path.deleted):
        raise PluginError(
            f"{path.strategy}: its path ends when {len(path.deleted)} tokens are deleted, before {n_deleted}; measure it with "
            "a lower keep_ratio"
        )
    return np.setdiff1d(np.arange(path.n_reasoning), path.deleted[:n_deleted])


def unit_ends(path: PruningPath) -> IntArray:
    """(u,) number of tokens that are deleted once each unit is."""
    k = len(path.deleted)
    if path.unit is None:
        return np.arange(1, k + 1)
    return np.append(np.flatnonzero(np.diff(path.unit)) + 1, k) if k else np.empty(0, dtype=np.int64)
