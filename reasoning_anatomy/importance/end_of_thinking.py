"""Attention from the end of thinking."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Final, Literal

import numpy as np

from reasoning_anatomy.attention.observation import Observation
from reasoning_anatomy.attention.recording import record
from reasoning_anatomy.errors import UndefinedScoreError
from reasoning_anatomy.importance._attention_scorer import expect_sink_before, mean_of_heads, normalisation_after
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.options import expect_at_least
from reasoning_anatomy.types import AttentionProfile, EncodedChain, FloatArray, IntArray, TokenScores

_BEGIN: Final = "<think>"
_END: Final = "</think>"


@dataclass(frozen=True, kw_only=True)
class EndOfThinking:
    """Attention that a reasoning token receives from a ``</think>`` that follows it and a request to sum up.

    The answer is replaced by the probe, a sentence and ``</think>``; the query is the last token of the tag. The tag is
    one token if the tokenizer has it, else its characters; the sentence is text and never a special token. Post-softmax
    weight per layer and head; the score is the mean over heads and over the chosen layers.

    Attributes
    ----------
    probe
        The sentence before the tag.
    question
        Whether the prompt stands before the reasoning. If not, the sequence begins with ``<think>``, as published.
    layers
        Layers that count: ``"all"``, the ``"first_half"``, or the ``"last"``. The profile has all of them.
    exclude_sink
        How many of the first tokens of the sequence are dropped as keys, the rest of the row renormalised; 0 = off.
    token_budget
        Tokens of one forward pass; longer sequences are run in chunks. Changes speed and memory, and numbers in the last
        digits; None takes 4096.

    References
    ----------
    Choi et al., Think Clearly: Improving Reasoning via Redundant Token Pruning, arXiv:2507.08806; with ``question=False``
    and ``layers=first_half``, TRAAC, arXiv:2510.01581.
    """

    records_attention: ClassVar[Literal[True]] = True

    probe: str = "\n\nTime is up. I stop thinking here and sum up all the key steps that lead to the answer.\n"
    question: bool = True
    layers: Literal["all", "first_half", "last"] = "all"
    exclude_sink: int = 0
    token_budget: int | None = None

    def __post_init__(self) -> None:
        expect_at_least(self, exclude_sink=0, token_budget=1)

    def score(self, chain: EncodedChain, *, loaded: LoadedModel) -> TokenScores:
        """Score the reasoning tokens of one chain, 0..1; the profile is (layers, heads, n).

        Raises
        ------
        UndefinedScoreError
            The chain and the probe together are longer than the model's context.
        """
        before, after = self._around(chain, loaded)
        profile = self._profile(chain, before, after, range(len(before), len(before) + chain.n_reasoning), loaded)
        return TokenScores(self._mean(profile), profile)

    def score_around(self, chain: EncodedChain, *, loaded: LoadedModel) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Score all tokens of the sequence by the same rule: those before the reasoning, its own, those of probe and tag."""
        before, after = self._around(chain, loaded)
        n_before, n_through = len(before), len(before) + chain.n_reasoning
        score = self._mean(self._profile(chain, before, after, range(n_through + len(after)), loaded))
        return score[:n_before], score[n_before:n_through], score[n_through:]

    def _around(self, chain: EncodedChain, loaded: LoadedModel) -> tuple[IntArray, IntArray]:
        """Ids of what stands before the reasoning, and after it."""
        begin, sentence, end = _probe_ids(loaded.tokenizer, self.probe)
        return chain.prompt_ids if self.question else begin, np.concatenate([sentence, end])

    def _profile(
        self, chain: EncodedChain, before: IntArray, after: IntArray, keys: range, loaded: LoadedModel
    ) -> AttentionProfile:
        expect_sink_before(chain, self.exclude_sink, len(before))
        ids = np.concatenate([before, chain.reasoning_ids, after])
        if loaded.context_length is not None and len(ids) > loaded.context_length:
            raise UndefinedScoreError(
                chain.chain_id, "the probe of end_of_thinking does not fit into the model's context after the reasoning; "
                "give a shorter probe, or leave the chain out"
            )  # fmt: skip
        last = np.array([len(ids) - 1])
        observation = Observation(reduction="sum", queries=last, keys=keys, exclude_sink=self.exclude_sink)
        (received,) = record(loaded, ids, [observation], token_budget=self.token_budget)
        n_tag = len(_probe_ids(loaded.tokenizer, self.probe)[2])
        tag = "one token" if n_tag == 1 else f"the last of its {n_tag} tokens of text"
        return AttentionProfile(
            scorer="end_of_thinking", received=received, normalisation=normalisation_after(self.exclude_sink),
            queries=f"{_END} after the probe, {tag}; {'prompt' if self.question else 'no prompt'} in context",
        )  # fmt: skip

    def _mean(self, profile: AttentionProfile) -> FloatArray:
        return mean_of_heads(profile.received[self._chosen(profile.attending_layers)])

    def _chosen(self, attending: IntArray) -> IntArray:
        by_choice = {"last": attending[-1:], "first_half": attending[: max(1, len(attending) // 2)]}
        return by_choice.get(self.layers, attending)


@lru_cache(maxsize=8)
def _probe_ids(tokenizer: Any, probe: str) -> tuple[IntArray, IntArray, IntArray]:
    """Ids of ``<think>``, of the sentence, and of ``</think>``."""
    encoder = ChainEncoder(tokenizer)
    parts = encoder.tag_ids(_BEGIN), encoder.text_ids(probe), encoder.tag_ids(_END)
    begin, sentence, end = (np.array(ids, dtype=np.int64) for ids in parts)
    return begin, sentence, end
