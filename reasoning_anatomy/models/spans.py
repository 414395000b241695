"""Which characters a token stands for."""

import numpy as np

from reasoning_anatomy.types import IntArray


def without_gaps(spans: IntArray, length: int) -> IntArray:
    """Extend half-open spans (n, 2), which never go backwards, so that they cover a text of ``length`` characters.

    What a normaliser has composed (NFC) or a pre-tokenizer has skipped is in no span; it belongs to the tokens before. A token
    without characters of its own, such as a space that the tokenizer puts before a text, shares those of the next.
    """
    if not len(spans):
        return spans
    starts, ends = spans.T.copy()
    for index in np.flatnonzero(starts == ends)[::-1]:
        if index + 1 < len(starts):
            starts[index], ends[index] = starts[index + 1], ends[index + 1]
    starts[starts == starts[0]] = 0
    next_starts = np.append(starts, length)[np.searchsorted(ends, ends, side="right")]
    return np.stack([starts, np.maximum(ends, next_starts)], axis=1)
