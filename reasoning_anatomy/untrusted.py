"""Text that others wrote, made fit to be shown on one line or to be kept."""

import re
import unicodedata
from typing import Final

_LONGEST_LINE: Final = 200
HALF_A_PAIR: Final = re.compile("[\ud800-\udfff]")
"""Half of a surrogate pair: no text in UTF-8 has one, but JSON can spell it."""


def one_line(text: str, limit: int = _LONGEST_LINE) -> str:
    r"""Text without control and formatting characters, on one line, cut at the limit.

    >>> one_line("rule 3:\n a\x1b[31m verb  ")
    'rule 3: a[31m verb'
    """
    visible = "".join(
        character if not unicodedata.category(character).startswith("C") else " " if character.isspace() else ""
        for character in text[: 20 * limit]
    )
    return " ".join(visible.split())[:limit]


def whole_characters(text: str) -> str:
    r"""Text with the replacement character in place of every half of a surrogate pair.

    >>> whole_characters("12 \ud83d") == "12 \ufffd"
    True
    """
    return HALF_A_PAIR.sub("\ufffd", text)
