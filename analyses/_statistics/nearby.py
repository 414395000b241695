"""Rank correlation among tokens that stand near one another: within bins of position, whatever the trend over the chain."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analyses._statistics.correlation import given_position, pearson
from reasoning_anatomy.types import FloatArray

MOST_BINS: Final = 10
TOKENS_OF_BIN: Final = 10
"""At least, if a chain is cut into more than the fewest bins."""

FEWEST_TOKENS: Final = 16
"""Of a chain: two bins of eight."""


def spearman_within_bins(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> FloatArray:
    """Spearman's rho within bins of position, averaged over the bins.

    The chain is cut into bins of the same length (to one token): as many as have ten tokens, but at least two and at most ten.
    Within a bin both are ranked anew and regressed on position, as in `given_position`. So what both owe to position is taken
    out if it is a straight line within a tenth of the chain, not only over the whole of it. What is left are differences
    between neighbours.

    Parameters
    ----------
    x, y
        (..., n) and (..., n), broadcast, in the order of position.

    Returns
    -------
    (...), in -1..1; bins in which either has no order are left out, NaN if there is no other or the chain has fewer than
    `FEWEST_TOKENS`.
    """
    shape = np.broadcast_shapes(x.shape, y.shape)
    n = shape[-1]
    if n < FEWEST_TOKENS:
        return np.full(shape[:-1], np.nan)
    n_bins = int(np.clip(n // TOKENS_OF_BIN, 2, MOST_BINS))
    short, n_long = divmod(n, n_bins)
    edge = n_long * (short + 1)
    parts = [(slice(0, edge), n_long, short + 1)] if n_long else []
    parts.append((slice(edge, n), n_bins - n_long, short))
    found = np.concatenate([_of_bins(x[..., part], y[..., part], bins, length) for part, bins, length in parts], axis=-1)
    known = np.isfinite(found)
    sums = np.where(known, found, 0).sum(axis=-1)
    n_known = known.sum(axis=-1)
    return np.asarray(np.divide(sums, n_known, out=np.full(sums.shape, np.nan), where=n_known > 0))


def _of_bins(x: npt.NDArray[Any], y: npt.NDArray[Any], bins: int, length: int) -> FloatArray:
    """(..., bins x length) and (..., bins x length) -> (..., bins)."""
    return pearson(*(given_position(values.reshape(*values.shape[:-1], bins, length)) for values in (x, y)))
