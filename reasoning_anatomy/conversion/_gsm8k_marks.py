"""The marks of GSM8K: the final answer after four hashes, calculations in double angle brackets."""

import re
from typing import Final

HASHES: Final = "####"
_CALCULATION: Final = re.compile(r"<<[^<>]*>>")


def final_answer(solution: str) -> str:
    """Return what stands behind the hashes, or all of it if there are none."""
    return solution.rpartition(HASHES)[2].strip()


def without_calculations(text: str) -> str:
    """Leave out what a calculator would have been given; its result stands behind it."""
    return _CALCULATION.sub("", text)
