"""What is to be measured on every chain."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Any, Final

from reasoning_anatomy import plugins
from reasoning_anatomy.errors import PluginError
from reasoning_anatomy.importance import FollowsPath, Scorer
from reasoning_anatomy.pruning import FollowsAnother, Strategy
from reasoning_anatomy.run.writer import Missing
from reasoning_anatomy.steps import CutsSteps, Segmenter

NONE: Final = "none"


@dataclass(frozen=True)
class Plan:
    """What to measure on every chain.

    Attributes
    ----------
    scorers, strategies
        Plugins by label, as `reasoning_anatomy.plugins.load` makes them.
    """

    scorers: Mapping[str, Scorer]
    strategies: Mapping[str, Strategy]

    @classmethod
    def of(cls, scorers: Sequence[str], strategies: Sequence[str], *, measured: Collection[str] = ()) -> "Plan":
        """Make the plugins that the specs name.

        Parameters
        ----------
        scorers, strategies
            Specs; ``none`` alone names no plugin.
        measured
            Labels of the strategies that the run has already.

        Raises
        ------
        PluginError
            A plugin is unknown or wrong, or follows a strategy that is neither measured nor listed (before it, if it is a
            strategy, too).
        """
        plan = cls(_by_label("scorer", scorers), _by_label("strategy", strategies))
        plan.expect_paths(measured)
        for number, (label, strategy) in enumerate(plan.strategies.items()):
            earlier = {*measured, *list(plan.strategies)[:number]}
            if isinstance(strategy, FollowsAnother) and strategy.reference not in earlier:
                raise PluginError(
                    f"strategy {label!r}: follows {strategy.reference!r}, which is not measured before it; list it first: "
                    f"--strategies {strategy.reference} {label}"
                )
        return plan

    def expect_paths(self, measured: Collection[str] = ()) -> None:
        """Raise `PluginError` if a scorer follows a path that the run neither has nor measures; ``measured`` are labels."""
        for label, scorer in self.scorers.items():
            if isinstance(scorer, FollowsPath) and scorer.reference not in {None, *measured, *self.strategies}:
                raise PluginError(
                    f"scorer {label!r}: follows the path of {scorer.reference!r}, which is not measured; add it: "
                    f"--scorers {quote(label)} --strategies {quote(str(scorer.reference))}"
                )

    def restricted_to(self, missing: Iterable[Missing]) -> "Plan":
        """Leave out what no chain lacks."""
        lacking = list(missing)
        scorers = {label for chain in lacking for label in chain.scorers}
        strategies = {label for chain in lacking for label in chain.strategies}
        return Plan(
            {label: scorer for label, scorer in self.scorers.items() if label in scorers},
            {label: strategy for label, strategy in self.strategies.items() if label in strategies},
        )

    def all_segmenters(self, specs: Sequence[str]) -> dict[str, Segmenter]:
        """Make the segmenters that the specs name, and those by which scorers and strategies cut steps, by label."""
        measuring = [*self.scorers.values(), *self.strategies.values()]
        used = [plugin.steps for plugin in measuring if isinstance(plugin, CutsSteps) and isinstance(plugin.steps, str)]
        return _by_label("segmenter", specs) | _by_label("segmenter", used)


def _by_label(kind: str, specs: Sequence[str]) -> dict[str, Any]:
    configured = [plugins.load(kind, spec) for spec in specs] if list(specs) != [NONE] else []
    return {plugins.label(plugin): plugin for plugin in configured}
