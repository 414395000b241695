"""In which order chains lose their tokens: the paths of a run, and those of strategies that need not be measured."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from reasoning_anatomy import plugins
from reasoning_anatomy.errors import MissingError
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.models.memory import naming_chain
from reasoning_anatomy.progress import Stages
from reasoning_anatomy.pruning import OrdersBeforehand
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import PruningPath


@dataclass(frozen=True, eq=False)
class Orders:
    """Paths of the chains of a run, by strategy. The order of one that `OrdersBeforehand` is found if the run has none.

    Attributes
    ----------
    run
        Whose chains are taught.
    """

    run: Run
    _found: dict[tuple[str, str], PruningPath] = field(default_factory=dict, init=False)

    def is_measured(self, strategy: str) -> bool:
        """Whether the paths of a strategy are those of the run."""
        return strategy in self.run.manifest.configuration.strategies

    def is_known(self, strategy: str) -> bool:
        """Whether a strategy is measured, or need not be."""
        return self.is_measured(strategy) or isinstance(plugins.load("strategy", strategy), OrdersBeforehand)

    def described(self, strategy: str) -> str:
        """``repr`` of a strategy."""
        return self.run.manifest.configuration.strategies.get(strategy) or repr(plugins.load("strategy", strategy))

    def is_missing(self, chain_id: str, strategy: str) -> bool:
        """Whether a strategy is measured, but not on this chain."""
        return self.is_measured(strategy) and self.run.path(chain_id, strategy) is None

    def find(self, strategies: Sequence[str], chain_ids: Sequence[str], *, loaded: LoadedModel, stages: Stages) -> None:
        """Order the tokens of chains by strategies that are not measured.

        Parameters
        ----------
        strategies, chain_ids
            Which.
        loaded
            The model of the run.
        stages
            Show progress.

        Raises
        ------
        MissingError
            A strategy does not order tokens beforehand.
        MeasurementError
            An order cannot be found.
        """
        with stages.add("order", len(strategies) * len(chain_ids)) as stage:
            for label in strategies:
                strategy = plugins.load("strategy", label)
                if not isinstance(strategy, OrdersBeforehand):
                    raise MissingError(f"{self.run.folder}: has no strategy {label!r}, which has to be measured")
                for chain_id in chain_ids:
                    with naming_chain(chain_id):
                        self._found[chain_id, label] = strategy.order(self.run.encoded(chain_id), loaded=loaded)
                    stage.advance()

    def assume(self, strategies: Sequence[str], chain_ids: Sequence[str]) -> None:
        """Let strategies that are not measured delete the last token first, to count rows that are as long in any order."""
        for label, chain_id in product(strategies, chain_ids):
            n = self.run.encoded(chain_id).n_reasoning
            nowhere = np.full(n + 1, np.nan)
            self._found[chain_id, label] = PruningPath(label, n, np.arange(n)[::-1], nowhere[1:], 0, nowhere, nowhere, nowhere)

    def of(self, chain_id: str, strategy: str) -> PruningPath | None:
        """Path of a chain; one that was found here has no likelihoods. None if there is none."""
        return self.run.path(chain_id, strategy) if self.is_measured(strategy) else self._found.get((chain_id, strategy))
