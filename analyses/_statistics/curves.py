"""Curves of which some points are known, read in between on straight lines: every reading is a weighted sum of those points."""

from typing import Final

import numpy as np

from reasoning_anatomy.types import FloatArray

_ROUNDING: Final = 1e-9


def weights_at(places: FloatArray, wanted: FloatArray) -> FloatArray:
    """Weights of known points in the values of a curve; ``values @ weights`` are the values that ``numpy.interp`` gives.

    Parameters
    ----------
    places
        (points,) where the curve is known, ascending; two or more.
    wanted
        (wanted,) where it is read.

    Returns
    -------
    (points, wanted); NaN where the curve does not reach.
    """
    before = np.clip(np.searchsorted(places, wanted + _ROUNDING, side="right") - 1, 0, len(places) - 2)
    share = np.clip((wanted - places[before]) / (places[before + 1] - places[before]), 0, 1)
    column = np.arange(len(wanted))
    weights = np.zeros((len(places), len(wanted)))
    weights[before, column] = 1 - share
    weights[before + 1, column] = share
    weights[:, (wanted < places[0] - _ROUNDING) | (wanted > places[-1] + _ROUNDING)] = np.nan
    return weights


def weights_of_mean(places: FloatArray, start: float, end: float) -> FloatArray:
    """Weights of known points in the mean of a curve between two places: the area under it, divided by its width.

    Parameters
    ----------
    places
        (points,) where the curve is known, ascending; two or more.
    start, end
        Different places.

    Returns
    -------
    (points,); NaN if the curve does not reach both.
    """
    inside = places[(places > start + _ROUNDING) & (places < end - _ROUNDING)]
    knots = np.concatenate([[start], inside, [end]])
    widths = np.diff(knots)
    of_knots = (np.append(widths, 0) + np.append(0, widths)) / (2 * (end - start))
    return np.asarray(weights_at(places, knots) @ of_knots)


def gaps_at(places: FloatArray, wanted: FloatArray) -> FloatArray:
    """Distance between the two known points on both sides of each place, 0 where the curve is known; (wanted,)."""
    after = np.clip(np.searchsorted(places, wanted - _ROUNDING, side="left"), 0, len(places) - 1)
    before = np.clip(np.searchsorted(places, wanted + _ROUNDING, side="right") - 1, 0, len(places) - 1)
    return np.asarray(np.maximum(places[after] - places[before], 0))
