"""Attention from far later steps, in the heads that single out few steps."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, Final

import numpy as np
from scipy.stats import kurtosis

from reasoning_anatomy import plugins
from reasoning_anatomy.attention.observation import Observation
from reasoning_anatomy.errors import MeasurementError, PluginError
from reasoning_anatomy.importance._attention_scorer import (
    AttentionScorer,
    normalisation_after,
    places_of,
    reasoning_keys,
)
from reasoning_anatomy.models.finite import not_finite
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.models.memory import naming_chain
from reasoning_anatomy.options import expect_at_least
from reasoning_anatomy.types import AttentionProfile, EncodedChain, Fit, Float32Array, FloatArray, IntArray, TokenScores

_LEAST_STEPS: Final = 4
"""The kurtosis of three values or fewer is the same in every head."""


@dataclass(frozen=True, kw_only=True)
class ReceiverHeads(AttentionScorer):
    """Attention that a reasoning token receives from far later steps, in receiver heads.

    With M the means of the weights over pairs of steps, a step's vertical score in a head is the mean of M over the steps
    that are ``proximity`` or more behind it. Receiver heads are those whose vertical scores have the largest excess
    kurtosis. Here the vertical score is kept per token, so that its mean over a step's tokens is the published score of
    the step; the score is the mean over the receiver heads, the profile has all heads. The last steps have no step far
    enough behind them: their tokens have the mean over the answer tokens instead, and do not count for the kurtosis.

    In a run the heads are chosen separately for each question, by the mean kurtosis over all *other* questions (the mean
    over a question's chains first), so that no chain takes part in choosing the heads that score it. That costs one more
    forward pass per chain, and needs two questions; alone, or for heads from elsewhere, name the ``heads``.

    Attributes
    ----------
    proximity
        Least number of steps between a step and those that look back at it.
    n_heads
        How many heads are chosen.
    heads
        The heads to use instead, for every chain: layer and head, 0-based, ``"3.2 11.0"``.
    steps
        Key of the segmenter that cuts the steps, such as ``"thought_anchors"``, the published one.

    References
    ----------
    Bogdan et al., Thought Anchors: Which LLM Reasoning Steps Matter?, arXiv:2506.19143.
    """

    needs: ClassVar[str] = "chains of 8 steps or more on two questions; if you have them, name receiver_heads"

    proximity: int = 4
    n_heads: int = 20
    heads: str = ""
    steps: str = "sentences"

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_at_least(self, proximity=1, n_heads=1)
        named_heads(self.heads)
        plugins.load("segmenter", self.steps)

    def fit(self, chains: Iterable[EncodedChain], *, loaded: LoadedModel) -> Fit | None:
        """Find the kurtosis (layers, heads) of every question; None if heads are named.

        Raises
        ------
        PluginError
            The chains are on a single question, or none has enough steps.
        """
        if self.heads:
            return None
        by_question: dict[str, list[FloatArray]] = {}
        left_out: dict[str, str] = {}
        for chain in chains:
            try:
                with naming_chain(chain.chain_id):
                    values = self._kurtosis(chain, loaded)
            except MeasurementError as error:
                left_out[chain.chain_id] = error.reason
            else:
                by_question.setdefault(chain.chain.question_id, []).append(values)
        if len(by_question) < 2:
            raise PluginError(
                "receiver_heads chooses its heads on other questions than it scores, but chains of "
                f"{self.proximity + _LEAST_STEPS} steps or more are on {len(by_question)}; measure more questions, or "
                "name heads: receiver_heads:heads=3.2 11.0"
            )
        of_question = {question: np.mean(values, axis=0) for question, values in by_question.items()}
        return Fit(of_question, sum(map(len, by_question.values())), left_out)

    def fitted(self, fit: Fit) -> "ReceiverHeads":
        """Make the scorer that chooses its heads by the kurtosis on other questions."""
        options = {option.name: getattr(self, option.name) for option in fields(self)}
        return _Fitted(**options, of_question=fit.by_question)

    def observe(self, chain: EncodedChain) -> list[Observation]:
        """Mean over the queries of each step, of keys that are far enough before it; and mean over the answer tokens."""
        step, queries, keys = self.steps_of(chain), places_of(chain, "reasoning"), reasoning_keys(chain)
        starts = np.searchsorted(step, np.arange(step[-1] + 1))
        answer = places_of(chain, "answer")
        observations = [
            Observation(
                reduction="sum", queries=answer, keys=keys, weight=np.full(len(answer), 1 / len(answer)),
                exclude_sink=self.exclude_sink,
            )
        ]  # fmt: skip
        if step[-1] >= self.proximity:
            far = step >= self.proximity
            observations.append(
                Observation(
                    reduction="sum", queries=queries[far], keys=keys, weight=1 / np.bincount(step)[step[far]],
                    key_stop=keys.start + starts[step[far] - self.proximity + 1], exclude_sink=self.exclude_sink,
                )
            )  # fmt: skip
        return observations

    def score(self, chain: EncodedChain, *, loaded: LoadedModel, observed: Sequence[Float32Array] | None = None) -> TokenScores:
        """Score the reasoning tokens of one chain, 0..1; the profile is (layers, heads, n).

        Raises
        ------
        PluginError
            No heads were named or chosen, or the model does not have one of them.
        """
        received = self._vertical(chain, self.recorded(chain, loaded, observed))
        heads = self._heads_for(chain)
        if missing := [head for head in heads if head[0] >= received.shape[0] or head[1] >= received.shape[1]]:
            layer, head = missing[0]
            raise PluginError(
                f"receiver_heads: {loaded.id} has no head {layer}.{head}; it has {received.shape[:2]} layers, heads"
            )
        chosen = received[tuple(np.transpose(heads))]
        names = " ".join(f"{layer}.{head}" for layer, head in heads)
        profile = AttentionProfile(
            scorer="receiver_heads", received=received, normalisation=normalisation_after(self.exclude_sink),
            queries=f"mean over steps {self.proximity} or more behind (answer tokens for the last {self.proximity} steps); "
            f"score: heads {names}",
        )  # fmt: skip
        return TokenScores(chosen.mean(axis=0, dtype=np.float64), profile)

    def steps_of(self, chain: EncodedChain) -> IntArray:
        """(n,) step of every reasoning token, 0-based, without gaps."""
        step = plugins.load("segmenter", self.steps).segment(chain.chain, chain.spans)
        without_gaps: IntArray = np.unique(step, return_inverse=True)[1]
        return without_gaps

    def _heads_for(self, chain: EncodedChain) -> list[tuple[int, int]]:
        if not self.heads:
            raise PluginError("receiver_heads has no heads yet; make it with `fitted` from other questions, or name heads")
        return named_heads(self.heads)

    def _vertical(self, chain: EncodedChain, observed: Sequence[Float32Array]) -> Float32Array:
        """(layers, heads, n) vertical scores by token."""
        from_answer, *from_steps = observed
        if not from_steps:
            return from_answer
        step = self.steps_of(chain)
        n_behind = step[-1] + 1 - step - self.proximity
        received: Float32Array = np.where(n_behind > 0, from_steps[0] / np.maximum(n_behind, 1), from_answer)
        return received.astype(np.float32, copy=False)

    def _kurtosis(self, chain: EncodedChain, loaded: LoadedModel) -> FloatArray:
        """(layers, heads) excess kurtosis over the steps that have one far enough behind; `MeasurementError` without."""
        step = self.steps_of(chain)
        n_steps = int(step[-1]) + 1 - self.proximity
        if n_steps < _LEAST_STEPS:
            raise MeasurementError(chain.chain_id, f"has fewer than {self.proximity + _LEAST_STEPS} steps")
        received = self._vertical(chain, self.recorded(chain, loaded, None))
        starts = np.searchsorted(step, np.arange(n_steps + 1))
        by_step = np.add.reduceat(received[..., : starts[-1]], starts[:-1], axis=2, dtype=np.float64) / np.diff(starts)
        with np.errstate(invalid="ignore"):  # what is not finite is refused next
            values = excess_kurtosis(by_step)
        if not np.isfinite(values).all():
            raise MeasurementError(chain.chain_id, not_finite("its attention is not finite in all heads", loaded.model.dtype))
        return values


@dataclass(frozen=True, kw_only=True)
class _Fitted(ReceiverHeads):
    """Receiver heads by the kurtosis (layers, heads) on other questions."""

    of_question: Mapping[str, FloatArray]

    def _heads_for(self, chain: EncodedChain) -> list[tuple[int, int]]:
        others = [values for question, values in self.of_question.items() if question != chain.chain.question_id]
        return largest_heads(np.mean(others, axis=0), self.n_heads)


def excess_kurtosis(scores: FloatArray) -> FloatArray:
    """(...) Fisher's biased excess kurtosis of scores (..., steps); -3, below any other, if they are all equal."""
    values: FloatArray = np.full(scores.shape[:-1], -3.0)
    varies = np.ptp(scores, axis=-1) > 0
    values[varies] = kurtosis(scores[varies], axis=-1, fisher=True, bias=True)
    return values


def largest_heads(values: FloatArray, n_heads: int) -> list[tuple[int, int]]:
    """Layer and head of the ``n_heads`` largest values (layers, heads), the largest first; ties to the lowest."""
    order = np.argsort(-values, axis=None, kind="stable")[:n_heads]
    return [(int(index) // values.shape[1], int(index) % values.shape[1]) for index in order]


def named_heads(heads: str) -> list[tuple[int, int]]:
    """Read ``"3.2 11.0"``; `ValueError` if it is something else."""
    pairs = [name.split(".") for name in heads.split()]
    if not all(len(pair) == 2 and all(part.isdecimal() for part in pair) for pair in pairs):
        raise ValueError(f"heads is {heads!r}, expected layer.head with a space between two, such as 3.2 11.0")
    return [(int(layer), int(head)) for layer, head in pairs]
