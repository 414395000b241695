"""Pruning strategies, one per file; each returns the order in which it deletes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from reasoning_anatomy.lazy import lazy_names
from reasoning_anatomy.plugins import Plugin
from reasoning_anatomy.types import EncodedChain, PruningPath

if TYPE_CHECKING:
    from reasoning_anatomy.models.loading import LoadedModel
    from reasoning_anatomy.pruning._curve import CurveOptions, FixedOrder, evaluated, follow, ordered, until
    from reasoning_anatomy.pruning._threshold import kept_at, kept_without

__all__ = [
    "CurveOptions",
    "FixedOrder",
    "FollowsAnother",
    "ForeseesCost",
    "HasThresholdRule",
    "OrdersBeforehand",
    "PruningJob",
    "Strategy",
    "UsesPassRate",
    "UsesScorer",
    "evaluated",
    "follow",
    "kept_at",
    "kept_without",
    "ordered",
    "until",
]

__getattr__ = lazy_names(
    __name__,
    {
        "_curve": ["CurveOptions", "FixedOrder", "evaluated", "follow", "ordered", "until"],
        "_threshold": ["kept_at", "kept_without"],
    },
)


@dataclass(frozen=True, eq=False)
class PruningJob:
    """What a strategy is given besides the chain and the model, and where it reports to.

    Attributes
    ----------
    advance
        To be called after every deletion; may raise to end the work.
    paths
        Paths of the strategies before this one on the same chain, by label.
    begun
        The first deletions of this very strategy on this chain, if an earlier process saved them.
    save
        To be called with the path so far, at points from which the strategy can continue to the same numbers.
    """

    advance: Callable[[], None] = lambda: None
    paths: Mapping[str, PruningPath] = field(default_factory=dict)
    begun: PruningPath | None = None
    save: Callable[[PruningPath], None] = lambda _: None


class Strategy(Plugin, Protocol):
    """What a plugin of the kind ``strategy`` is: a frozen dataclass with this method.

    A strategy that orders all tokens before the first deletion extends `FixedOrder`, and has `follow` make its path. Further
    parts are optional, each a protocol of its own: `FollowsAnother`, `ForeseesCost`, `HasThresholdRule`, `OrdersBeforehand`,
    `UsesPassRate`, `UsesScorer`, and of `steps`, `CutsSteps`.
    """

    def prune(self, chain: EncodedChain, *, loaded: "LoadedModel", job: PruningJob | None = None) -> PruningPath:
        """Delete tokens of one chain, all or as many as the options say.

        Parameters
        ----------
        chain
            Encoded for the model.
        loaded
            The model.
        job
            Where to report every deletion and, for strategies that can continue from the middle, to save the path.

        Raises
        ------
        MeasurementError
            A score or likelihood is not a finite number, or there is not enough memory for a single candidate.
        """


@runtime_checkable
class FollowsAnother(Strategy, Protocol):
    """A strategy that needs the path of another one on the same chain, which a run measures before it."""

    @property
    def reference(self) -> str:
        """Label of the strategy to follow; its path is in ``job.paths``."""


@runtime_checkable
class ForeseesCost(Protocol):
    """A strategy, or a scorer, that knows what it costs, so that a run can say beforehand how long it will take."""

    def token_forwards(self, chain: EncodedChain, *, shares_prefixes: bool) -> int:
        """Tokens that it runs through the model for the chain at most; fewer if candidate deletions can share prefixes."""


@runtime_checkable
class UsesScorer(Strategy, Protocol):
    """A strategy that orders deletions by the scores of a scorer: a run checks the model for it as for a scorer of its own."""

    @property
    def scorer(self) -> str:
        """Spec of the scorer, such as ``"answer_attention"``."""


@runtime_checkable
class HasThresholdRule(Strategy, Protocol):
    """A strategy whose thresholds mean something else than the largest share of the tokens to delete; see `kept_at`."""

    def n_units_deleted(self, path: PruningPath, threshold: float, *, pass_rate: float | None = None) -> int:
        """Say how many units of its path are deleted at a threshold.

        Parameters
        ----------
        path
            Its path of the chain: units and their scores in the order of deletion.
        threshold
            In 0..1, and above 0.
        pass_rate
            Share of the samples of the chain's question that are correct; None if it is not known. A sweep gives it only to a
            strategy that says that it uses it, see `UsesPassRate`.

        Raises
        ------
        PluginError
            The rule needs something that is not known, such as the pass rate.
        """


@runtime_checkable
class UsesPassRate(HasThresholdRule, Protocol):
    """A strategy whose threshold rule depends on how often the model solves the question, so that a run notes by which rate."""

    @property
    def uses_pass_rate(self) -> bool:
        """Whether it does with its options."""


@runtime_checkable
class OrdersBeforehand(Strategy, Protocol):
    """A strategy that finds its order without the likelihood of what is left, so that a sweep need not compute that."""

    def order(self, chain: EncodedChain, *, loaded: "LoadedModel") -> PruningPath:
        """Find the deletions that `prune` would make, with NaN for every likelihood."""
