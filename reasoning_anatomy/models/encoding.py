"""From chain to token ids: prompt, reasoning and answer are tokenised as one sequence and cut at their joints.

Text from a chain never becomes a control token: if it spells ``<|im_end|>`` or ``</think>``, it stays text.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from reasoning_anatomy.errors import EncodingError
from reasoning_anatomy.models.chat_template import ChatTemplate
from reasoning_anatomy.models.joints import joints, opened_tag, tags_in
from reasoning_anatomy.models.sequence_tokenizer import Piece, SequenceTokenizer
from reasoning_anatomy.specs import EncodingOptions as EncodingOptions
from reasoning_anatomy.types import EncodedChain, IntArray, ReasoningChain


class ChainEncoder:
    """Encodes chains for one tokenizer.

    Parameters
    ----------
    tokenizer
        The model's; must be a fast one, for character offsets.
    options
        What stands around a chain; what is left open is found out from the tokenizer.
    context_length
        Longest sequence of the model in tokens; None = no limit.

    Attributes
    ----------
    options
        With the joints and the date that were found out.

    Raises
    ------
    ModelError
        The tokenizer gives no character offsets, or loses the spaces between words.
    EncodingError
        The options contradict the model's chat template, or it fails.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, options: EncodingOptions | None = None, *, context_length: int | None = None
    ) -> None:
        options = options or EncodingOptions()
        self.tokenizer: Any = tokenizer
        self.context_length = context_length
        self._sequences = SequenceTokenizer(tokenizer)
        self._template = ChatTemplate(tokenizer, variables=options.template_variables, date=options.date)
        before_reasoning, before_answer = joints(options, self._template, tokenizer)
        self.options = dataclasses.replace(
            options,
            before_reasoning=before_reasoning,
            before_answer=before_answer,
            template_variables=tuple(sorted(options.template_variables)),
            date=self._template.date,
        )

    def encode(self, chain: ReasoningChain) -> EncodedChain:
        """Encode one chain.

        Raises
        ------
        EncodingError
            The chain is longer than the model's context, or a part of it cannot be encoded.
        """
        parts = {
            "prompt": [*self._prompt(chain), Piece(str(self.options.before_reasoning), is_trusted=True)],
            "reasoning": [Piece(chain.reasoning)],
            "answer": [
                Piece(str(self.options.before_answer), is_trusted=True),
                Piece(chain.answer),
                Piece(self._template.end_of_turn, is_trusted=True),
            ],
        }
        tokens = self._sequences.encode(parts, owner=chain.chain_id)
        prompt = np.concatenate([self._beginning, tokens["prompt"].ids])
        reasoning, answer = tokens["reasoning"], tokens["answer"].ids
        for part, ids in (("prompt", prompt), ("reasoning", reasoning.ids), ("answer", answer)):
            if not len(ids):
                raise EncodingError(f"{chain.chain_id}: the {part} gives no token with this tokenizer; it needs at least one")
        length = len(prompt) + len(reasoning.ids) + len(answer)
        if self.context_length is not None and length > self.context_length:
            raise EncodingError(
                f"{chain.chain_id}: has {length} tokens, but the model's context holds {self.context_length}; "
                "leave the chain out or use a model with a longer context"
            )
        return EncodedChain(chain, prompt, reasoning.ids, answer, reasoning.spans)

    def prompt(self, question: str, system_prompt: str | None, *, owner: str) -> IntArray:
        """(p,) ids of a prompt as the template ends it, behind which the model writes thinking and answer.

        Raises
        ------
        EncodingError
            The prompt cannot be encoded, or is as long as the model's context; the message names its ``owner``.
        """
        try:
            pieces = self._template.prompt(question, system_prompt)
        except EncodingError as error:
            raise EncodingError(f"{owner}: {error}") from error
        ids = np.concatenate([self._beginning, self._sequences.encode({"prompt": pieces}, owner=owner)["prompt"].ids])
        if self.context_length is not None and len(ids) >= self.context_length:
            raise EncodingError(
                f"{owner}: the prompt has {len(ids)} tokens, but the model's context holds {self.context_length}; leave it out "
                "or use a model with a longer context"
            )
        return ids

    @cached_property
    def opened_thinking(self) -> str:
        """The tag that the prompt opens and leaves to the model to close; empty if there is none."""
        return opened_tag(self._template.generation_prompt)

    @cached_property
    def closing_tag(self) -> str:
        """The tag that closes the thinking of this model; empty if it does not think in tags, as far as its files tell."""
        return next(iter(tags_in(str(self.options.before_answer))), "")

    def behind_reasoning(self, chain: ReasoningChain, parts: Mapping[str, Sequence[Piece]]) -> dict[str, IntArray]:
        """Encode what stands behind the reasoning of a chain in place of its answer.

        Parameters
        ----------
        chain
            The chain.
        parts
            Pieces of every part by name, in order; the joint before the answer comes before them, in the first.

        Returns
        -------
        Ids by name, as the tokenizer gives them in this place.

        Raises
        ------
        EncodingError
            A part cannot be encoded.
        """
        names = list(parts)
        joint = Piece(str(self.options.before_answer), is_trusted=True)
        before = {
            "prompt": [*self._prompt(chain), Piece(str(self.options.before_reasoning), is_trusted=True)],
            "reasoning": [Piece(chain.reasoning)],
        }
        behind = {name: [*([joint] if name == names[0] else []), *pieces] for name, pieces in parts.items()}
        tokens = self._sequences.encode({**before, **behind}, owner=chain.chain_id)
        return {name: tokens[name].ids for name in names}

    def text_ids(self, text: str) -> IntArray:
        """(n,) ids of untrusted text that follows other text; `EncodingError` if it can be read only as a special token."""
        return self._sequences.text_ids(text)

    def tag_ids(self, tag: str) -> IntArray:
        """(n,) ids of a tag such as ``</think>``: the token that is this tag if the tokenizer has one, else its characters."""
        return self._sequences.tag_ids(tag)

    @cached_property
    def ends_of_turn(self) -> frozenset[int]:
        """Ids each of which ends the model's turn: those that its files name, and the one with which its template does."""
        tokenizer = self.tokenizer
        of_template = self.tag_ids(self._template.end_of_turn).tolist() if self._template.end_of_turn else []
        named = [tokenizer.eos_token_id, *(of_template if len(of_template) == 1 else [])]
        return frozenset(int(token) for token in named if token is not None)

    @cached_property
    def in_words(self) -> str:
        """What stands around the reasoning of every chain, and the date that the template writes."""
        before = self._template.generation_prompt + str(self.options.before_reasoning)
        date = f", the template writes the date {self.options.date}" if self.options.date else ""
        return (
            f"The prompt ends in {before!r}, {self.options.before_answer!r} stands between reasoning and answer, "
            f"and {self._template.end_of_turn!r} after it{date}."
        )

    @cached_property
    def template_digest(self) -> str:
        """Digest of all text that the template and the options put around a chain."""
        prompt = "".join(piece.text for piece in self._template.prompt("QUESTION", None))
        parts = [prompt, self._template.end_of_turn, repr(self.options)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    def _prompt(self, chain: ReasoningChain) -> list[Piece]:
        try:
            pieces = self._template.prompt(chain.question, chain.system_prompt)
        except EncodingError as error:
            raise EncodingError(f"{chain.chain_id}: {error}") from error
        end, of_others = pieces[-1].text if pieces[-1].is_trusted else "", self._template.generation_prompt
        if self.options.joints == "auto" and tags_in(end) != tags_in(of_others):
            raise EncodingError(
                f"{chain.chain_id}: the model's chat template ends this prompt in {end[-60:]!r}, but without its system "
                f"prompt in {of_others!r}, for which the joints were found out; give the joints with --joints none"
            )
        return pieces

    @cached_property
    def _beginning(self) -> IntArray:
        """Ids before the prompt, such as BOS; a chat template brings its own."""
        return np.array([], dtype=np.int64) if self.tokenizer.chat_template is not None else self._sequences.beginning
