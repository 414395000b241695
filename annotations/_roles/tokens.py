"""From character spans of a text to the tokens that show one of their characters."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from reasoning_anatomy.types import CharacterSpan, IntArray


def marked_tokens(text: str, spans: IntArray, marked: Iterable[CharacterSpan]) -> npt.NDArray[np.bool_]:
    """Whether each token shows a character of any marked span.

    Parameters
    ----------
    text
        The text that both refer to.
    spans
        (n, 2) half-open characters of the tokens.
    marked
        The spans to mark; they may overlap.

    Returns
    -------
    (n,). White space shows nothing: a token that reaches into a marked span only with its leading space is not marked. The
    tokens of one split character are marked alike, so that the marks do not depend on the tokenizer.
    """
    depth = np.zeros(len(text) + 1, dtype=np.int64)
    for start, end in marked:
        depth[start] += 1
        depth[end] -= 1
    visible = np.array([not character.isspace() for character in text], dtype=bool)
    shown = np.concatenate([[0], np.cumsum(visible & (np.cumsum(depth)[:-1] > 0))])
    return np.asarray(shown[spans[:, 1]] > shown[spans[:, 0]])
