"""From chain to token ids: prompt, reasoning and answer are tokenised apart and joined as ids.

Text from a chain never becomes a special token: if it spells ``<|im_end|>`` or ``</think>``, it stays text.
"""

import hashlib
import json
from functools import cached_property
from typing import Any, Final

import numpy as np
from jinja2 import TemplateError
from tokenizers import Encoding as TokenizerEncoding
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from reasoning_anatomy.errors import EncodingError, ModelError
from reasoning_anatomy.specs import EncodingOptions as EncodingOptions
from reasoning_anatomy.types import EncodedChain, IntArray, ReasoningChain

_QUESTION: Final = "QUESTIONPLACEHOLDER"
_SYSTEM: Final = "SYSTEMPLACEHOLDER"
_REPLY: Final = "REPLYPLACEHOLDER"


class ChainEncoder:
    """Encodes chains for one tokenizer.

    Parameters
    ----------
    tokenizer
        The model's; must be a fast one, for character offsets.
    options
        The joints between the parts.
    context_length
        Longest sequence of the model in tokens; None = no limit.

    Raises
    ------
    ModelError
        The tokenizer gives no character offsets.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, options: EncodingOptions | None = None, *, context_length: int | None = None
    ) -> None:
        self.tokenizer: Any = tokenizer
        self.options = options or EncodingOptions()
        self.context_length = context_length
        if not tokenizer.is_fast:
            raise ModelError(f"{type(tokenizer).__name__} gives no character offsets; use the model's fast tokenizer")

    def encode(self, chain: ReasoningChain) -> EncodedChain:
        """Encode one chain.

        Raises
        ------
        EncodingError
            The chain is longer than the model's context, or a part of it cannot be encoded.
        """
        reasoning = self._untrusted(chain.reasoning, f"{chain.chain_id}: the reasoning")
        spans = np.array(reasoning.offsets, dtype=np.int64).reshape(-1, 2)
        answer = [
            *self._trusted(self.options.before_answer),
            *self._untrusted(chain.answer, f"{chain.chain_id}: the answer").ids,
            *self._trusted(self._end_of_turn),
        ]
        prompt = self._prompt(chain)
        for part, ids in (("prompt", prompt), ("reasoning", reasoning.ids), ("answer", answer)):
            if not ids:
                raise EncodingError(f"{chain.chain_id}: the {part} gives no token with this tokenizer; it needs at least one")
        length = len(prompt) + len(reasoning.ids) + len(answer)
        if self.context_length is not None and length > self.context_length:
            raise EncodingError(
                f"{chain.chain_id}: has {length} tokens, but the model's context holds {self.context_length}; "
                "leave the chain out or use a model with a longer context"
            )
        return EncodedChain(chain, _ids(prompt), _ids(reasoning.ids), _ids(answer), _monotone(spans))

    def text_ids(self, text: str) -> list[int]:
        """Encode text that is not trusted and may hold no special token; `EncodingError` if the tokenizer reads one."""
        return list(self._untrusted(text, f"the text {text!r}").ids)

    def tag_ids(self, tag: str) -> list[int]:
        """Encode a tag such as ``</think>``: the token that is this tag if the tokenizer has one, else its characters."""
        marker = [token_id for token_id, content in self._markers.items() if content == tag]
        return marker or self.text_ids(tag)

    @cached_property
    def template_digest(self) -> str:
        """Digest of all text that the template and the options put around a chain."""
        parts = [self._render(question=_QUESTION, system=None), self._end_of_turn, repr(self.options)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def _prompt(self, chain: ReasoningChain) -> list[int]:
        where = f"{chain.chain_id}: the prompt"
        if not self._spells_marker(chain.question + (chain.system_prompt or "")):
            text = self._render(question=chain.question, system=chain.system_prompt)
            return [*self._beginning, *self._trusted(text)]
        rendered = self._render(question=_QUESTION, system=None if chain.system_prompt is None else _SYSTEM)
        ids = [*self._beginning]
        for text, is_template in _segments(rendered, {_QUESTION: chain.question, _SYSTEM: chain.system_prompt or ""}):
            ids += self._trusted(text) if is_template else self._untrusted(text, where).ids
        return ids

    def _render(self, *, question: str, system: str | None) -> str:
        if self.tokenizer.chat_template is None:
            text = f"{system}\n\n{question}\n" if system else f"{question}\n"
        else:
            messages = [{"role": "system", "content": system}] if system is not None else []
            text = self._apply([*messages, {"role": "user", "content": question}], add_generation_prompt=True)
        return text + self.options.before_reasoning

    def _apply(self, messages: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
        try:
            text: str = self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=add_generation_prompt
            )
        except TemplateError as error:
            roles = ", ".join(message["role"] for message in messages)
            raise EncodingError(f"the model's chat template refuses the roles {roles}: {error}") from error
        return text

    @cached_property
    def _end_of_turn(self) -> str:
        """What the template puts after the model's reply: the end-of-turn token, without the white space after it."""
        if self.tokenizer.chat_template is None:
            return self.tokenizer.eos_token or ""
        messages = [{"role": "user", "content": _QUESTION}, {"role": "assistant", "content": _REPLY}]
        _, reply, end = self._apply(messages, add_generation_prompt=False).rpartition(_REPLY)
        return end.strip() if reply else self.tokenizer.eos_token or ""

    @cached_property
    def _beginning(self) -> list[int]:
        """Ids that the tokenizer itself puts before any text, such as BOS; a chat template brings its own."""
        if self.tokenizer.chat_template is not None:
            return []
        whole: list[int] = self.tokenizer(_QUESTION)["input_ids"]
        text = self._trusted(_QUESTION)
        starts = range(len(whole) - len(text) + 1)
        return whole[: next(start for start in starts if whole[start : start + len(text)] == text)]

    def _trusted(self, text: str) -> list[int]:
        """Encode text whose special tokens are meant as such."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _untrusted(self, text: str, where: str) -> TokenizerEncoding:
        encoding = self._text_tokenizer.encode(text, add_special_tokens=False)
        for token_id, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            if token_id in self._markers:
                raise EncodingError(
                    f"{where} holds {text[start:end]!r} at character {start}, which this tokenizer can read only as a "
                    "special token; rewrite it"
                )
        return encoding

    def _spells_marker(self, text: str) -> bool:
        is_spelt = any(marker in text for marker in self._markers.values())
        return is_spelt or not self._markers.keys().isdisjoint(self._trusted(text))  # a normaliser may make one

    @cached_property
    def _markers(self) -> dict[int, str]:
        """Added tokens that are not plain white space: special tokens, think tags, tool tags."""
        added = self.tokenizer.added_tokens_decoder
        return {token_id: token.content for token_id, token in added.items() if token.special or token.content.strip()}

    @cached_property
    def _text_tokenizer(self) -> Tokenizer:
        """Build a copy of the tokenizer that reads every marker as characters, and whose offsets include white space."""
        state = json.loads(self.tokenizer.backend_tokenizer.to_str())
        for token in state["added_tokens"]:
            token["special"] = token["id"] in self._markers
        state["truncation"] = state["padding"] = state["post_processor"] = None
        tokenizer = Tokenizer.from_str(json.dumps(state))
        tokenizer.encode_special_tokens = True
        return tokenizer


def _segments(rendered: str, texts: dict[str, str]) -> list[tuple[str, bool]]:
    """Cut a rendered template at its placeholders: (template text, True) and (chain text, False) in order."""
    segments = [(rendered, True)]
    for placeholder, text in texts.items():
        cut: list[tuple[str, bool]] = []
        for segment, is_template in segments:
            if not is_template or placeholder not in segment:
                cut.append((segment, is_template))
                continue
            before, *others = segment.split(placeholder)
            cut.append((before, True))
            for after in others:
                cut += [(text, False), (after, True)]
        segments = cut
    return [(segment, is_template) for segment, is_template in segments if segment]


def _monotone(spans: IntArray) -> IntArray:
    """(n, 2) offsets whose starts and ends never decrease (byte fallback may step back inside a split character)."""
    return np.maximum.accumulate(spans, axis=0) if len(spans) else spans


def _ids(ids: list[int]) -> IntArray:
    return np.array(ids, dtype=np.int64)
