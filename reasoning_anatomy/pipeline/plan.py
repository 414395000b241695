"""What is to be measured on every chain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reasoning_anatomy import plugins


@dataclass(frozen=True)
class Plan:
    """What to measure on every chain.

    Attributes
    ----------
    scorers, strategies
        Plugins by label, as `reasoning_anatomy.plugins.load` makes them.
    """

    scorers: Mapping[str, Any]
    strategies: Mapping[str, Any]

    @classmethod
    def of(cls, scorers: Sequence[str], strategies: Sequence[str]) -> "Plan":
        """Make the plugins that the specs name; `PluginError` where one is unknown or wrong."""
        plan = cls(_by_label("scorer", scorers), _by_label("strategy", strategies))
        for number, strategy in enumerate(plan.strategies.values()):
            if hasattr(strategy, "expect_measured"):
                strategy.expect_measured(list(plan.strategies)[:number])
        return plan


def _by_label(kind: str, specs: Sequence[str]) -> dict[str, Any]:
    made = [plugins.load(kind, spec) for spec in specs]
    return {plugins.label(plugin): plugin for plugin in made}
