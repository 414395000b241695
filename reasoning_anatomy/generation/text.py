"""From what a model wrote, in ids, to text."""

from collections.abc import Sequence
from typing import Any, Final

from transformers import PreTrainedTokenizerBase

from reasoning_anatomy.types import IntArray

_LOOKING_BACK: Final = 4


def text_behind(tokenizer: PreTrainedTokenizerBase, before: IntArray, ids: Sequence[int], *, stop: Sequence[str] = ()) -> str:
    """Decode ``ids`` as text that goes on from ``before`` (T,), up to the first of the texts ``stop``.

    Special tokens are written out. A tokenizer that drops the space before the first word of a text keeps it here.
    """
    decoder: Any = tokenizer
    begin = before[-_LOOKING_BACK:].tolist()
    known, whole = (decoder.decode(part, clean_up_tokenization_spaces=False) for part in (begin, [*begin, *ids]))
    if not whole.startswith(known):  # the last character of the context goes on in the first new token
        known, whole = "", decoder.decode(list(ids), clean_up_tokenization_spaces=False)
    text: str = whole[len(known) :]
    ends = [text.index(string) for string in stop if string in text]
    return text[: min(ends)] if ends else text
