"""What is kept of a chain under a condition of a sweep."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from reasoning_anatomy import plugins
from reasoning_anatomy.errors import MeasurementError, PluginError, reason_of
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.models.memory import naming_chain
from reasoning_anatomy.pipeline.chain import ENDS_THE_RUN
from reasoning_anatomy.pruning import OrdersBeforehand, Strategy, kept_at
from reasoning_anatomy.run.manifest import Condition
from reasoning_anatomy.run.selection import Kept
from reasoning_anatomy.run.status import read_reason
from reasoning_anatomy.run.sweep import SweepFolder
from reasoning_anatomy.steps import restates
from reasoning_anatomy.types import EncodedChain, IntArray, PruningPath

_UNMEASURED: Final = "has no path of {label} ({reason}); run the same sweep again"


@dataclass(frozen=True, eq=False)
class Selector:
    """Finds out what the conditions of a sweep keep of one chain, each path and order once.

    Attributes
    ----------
    chain
        Encoded for the model.
    folder
        Of the sweep.
    loaded
        The model.
    """

    chain: EncodedChain
    folder: SweepFolder
    loaded: LoadedModel
    _paths: dict[str, PruningPath | MeasurementError] = field(default_factory=dict)

    def kept(self, condition: Condition) -> Kept:
        """Find what a condition keeps of the chain, as it was found before or now.

        Raises
        ------
        MeasurementError
            The chain has no path of the strategy.
        PluginError
            The threshold is out of range for the strategy.
        """
        found = self.folder.kept(self.chain.chain_id, condition)
        if found is None:
            found = Kept(self._positions(condition), self.chain.n_reasoning)
            self.folder.add_kept(self.chain.chain_id, condition, found)
        return found

    def _positions(self, condition: Condition) -> IntArray:
        of_rule = self._at_threshold(condition)
        is_stripped = condition.restatements == "stripped"
        left = ~restates(self.chain.chain, self.chain.spans) if is_stripped else np.ones(self.chain.n_reasoning, dtype=bool)
        positions = of_rule[left[of_rule]]
        return self._as_many(len(positions), left, condition.strategy) if condition.reference else positions

    def _as_many(self, n_kept: int, left: npt.NDArray[np.bool_], label: str) -> IntArray:
        """(n_kept,) positions that a baseline keeps of those that are ``left`` (n,), by the order of its path."""
        order = self._path(label).deleted
        order = order[left[order]]
        n_deleted = int(left.sum()) - n_kept
        if n_deleted > len(order):
            raise PluginError(
                f"baseline {label!r}: its path ends before {n_deleted} tokens are deleted; leave out its keep_ratio"
            )
        return np.setdiff1d(np.flatnonzero(left), order[:n_deleted])

    def _at_threshold(self, condition: Condition) -> IntArray:
        label = condition.reference or condition.strategy
        strategy, path = plugins.load("strategy", label), self._path(label)
        pass_rate = self.folder.pass_rate(self.chain.chain_id, condition)
        with self._blaming(label):
            return kept_at(strategy, path, condition.threshold, pass_rate=pass_rate)

    def _path(self, label: str) -> PruningPath:
        if label not in self._paths:
            try:
                self._paths[label] = self._found_path(label)
            except MeasurementError as error:
                self._paths[label] = error
        found = self._paths[label]
        if isinstance(found, MeasurementError):
            raise found
        return found

    def _found_path(self, label: str) -> PruningPath:
        strategy: Strategy = plugins.load("strategy", label)
        if label in self.folder.run.manifest.configuration.strategies:
            path = self.folder.run.path(self.chain.chain_id, label)
            if path is not None:
                return path
        if isinstance(strategy, OrdersBeforehand):
            with self._blaming(label), naming_chain(self.chain.chain_id):
                return strategy.order(self.chain, loaded=self.loaded)
        failure = self.folder.run.layout.failure(self.chain.chain_id, "path", label)
        reason = read_reason(failure) if failure.exists() else "another process measures it"
        raise MeasurementError(self.chain.chain_id, _UNMEASURED.format(label=label, reason=reason))

    @contextmanager
    def _blaming(self, label: str) -> Iterator[None]:
        """Let whatever goes wrong in a strategy, the user's own perhaps, fail this chain and name the strategy."""
        try:
            yield
        except (PluginError, *ENDS_THE_RUN):
            raise
        except Exception as error:
            raise MeasurementError(self.chain.chain_id, f"strategy {label}: {reason_of(error)}") from error
