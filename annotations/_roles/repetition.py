"""Where a text repeats, word for word, what it said before."""

import re
from typing import Final

from reasoning_anatomy.types import CharacterSpan

_WORD: Final = re.compile(r"\w+|[^\w\s]")


def repetitions(text: str, *, n_words: int) -> list[CharacterSpan]:
    """Half-open spans of the runs of ``n_words`` words that stood earlier in the text.

    A word is a run of letters and digits or a single other symbol; case and white space do not count. The earlier run must
    have ended before the later one begins. Linear in the length of the text.

    >>> text = "She has 5 red pens. So she has 5 red hats."
    >>> [text[start:end] for start, end in repetitions(text, n_words=4)]
    ['she has 5 red']
    """
    words = [(match.start(), match.end(), match.group().casefold()) for match in _WORD.finditer(text)]
    first: dict[tuple[str, ...], int] = {}
    repeated = []
    for index in range(len(words) - n_words + 1):
        run = tuple(word for _, _, word in words[index : index + n_words])
        if first.setdefault(run, index) + n_words <= index:
            repeated.append((words[index][0], words[index + n_words - 1][1]))
    return repeated
