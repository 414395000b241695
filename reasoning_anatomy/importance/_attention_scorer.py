"""What every scorer that records attention has in common."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from reasoning_anatomy.attention.observation import Observation
from reasoning_anatomy.attention.recording import record
from reasoning_anatomy.errors import UndefinedScoreError
from reasoning_anatomy.importance import Scorer
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.options import expect_at_least
from reasoning_anatomy.types import AttentionProfile, EncodedChain, Float32Array, FloatArray, IntArray, TokenScores

Part = Literal["reasoning", "answer", "both"]


@dataclass(frozen=True, kw_only=True)
class AttentionScorer(ABC):
    """A scorer of the attention in the unchanged chain. It says what to observe, and makes scores of what was observed.

    Attributes
    ----------
    exclude_sink
        How many of the first tokens of the sequence are dropped as keys, the rest of each row renormalised; 0 = off.
    token_budget
        Tokens of one forward pass; longer sequences are run in chunks. Scorers with the same budget share passes. Changes
        speed and memory, and numbers in the last digits; None takes 4096.
    """

    records_attention: ClassVar[Literal[True]] = True

    exclude_sink: int = 0
    token_budget: int | None = None

    def __post_init__(self) -> None:
        expect_at_least(self, exclude_sink=0, token_budget=1)

    @abstractmethod
    def observe(self, chain: EncodedChain) -> list[Observation]:
        """Say what to record of a chain; scorers of one run share the forward pass."""

    @abstractmethod
    def score(self, chain: EncodedChain, *, loaded: LoadedModel, observed: Sequence[Float32Array] | None = None) -> TokenScores:
        """Score the reasoning tokens of one chain, from what was ``observed`` if it was recorded before."""

    def recorded(
        self, chain: EncodedChain, loaded: LoadedModel, observed: Sequence[Float32Array] | None
    ) -> Sequence[Float32Array]:
        """Return what was observed, or record it."""
        if observed is not None:
            return observed
        expect_sink_before(chain, self.exclude_sink, len(chain.prompt_ids))
        return record(loaded, chain.ids, self.observe(chain), token_budget=self.token_budget)

    def mean_over_heads(self, received: Float32Array, *, scorer: str, queries: str) -> TokenScores:
        """Scores that are the mean of ``received`` (layers, heads, n), which becomes the profile."""
        profile = AttentionProfile(scorer, received, queries, normalisation_after(self.exclude_sink))
        return TokenScores(mean_of_heads(received), profile)


def mean_of_heads(received: Float32Array) -> FloatArray:
    """(n,) mean of (layers, heads, n) over the heads of all layers that attend; the others are NaN. NaN if none does."""
    attends = ~np.isnan(received).all(axis=(1, 2))
    mean: FloatArray = received[attends if attends.any() else ...].mean(axis=(0, 1), dtype=np.float64)
    return mean


def observe_together(
    scorers: Mapping[str, Scorer], chain: EncodedChain, *, loaded: LoadedModel
) -> dict[str, dict[str, Sequence[Float32Array]]]:
    """Record what several scorers want to observe of a chain, in one run of the model for each token budget.

    Returns
    -------
    label -> keyword arguments for the scorer's ``score``. Scorers that observe nothing, or whose ``score`` refuses the chain,
    are left out.
    """
    by_budget: dict[int | None, dict[str, list[Observation]]] = {}
    for label, scorer in scorers.items():
        if isinstance(scorer, AttentionScorer) and scorer.exclude_sink <= len(chain.prompt_ids):
            by_budget.setdefault(scorer.token_budget, {})[label] = scorer.observe(chain)
    observed: dict[str, dict[str, Sequence[Float32Array]]] = {}
    for token_budget, wanted in by_budget.items():
        together = [observation for observations in wanted.values() for observation in observations]
        arrays = iter(record(loaded, chain.ids, together, token_budget=token_budget))
        observed |= {label: {"observed": [next(arrays) for _ in observations]} for label, observations in wanted.items()}
    return observed


def expect_sink_before(chain: EncodedChain, exclude_sink: int, n_before: int) -> None:
    """Raise `UndefinedScoreError` if dropping the first tokens would drop some of the reasoning, whose scores would be 0."""
    if exclude_sink > n_before:
        raise UndefinedScoreError(
            chain.chain_id,
            f"exclude_sink={exclude_sink} reaches into the reasoning: only {n_before} tokens are before it; lower it",
        )


def reasoning_keys(chain: EncodedChain) -> range:
    """Return the indices of the reasoning tokens in the sequence."""
    return range(len(chain.prompt_ids), len(chain.prompt_ids) + chain.n_reasoning)


def places_of(chain: EncodedChain, part: Part) -> IntArray:
    """(k,) indices in the sequence of the tokens of a part of the chain."""
    reasoning = reasoning_keys(chain)
    start = reasoning.stop if part == "answer" else reasoning.start
    return np.arange(start, reasoning.stop if part == "reasoning" else len(chain.ids))


def name_of(part: Part) -> str:
    """Name the query tokens in words."""
    return {
        "reasoning": "reasoning tokens",
        "answer": "answer tokens, separator and end of turn included",
        "both": "reasoning and answer tokens, separator and end of turn included",
    }[part]


def normalisation_after(exclude_sink: int) -> str:
    """Say in words what `exclude_sink` did to the weights."""
    if not exclude_sink:
        return "none"
    return f"first {exclude_sink} tokens of the sequence dropped as keys, the rest of each row renormalised to 1"
