"""What an estimate with an interval says: the first word of a finding, and whether it says anything."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

CLEAR: Final = "Clear"
AGAINST: Final = "Against"
UNDECIDED: Final = "Undecided"

VERDICTS: Final = {
    CLEAR: "the interval leaves out zero, after what is held constant",
    AGAINST: "clear, and the opposite of what is asked",
    UNDECIDED: "the data cannot tell, which is not the same as no effect",
}
"""First words of findings, and what they mean."""

_EVERY_VALUE: Final = ((0.0, 1.0), (-1.0, 1.0))
"""Intervals that hold every share, and every correlation or difference of two shares."""


def says_nothing(low: Any, high: Any) -> npt.NDArray[np.bool_]:
    """Whether intervals hold every value that a share, a correlation or a difference of shares can have.

    The comparison is exact, since an interval ends at such a value only if it is cut off there.

    >>> says_nothing([0.0, -1.0, -0.2], [1.0, 1.0, 1.0]).tolist()
    [True, True, False]
    """
    low, high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
    return np.asarray(np.any([(low == least) & (high == most) for least, most in _EVERY_VALUE], axis=0))
