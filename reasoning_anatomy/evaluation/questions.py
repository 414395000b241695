"""What the model is asked about one chain: to answer from what is left of it, and how likely the gold answer is there."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from reasoning_anatomy.answers.judging import gold_text
from reasoning_anatomy.evaluation.answering import GOLD, Answering
from reasoning_anatomy.generation.contexts import Context
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.sequence_tokenizer import Piece
from reasoning_anatomy.run.selection import Kept
from reasoning_anatomy.specs import Reading
from reasoning_anatomy.types import EncodedChain, IntArray


@dataclass(frozen=True, eq=False)
class Asker:
    """Makes the contexts of one chain; all have the same form.

    Attributes
    ----------
    chain
        Encoded for the model.
    encoder
        Of the run.
    answering
        With its stem.
    """

    chain: EncodedChain
    encoder: ChainEncoder
    answering: Answering

    def to_answer(self, kept: Kept, reading: Reading) -> Context:
        """Make the context from which the model answers."""
        return self._context(kept, reading, self._stem, n_scored=0)

    def to_score_gold(self, kept: Kept, reading: Reading) -> Context:
        """Make the context in which the gold answer is scored."""
        stem, gold = self._gold
        return self._context(kept, reading, np.concatenate([stem, gold]), n_scored=len(gold))

    @property
    def n_before_answer(self) -> int:
        """Tokens of the context in which everything is kept, before the answer."""
        return len(self.chain.prompt_ids) + self.chain.n_reasoning + len(self._stem)

    @property
    def n_with_gold(self) -> int:
        """Tokens of the context in which everything is kept, with the gold answer; 0 if there is none."""
        if self.chain.chain.gold_answer is None:
            return 0
        return len(self.chain.prompt_ids) + self.chain.n_reasoning + sum(map(len, self._gold))

    def _context(self, kept: Kept, reading: Reading, behind: IntArray, *, n_scored: int) -> Context:
        prompt, reasoning = self.chain.prompt_ids, self.chain.reasoning_ids
        if reading == "closed_up" or kept.is_everything:
            return Context(np.concatenate([prompt, reasoning[kept.positions], behind]), n_scored=n_scored)
        whole = np.concatenate([prompt, reasoning])
        return Context(whole, evicted=len(prompt) + kept.deleted, tail=behind, n_scored=n_scored)

    @cached_property
    def _stem(self) -> IntArray:
        pieces = [Piece(str(self.answering.stem), is_trusted=True)]
        return self.encoder.behind_reasoning(self.chain.chain, {"stem": pieces})["stem"]

    @cached_property
    def _gold(self) -> tuple[IntArray, IntArray]:
        """Ids before the gold answer, and from it on."""
        before, _, after = self.answering.gold_form.partition(GOLD)
        gold = [Piece(gold_text(str(self.chain.chain.gold_answer))), Piece(after, is_trusted=True)]
        ids = self.encoder.behind_reasoning(self.chain.chain, {"stem": [Piece(before, is_trusted=True)], "gold": gold})
        return ids["stem"], ids["gold"]
