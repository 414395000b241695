"""Eviction policies, one per file: which keys and values leave the cache while a model writes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np

from reasoning_anatomy.lazy import lazy_names
from reasoning_anatomy.plugins import Plugin
from reasoning_anatomy.types import FloatArray, IntArray

if TYPE_CHECKING:
    from torch import Tensor

    from reasoning_anatomy.eviction._options import BudgetOptions, PolicyOptions, lowest

__all__ = [
    "AccumulatesAttention",
    "BudgetOptions",
    "Eviction",
    "EvictionPolicy",
    "KeepsQueries",
    "Moment",
    "PolicyOptions",
    "Positions",
    "ProbesAttention",
    "WaitsForClosing",
    "Writing",
    "lowest",
]

__getattr__ = lazy_names(__name__, {"_options": ["BudgetOptions", "PolicyOptions", "lowest"]})

Positions = Literal["keep", "rerotate", "reprefill"]
"""What becomes of the positions of the keys that stay: they keep them; keys are rotated to the positions that close up; or
what stays is read anew. Only the last is deletion: else keys and values were computed when the evicted text was there."""


@dataclass(frozen=True, eq=False)
class Writing:
    """How far a sample is.

    Attributes
    ----------
    n_prompt
        Tokens of its prompt.
    n_written
        Tokens that it has written. The newest is not in the cache yet.
    n_slots
        Tokens in the cache.
    closes_thinking
        Whether the newest token closes the thinking. Once it is closed, a policy is asked no more.
    n_events
        How often something was evicted before.
    n_written_then
        Tokens that had been written when something was evicted last; 0 before.
    seed
        Of its random numbers.
    cut
        Gives (n_written,) the step of every token that is written, numbered from 0.
    """

    n_prompt: int
    n_written: int
    n_slots: int
    closes_thinking: bool = False
    n_events: int = 0
    n_written_then: int = 0
    seed: int = 0
    cut: Callable[[], IntArray] = field(default=lambda: np.empty(0, dtype=np.int64), repr=False)

    @property
    def n_read(self) -> int:
        """Tokens that the model has read, evicted ones included: all but the newest."""
        return self.n_prompt + self.n_written - 1


@dataclass(frozen=True, eq=False)
class Moment:
    """A sample when a policy evicts.

    Attributes
    ----------
    writing
        How far it is.
    index
        (k,) which token of the sequence each slot of the cache holds, prompt included, from 0, ascending; (layers, kv_heads, k)
        for a policy whose heads hold different tokens.
    attention
        (layers, heads, k) float32 weights that the last token of the probe gives to each slot; None without a probe.
    received
        (layers, kv_heads, k) sum of the weights that each slot has received from the tokens that were written, summed over the
        heads that share it; None if the policy does not ask for it.
    queries
        (layers, heads, w, head_dim) of the last w tokens in the cache, as they were rotated, times the scaling of the scores;
        fewer if fewer have been written; None if the policy does not ask for them.
    keys
        (kv_heads, k, head_dim) by layer, as they are rotated; None without ``queries``.
    """

    writing: Writing
    index: "Tensor"
    attention: "Tensor | None" = None
    received: "Tensor | None" = None
    queries: "Tensor | None" = None
    keys: "Sequence[Tensor] | None" = None


@dataclass(frozen=True, eq=False)
class Eviction:
    """What a policy evicts.

    Attributes
    ----------
    gone
        Shaped as the index of the moment: whether a slot is evicted. As many in every head.
    step_score
        (s,) score of every step at this moment, by its number, NaN for those without a token in the cache; None if the policy
        does not score steps. Higher = more important.
    """

    gone: "Tensor"
    step_score: FloatArray | None = None


class EvictionPolicy(Plugin, Protocol):
    """What a plugin of the kind ``policy`` is: a frozen dataclass with these members.

    Most extend `PolicyOptions` or `BudgetOptions`. What a policy wants to see is said by further protocols: `ProbesAttention`,
    `AccumulatesAttention`, `KeepsQueries`, `WaitsForClosing`.
    """

    @property
    def steps(self) -> str:
        """Spec of the segmenter that cuts what is written."""

    @property
    def positions(self) -> Positions:
        """What becomes of the positions of the keys that stay."""

    @property
    def per_head(self) -> bool:
        """Whether heads or layers hold different tokens."""

    def at(self, threshold: float) -> "EvictionPolicy":
        """Make the policy that a threshold of a sweep means, above 0 and up to 1; the larger it is, the more goes."""

    def is_due(self, writing: Writing) -> bool:
        """Tell whether to evict now, before the newest token is read; asked after every token."""

    def evict(self, moment: Moment) -> Eviction:
        """Choose what leaves the cache."""


@runtime_checkable
class ProbesAttention(Protocol):
    """A policy that sees the attention of a ``</think>`` behind a sentence, which are read and forgotten."""

    @property
    def probe(self) -> str:
        """The sentence."""


@runtime_checkable
class WaitsForClosing(Protocol):
    """A policy that may evict nowhere but where the thinking is closed."""

    @property
    def waits_for_closing(self) -> bool:
        """Whether it does."""


@runtime_checkable
class AccumulatesAttention(Protocol):
    """A policy that sees how much attention every slot has received."""

    accumulates_attention: Literal[True]


@runtime_checkable
class KeepsQueries(Protocol):
    """A policy that sees the latest queries, and the keys."""

    @property
    def window(self) -> int:
        """Number of tokens whose queries are kept."""
