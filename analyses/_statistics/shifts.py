"""Many series against one, under all circular shifts of the one: what is left of an agreement if only its alignment is lost.

Neighbouring tokens resemble each other, so that two unrelated series of them agree by chance far more than shuffled ones
would. A circular shift keeps every series as it is, and so its autocorrelation, and takes away where it stands against the
other. All shifts of a chain are one cross-correlation by Fourier transform; draws of shifts are then only looked up.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, rfft

from reasoning_anatomy.types import FloatArray, IntArray

BoolArray = npt.NDArray[np.bool_]
Single = npt.NDArray[np.float32]

_DRAWS_AT_ONCE: Final = 512
_ROUNDING: Final = 1e-5
"""Of sums in single precision."""


def shifted_correlations(series: FloatArray, one: FloatArray) -> FloatArray:
    """Pearson's r of each series with every circular shift of one.

    Parameters
    ----------
    series
        (..., rows, n) centred.
    one
        (..., n) centred.

    Returns
    -------
    (..., n, rows); row s with ``one`` moved s places to the right, row 0 as it stands. NaN if either is constant.
    """
    one = one[..., None, :]
    products = irfft(rfft(series) * np.conj(rfft(one)), n=series.shape[-1])
    scale = np.sqrt((series**2).sum(axis=-1, keepdims=True) * (one**2).sum(axis=-1, keepdims=True))
    ratio = np.divide(products, scale, out=np.full(products.shape, np.nan), where=scale > 0)
    return np.ascontiguousarray(np.swapaxes(np.clip(ratio, -1, 1), -1, -2))


class ShiftedMeans:
    """Mean of many columns over questions, as it is and under shifts of every chain by a number of places of its own.

    Chains are added one question at a time, so that only the sums are held.

    Parameters
    ----------
    draws
        Of the shifts.
    n_columns
        Such as heads.
    """

    def __init__(self, *, draws: int, n_columns: int) -> None:
        self._n_questions = 0
        self._observed: Single = np.zeros((1, n_columns), dtype=np.float32)
        self._observed_squares: Single = np.zeros(1, dtype=np.float32)
        self._drawn: Single = np.zeros((draws, n_columns), dtype=np.float32)
        self._drawn_squares: Single = np.zeros(draws, dtype=np.float32)
        self._variance = np.zeros(n_columns)

    @property
    def n_columns(self) -> int:
        """Such as heads."""
        return self._variance.size

    def add(self, chains: Sequence[tuple[FloatArray, IntArray]]) -> None:
        """Add the chains of a question.

        Parameters
        ----------
        chains
            Of each: (n, columns) from `shifted_correlations`, and (draws,) places by which it is shifted, in 0..n-1. Columns
            that are missing in some chain are averaged over the others; one that is missing in all of them becomes missing.
        """
        is_known = [np.isfinite(by_shift[0]) for by_shift, _ in chains]
        n_known = np.sum(is_known, axis=0)
        weight = 1 / np.maximum(n_known, 1)
        tables = []
        for known, (by_shift, _) in zip(is_known, chains, strict=True):
            weighted = by_shift * weight if known.all() else np.where(known, by_shift, 0) * weight
            self._variance += (weighted**2).mean(axis=0)
            tables.append(weighted.astype(np.float32))
        self._variance[n_known == 0] = np.nan
        _add(self._observed, self._observed_squares, tables, [np.zeros(1, dtype=np.int64) for _ in chains])
        for start in range(0, len(self._drawn), _DRAWS_AT_ONCE):
            block = slice(start, start + _DRAWS_AT_ONCE)
            _add(self._drawn[block], self._drawn_squares[block], tables, [shifts[block] for _, shifts in chains])
        self._n_questions += 1

    def p_max(self, *, either_sign: bool = False) -> FloatArray:
        """p-value of every column, adjusted for all of them by the largest statistic under the shifts.

        The statistic is the mean over two standard deviations. That of the column under all shifts: a column whose tokens
        resemble their neighbours more shall not rule the largest. And that of the questions around the means, of all columns
        together: correlations that stand as they were measured may vary more than shifted ones, since questions differ, and
        since residuals vary with their place.

        Returns
        -------
        (columns,) (1 + draws whose largest statistic is at least as large) / (1 + draws); the smallest is the p-value of the
        hypothesis that no column has to do with the one series. NaN for a column that is missing in some question, and is not
        in the family; for all of them below two questions.
        """
        p_values = np.full(self._variance.shape, np.nan)
        member = np.isfinite(self._variance) & (self._variance > 0)
        if member.any() and self._n_questions > 1:
            scale = np.sqrt(self._variance[member])
            (observed,) = self._statistics(self._observed, self._observed_squares, member, scale)
            largest = np.sort(np.concatenate([
                _sided(self._statistics(self._drawn[block], self._drawn_squares[block], member, scale), either_sign).max(axis=1)
                for block in (slice(start, start + _DRAWS_AT_ONCE) for start in range(0, len(self._drawn), _DRAWS_AT_ONCE))
            ]))  # fmt: skip
            wanted = _sided(observed, either_sign)
            as_large = len(largest) - np.searchsorted(largest, wanted - _ROUNDING * np.abs(wanted))
            p_values[member] = (1 + as_large) / (1 + len(largest))
        return p_values

    def _statistics(self, sums: Single, squares: Single, member: BoolArray, scale: FloatArray) -> FloatArray:
        """(rows, columns) sums over questions and (rows,) sums of squares -> (rows, members)."""
        around = squares - (sums**2).sum(axis=1) / self._n_questions
        spread = np.sqrt(np.maximum(around, _ROUNDING * squares))
        return np.asarray(sums[:, member] / scale / spread[:, None], dtype=np.float64)


def _add(sums: Single, squares: Single, tables: Sequence[Single], shifts: Sequence[IntArray]) -> None:
    """Look up the value of a question under shifts of its chains, and add it and its square, in place."""
    values = tables[0][shifts[0]]
    for table, places in zip(tables[1:], shifts[1:], strict=True):
        values += table[places]
    sums += values
    squares += np.einsum("ij,ij->i", values, values)


def _sided(statistics: FloatArray, either_sign: bool) -> FloatArray:
    return np.abs(statistics) if either_sign else statistics
