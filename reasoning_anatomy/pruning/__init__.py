"""Pruning strategies, one per file; each returns the order in which it deletes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from reasoning_anatomy.types import PruningPath


@dataclass(frozen=True, eq=False)
class PruningJob:
    """What a strategy is given besides the chain and the model, and where it reports to.

    Attributes
    ----------
    advance
        To be called after every deletion; may raise to end the work.
    paths
        What the strategies before this one found on the same chain, by label.
    begun
        The first deletions of this very strategy on this chain, where an earlier process saved them.
    save
        To be called with the path so far, at points from which the strategy can go on to the same numbers.
    """

    advance: Callable[[], None] = lambda: None
    paths: Mapping[str, PruningPath] = field(default_factory=dict)
    begun: PruningPath | None = None
    save: Callable[[PruningPath], None] = lambda _: None
