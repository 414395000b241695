"""A copy of a tokenizer for text that is not trusted: every control token that it spells is read as characters.

Control tokens that are meant as such are given as stand-ins, private-use characters that no text may hold. So a sequence of
both is still one text, and the tokenizer treats beginnings, blanks and merges as in any other.
"""

import json
import re
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerBase

from reasoning_anatomy.models.control_tokens import control_tokens
from reasoning_anatomy.types import IntArray

STAND_IN: Final = "\U0010fff0"
"""What every stand-in begins with."""
_FIRST_PRIVATE: Final = 0x100000


class Tokens(NamedTuple):
    """Ids (n,) and half-open character spans (n, 2) whose starts and ends never decrease; they may have gaps."""

    ids: IntArray
    spans: IntArray


class TextTokenizer:
    """Reads text of a chain.

    Parameters
    ----------
    tokenizer
        The model's, a fast one. It is left as it is.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._backend: Any = tokenizer.backend_tokenizer
        self.control = control_tokens(tokenizer)
        self._stand_ins = {
            token.content: STAND_IN + chr(_FIRST_PRIVATE + number) for number, token in enumerate(self.control.values())
        }

    def marked(self, text: str) -> str:
        """Trusted text with a stand-in for every control token that it spells."""
        return self._pattern.sub(lambda match: self._stand_ins[match[0]], text) if self.control else text

    def encode(self, marked: str, *, goes_on: bool = False) -> Tokens:
        """Encode text with stand-ins; ``goes_on`` if it follows other text, so that no space is put before it."""
        encoding = (self._going_on if goes_on else self._from_the_start).encode(marked, add_special_tokens=False)
        ids = np.array([self._meant.get(token_id, token_id) for token_id in encoding.ids], dtype=np.int64)
        spans = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
        # byte fallback may step back inside a split character
        return Tokens(ids, np.maximum.accumulate(spans, axis=0) if len(spans) else spans)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile("|".join(map(re.escape, sorted(self._stand_ins, key=len, reverse=True))))

    @cached_property
    def _from_the_start(self) -> Tokenizer:
        return self._copy(self._state)

    @cached_property
    def _going_on(self) -> Tokenizer:
        state = self._state | {name: _without_dummy_prefix(self._state[name]) for name in ("normalizer", "pre_tokenizer")}
        return self._from_the_start if state == self._state else self._copy(state)

    @cached_property
    def _meant(self) -> dict[int, int]:
        """Id of the control token for which each stand-in stands."""
        known = self._from_the_start.get_vocab(with_added_tokens=True)
        return {known[self._stand_ins[token.content]]: token_id for token_id, token in self.control.items()}

    @cached_property
    def _state(self) -> dict[str, Any]:
        """Description of the tokenizer, without what trims offsets, cuts or pads."""
        state: dict[str, Any] = json.loads(self._backend.to_str())
        for token in state["added_tokens"]:
            token["special"] = token["id"] in self.control
        return state | {"truncation": None, "padding": None, "post_processor": None}

    def _copy(self, state: dict[str, Any]) -> Tokenizer:
        tokenizer = Tokenizer.from_str(json.dumps(state))
        tokenizer.encode_special_tokens = True  # special ones are characters now, and stand-ins are not special
        stand_ins = [
            AddedToken(self._stand_ins[token.content], lstrip=token.lstrip, rstrip=token.rstrip, normalized=token.normalized)
            for token in self.control.values()
        ]
        tokenizer.add_tokens(stand_ins)
        return tokenizer


def _without_dummy_prefix(node: Any) -> Any:
    """Describe a normaliser or pre-tokenizer that puts no space before a text."""
    if not isinstance(node, dict):
        return node
    if node.get("type") == "Prepend":
        return {"type": "Sequence", "normalizers": []}
    never = {"prepend_scheme": "never", "add_prefix_space": False}
    nested = {name: list(map(_without_dummy_prefix, each)) for name, each in node.items() if isinstance(each, list)}
    return {**node, **nested, **{name: value for name, value in never.items() if name in node}}
