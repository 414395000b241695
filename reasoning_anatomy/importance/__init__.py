"""Token scorers, one per file; all say higher = more important."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

from reasoning_anatomy.lazy import lazy_names
from reasoning_anatomy.plugins import Plugin
from reasoning_anatomy.types import EncodedChain, Fit, PruningPath, TokenScores

if TYPE_CHECKING:
    from reasoning_anatomy.importance._attention_scorer import AttentionScorer, observe_together
    from reasoning_anatomy.models import LoadedModel

__all__ = [
    "AttentionScorer",
    "FollowsPath",
    "LooksAtAllChains",
    "NeedsNoModel",
    "RecordsAttention",
    "RefusesModels",
    "Scorer",
    "observe_together",
]

__getattr__ = lazy_names(__name__, {"_attention_scorer": ["AttentionScorer", "observe_together"]})


class Scorer(Plugin, Protocol):
    """What a plugin of the kind ``scorer`` is: a frozen dataclass with this method.

    A scorer of recorded attention extends `AttentionScorer`, so that the scorers of a run share a forward pass. Further parts
    are optional, each a protocol of its own: `FollowsPath`, `LooksAtAllChains`, `RecordsAttention`, `RefusesModels`,
    `NeedsNoModel`. A class variable ``needs`` says in words what a scorer needs beyond the measured model; ``--scorers all``
    leaves such a scorer out. A class variable ``kind_of_score`` says if it is no signal of its own but a
    ``"trivial competitor"`` (of position, length, frequency, surprisal or chance alone) or a strategy's ``"own first step"``,
    which analyses set apart. A scorer that scores candidate deletions may say what that costs, as strategies do:
    `reasoning_anatomy.pruning.ForeseesCost`.
    """

    def score(self, chain: EncodedChain, *, loaded: "LoadedModel") -> TokenScores:
        """Score the reasoning tokens of one chain.

        Parameters
        ----------
        chain
            Encoded for the model.
        loaded
            The model.

        Raises
        ------
        UndefinedScoreError
            The scorer has no value for this chain; the rest of the chain is measured.
        MeasurementError
            A number is not finite, or memory runs out.
        """


@runtime_checkable
class LooksAtAllChains(Scorer, Protocol):
    """A scorer that looks at all chains of a run before it scores one of them."""

    def fit(self, chains: Iterable[EncodedChain], *, loaded: "LoadedModel") -> Fit | None:
        """Find what the chains say, once in a run; None if the options make it unnecessary."""

    def fitted(self, fit: Fit) -> Scorer:
        """Make the scorer that uses what was found."""


@runtime_checkable
class FollowsPath(Protocol):
    """A scorer that looks at the stages of a strategy's path on the same chain, which a run measures before it."""

    @property
    def reference(self) -> str | None:
        """Label of the strategy; None if the scorer needs no path with its options."""

    def score(self, chain: EncodedChain, *, loaded: "LoadedModel", path: PruningPath | None = None) -> TokenScores:
        """Score the reasoning tokens of one chain, given the ``path`` of the strategy on it."""


@runtime_checkable
class RecordsAttention(Protocol):
    """A scorer that records attention: a run first checks that recording does not change the model's output."""

    records_attention: ClassVar[Literal[True]]

    @property
    def token_budget(self) -> int | None:
        """Tokens of one forward pass; None takes the default."""


@runtime_checkable
class RefusesModels(Protocol):
    """A scorer that is not valid for every model."""

    def expect_model(self, loaded: "LoadedModel", chain: EncodedChain) -> None:
        """Raise `ModelError` if it is not valid for this model; called on the first chain, before anything is measured."""


@runtime_checkable
class NeedsNoModel(Protocol):
    """A scorer of text and ids alone: its ``loaded`` may be None, as in a run that was imported without a model."""

    needs_no_model: ClassVar[Literal[True]]

    def score(self, chain: EncodedChain, *, loaded: "LoadedModel | None") -> TokenScores:
        """Score the reasoning tokens of one chain."""
