"""Which students are trained: strategies, shares that are kept, seeds, and how what they are given is made alike."""

from dataclasses import dataclass

from reasoning_anatomy.errors import PluginError
from reasoning_anatomy.options import expect_at_least
from reasoning_anatomy.run.students import ANSWER_ONLY, FULL, UNTRAINED, Arm, Student
from reasoning_anatomy.specs import Equal, Matching


@dataclass(frozen=True, kw_only=True)
class DistillationPlan:
    """Which students are trained.

    Attributes
    ----------
    strategies
        Labels of strategies that the run measured, such as ``greedy``, or that order tokens beforehand and need not be,
        such as its controls ``random_tokens``, ``random_block``, ``ascending_score:scorer=surprisal``.
    keep_ratios
        Shares of the reasoning tokens that are kept; 1 is the whole chain, which is taught once.
    seeds
        Students of every arm.
    matching
        How lengths are made alike; both can be named.
    equal
        What students are given in equal measure: steps, or tokens to predict; both can be named.
    answer_only
        Whether students are taught the answer without a chain.
    untrained
        Whether the model answers as it is, too.
    """

    strategies: tuple[str, ...] = ()
    keep_ratios: tuple[float, ...] = (0.7, 0.8, 0.9, 1.0)
    seeds: int = 3
    matching: tuple[Matching, ...] = ("chain",)
    equal: tuple[Equal, ...] = ("steps",)
    answer_only: bool = True
    untrained: bool = True

    def __post_init__(self) -> None:
        expect_at_least(self, seeds=1)
        if not self.strategies:
            raise PluginError(
                "no strategy is named; name those whose chains are to be taught: --strategies greedy random_tokens"
            )
        if wrong := [ratio for ratio in self.keep_ratios if not 0 < ratio <= 1]:
            raise PluginError(f"keep_ratio {wrong[0]}: is a share above 0 and at most 1")

    @property
    def arms(self) -> list[Arm]:
        """Training sets, the controls first."""
        controls = [Arm(strategy=FULL, keep_ratio=1.0)]
        if self.answer_only:
            controls.append(Arm(strategy=ANSWER_ONLY, keep_ratio=0.0))
        return controls + [
            Arm(strategy=strategy, keep_ratio=ratio, matching=matching)
            for ratio in self.keep_ratios
            if ratio < 1
            for matching in self.matching
            for strategy in self.strategies
        ]

    @property
    def students(self) -> list[Student]:
        """Students, those of the first seed first. Whoever is taught whole chains is the measure of both readings."""
        untrained = [Student(arm=Arm(strategy=UNTRAINED, keep_ratio=0.0))] if self.untrained else []
        return untrained + [
            Student(arm=arm, equal=equal, seed=seed)
            for seed in range(self.seeds)
            for arm in self.arms
            for equal in (self.equal if arm.strategy != FULL else ("steps",))
        ]
