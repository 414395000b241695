"""A sequence of parts to ids: those that the tokenizer itself gives the whole text, cut at the joints between the parts."""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from typing import Any, Final, NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerBase

from reasoning_anatomy.errors import EncodingError, ModelError
from reasoning_anatomy.models.spans import without_gaps
from reasoning_anatomy.models.text_tokenizer import STAND_IN, TextTokenizer, Tokens
from reasoning_anatomy.types import IntArray

_PROBE: Final = "12 apples and 34 pears = 46"


class Piece(NamedTuple):
    """Some text, and whether control tokens that it spells are meant as such."""

    text: str
    is_trusted: bool = False


class SequenceTokenizer:
    """Tokenises sequences of trusted and untrusted text.

    Parameters
    ----------
    tokenizer
        The model's; must be a fast one, for character offsets.

    Raises
    ------
    ModelError
        The tokenizer gives no character offsets, or loses the spaces between words.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer: Any = tokenizer
        if not tokenizer.is_fast:
            raise ModelError(f"{type(tokenizer).__name__} gives no character offsets; use the model's fast tokenizer")
        self._text = TextTokenizer(tokenizer)
        self._is_dropped = cache(lambda character: not len(self._text.encode(character, goes_on=True).ids))
        self._expect_spaces()

    def encode(self, parts: Mapping[str, Sequence[Piece]], *, owner: str) -> dict[str, Tokens]:
        """Encode a sequence and cut it into its parts.

        The ids are those of the whole text. Only if one token would hold the end of a part and the beginning of the next,
        the two are tokenised apart there, the second as text that goes on.

        Parameters
        ----------
        parts
            Pieces of every part by name, in order.
        owner
            Whose text it is, for errors.

        Returns
        -------
        Ids and spans by name. Spans are of the part's own text if it has no trusted piece; they cover it without gaps, and the
        tokens of one character share its span.

        Raises
        ------
        EncodingError
            Text can be read only as a control token, or a character of it gives no token.
        ModelError
            The ids are not those that the tokenizer itself gives this text.
        """
        for name, pieces in parts.items():
            if any(STAND_IN in piece.text for piece in pieces):
                raise EncodingError(
                    f"{owner}: the {name} holds the private-use character U+10FFF0, which this library needs; remove it"
                )
        marked = {name: "".join(map(self._marked, pieces)) for name, pieces in parts.items()}
        whole = "".join(marked.values())
        ends = np.cumsum([len(text) for text in marked.values()]).tolist()
        tokens = self._uncut_or_apart(whole, ends[:-1])
        self._expect_own_ids(parts, whole, owner)
        first_tokens = [0, *np.searchsorted(tokens.spans[:, 0], ends[:-1]), len(tokens.ids)]
        encoded = {}
        for number, (name, text) in enumerate(marked.items()):
            own = slice(first_tokens[number], first_tokens[number + 1])
            part = Tokens(tokens.ids[own], tokens.spans[own] - (ends[number] - len(text)))
            self._expect_no_control(part, parts[name], text, f"{owner}: the {name}")
            for piece in parts[name]:
                if not piece.is_trusted:
                    self._expect_all_characters(piece.text, f"{owner}: the {name}")
            encoded[name] = Tokens(part.ids, without_gaps(part.spans, len(text)))
        return encoded

    def text_ids(self, text: str) -> IntArray:
        """(n,) ids of untrusted text that follows other text; `EncodingError` as for `encode`."""
        tokens = self._text.encode(text, goes_on=True)
        self._expect_no_control(tokens, [Piece(text)], text, f"the text {text!r}")
        return tokens.ids

    def tag_ids(self, tag: str) -> IntArray:
        """(n,) ids of a tag such as ``</think>``: the token that is this tag if the tokenizer has one, else its characters."""
        marker = [token_id for token_id, token in self._text.control.items() if token.content == tag]
        return np.array(marker, dtype=np.int64) if marker else self.text_ids(tag)

    @cached_property
    def beginning(self) -> IntArray:
        """(b,) ids that the tokenizer itself puts before any text, such as BOS."""
        whole, text = self._own_ids(_PROBE, add_special_tokens=True), self._own_ids(_PROBE)
        starts = range(len(whole) - len(text) + 1)
        return whole[: next(start for start in starts if np.array_equal(whole[start : start + len(text)], text))]

    def _marked(self, piece: Piece) -> str:
        return self._text.marked(piece.text) if piece.is_trusted else piece.text

    def _uncut_or_apart(self, whole: str, joints: list[int]) -> Tokens:
        """Tokens none of which holds characters on both sides of a joint."""
        breaks: list[int] = []
        while True:
            tokens = self._in_pieces(whole, breaks)
            starts, stops = tokens.spans.T
            straddled = [joint for joint in joints if ((starts < joint) & (joint < stops)).any()]
            if not straddled:
                return tokens
            breaks = sorted({*breaks, *straddled})

    def _in_pieces(self, whole: str, breaks: list[int]) -> Tokens:
        """Tokens of text that is broken in places; only up to its first stand-in does a piece go on from the one before."""
        tokens = []
        for start, stop in zip([0, *breaks], [*breaks, len(whole)], strict=True):
            piece = whole[start:stop]
            n_going_on = (piece.find(STAND_IN) if STAND_IN in piece else len(piece)) if start else 0
            for first, text, goes_on in ((0, piece[:n_going_on], True), (n_going_on, piece[n_going_on:], False)):
                if text:
                    ids, spans = self._text.encode(text, goes_on=goes_on)
                    tokens.append(Tokens(ids, spans + start + first))
        return Tokens(*map(np.concatenate, zip(*tokens, strict=True)))

    def _own_ids(self, text: str, *, add_special_tokens: bool = False) -> IntArray:
        return np.array(self._tokenizer(text, add_special_tokens=add_special_tokens)["input_ids"], dtype=np.int64)

    def _expect_spaces(self) -> None:
        """Refuse a tokenizer that was loaded as another kind than it is, as transformers before 5.23 did with some."""
        decoded = self._tokenizer.decode(self._own_ids(_PROBE), clean_up_tokenization_spaces=False)
        if len(decoded.split()) < len(_PROBE.split()):
            raise ModelError(
                f"the tokenizer loses spaces ({_PROBE!r} comes back as {decoded!r}), because it was loaded as a "
                f"{type(self._tokenizer).__name__}, which it is not; update transformers to 5.23 or later, or load it as "
                "PreTrainedTokenizerFast"
            )

    def _expect_own_ids(self, parts: Mapping[str, Sequence[Piece]], whole: str, owner: str) -> None:
        """Compare the ids of the whole text with the tokenizer's own, unless untrusted text spells a control token."""
        own = self._own_ids("".join(piece.text for pieces in parts.values() for piece in pieces))
        found, control = self._text.encode(whole).ids, list(self._text.control)
        if np.isin(own, control).sum() == np.isin(found, control).sum() and not np.array_equal(own, found):
            raise ModelError(
                f"{owner}: {type(self._tokenizer).__name__} gives its text other ids than this version finds, so nothing about "
                "it would be true of the model; use another model, and report this one"
            )

    def _expect_no_control(self, tokens: Tokens, pieces: Sequence[Piece], marked: str, where: str) -> None:
        """Refuse a control token to which untrusted text has contributed."""
        unknown = self._tokenizer.unk_token_id, self._tokenizer.unk_token
        for first, last in self._untrusted(pieces):
            touches = (tokens.spans[:, 0] < last) & (tokens.spans[:, 1] > first)
            for index in np.flatnonzero(touches & np.isin(tokens.ids, list(self._text.control))):
                start, stop = tokens.spans[index]
                text = marked[start:stop]
                is_unknown_character = tokens.ids[index] == unknown[0] and text != unknown[1]
                if not is_unknown_character and STAND_IN not in text:
                    raise EncodingError(
                        f"{where} holds {text!r} at character {max(start - first, 0)}, which this tokenizer can read only as a "
                        "special token; rewrite it"
                    )

    def _untrusted(self, pieces: Sequence[Piece]) -> Iterator[tuple[int, int]]:
        """First character and stop of every untrusted piece in the marked text of a part."""
        stop = 0
        for piece in pieces:
            start, stop = stop, stop + len(self._marked(piece))
            if not piece.is_trusted:
                yield start, stop

    def _expect_all_characters(self, text: str, where: str) -> None:
        """Refuse text of which a character gives no token, unless it is a blank, or an accent, as some drop by design."""
        for character in sorted(set(text)):
            kind = unicodedata.category(character)
            is_optional = character in "\t\n\r" or (character.isspace() and kind != "Cc") or kind.startswith("M")
            if not is_optional and self._is_dropped(character):
                raise EncodingError(
                    f"{where} holds {character!r} (U+{ord(character):04X}) at character {text.index(character)}, which this "
                    "tokenizer drops; remove it"
                )
