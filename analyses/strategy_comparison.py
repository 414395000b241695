"""Which strategy keeps the answer longest, at the same achieved length."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from analyses._provenance import provenance
from analyses._questions import question_warnings
from analyses._sample import QuestionSample
from analyses._statistics.bootstrap import check_options
from analyses._strategy_comparison.accuracy import Resamples, accuracy_tables
from analyses._strategy_comparison.curves import Objective, gather
from analyses._strategy_comparison.strategies import compared_in, reversals
from analyses._strategy_comparison.tables import MAIN, all_tables
from analyses._strategy_comparison.words import finding, printed_table, warnings
from analyses._threshold_comparison.answers import gather as gather_answers
from reasoning_anatomy.errors import AnalysisError, MissingError
from reasoning_anatomy.plugins import key_of
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import AnalysisResult


@dataclass(frozen=True, kw_only=True)
class StrategyComparison:
    """How far the nll rises while tokens are deleted, by strategy, at the same achieved keep ratios.

    The rise of every chain over its unpruned nll is read at the keep ratios that all strategies reach, on straight lines
    between the points where a path was evaluated; averaged within the question, then over questions. The area under it,
    divided by the width of the common range, is the mean rise in nats per token: lower = less is lost. Strategies are compared
    within the chain. Paths that differ in their seed only are averaged. ``docs/analyses/strategy_comparison.md`` says how, and
    how well tests and intervals do.

    Attributes
    ----------
    strategies
        Labels of the strategies to compare; all of the run if there are none.
    objective
        Whose nll: that of the ``answer``, of kept reasoning and answer (``joint``), or of the kept ``reasoning``.
    keep_ratios
        At which the rise is shown, beside the area.
    down_to
        Keep ratio at which the common range ends. None takes the lowest that all strategies reach in nine tenths of the chains.
    draws
        Bootstrap resamples of the questions.
    confidence
        Of the intervals, in 0..1; 1 - confidence is the level of the tests.
    seed
        Of the resamples; the same run and seed give the same result to the last bit.

    Raises
    ------
    ValueError
        An option is out of its range.

    References
    ----------
    Singh & Hakkani-Tür (2026), Do LLMs Encode Functional Importance of Reasoning Tokens?, arXiv 2601.03066.
    """

    title: ClassVar[str] = "Which strategy keeps the answer longest?"
    subject: ClassVar[str] = "strategies"
    terms: ClassVar[Mapping[str, str]] = {
        "area": "Mean rise of the nll over the common range of keep ratios, nats per token",
    }

    strategies: tuple[str, ...] = ()
    objective: Objective = "answer"
    keep_ratios: tuple[float, ...] = (0.9, 0.7, 0.5)
    down_to: float | None = None
    draws: int = 9999
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(draws=self.draws, confidence=self.confidence, seed=self.seed)
        if not self.keep_ratios or not all(0 <= ratio < 1 for ratio in self.keep_ratios):
            raise ValueError(f"keep_ratios={self.keep_ratios}: expected shares from 0 to below 1, such as 0.5")
        if len(set(self.keep_ratios)) < len(self.keep_ratios):
            raise ValueError(f"keep_ratios={self.keep_ratios}: name each keep ratio once")
        if self.down_to is not None and not 0 <= self.down_to < 1:
            raise ValueError(f"down_to={self.down_to}: expected a share from 0 to below 1, such as 0.5")

    def analyse(self, run: Run) -> AnalysisResult:
        """Compare the strategies.

        Parameters
        ----------
        run
            With the paths of two strategies or more.

        Returns
        -------
        Table with first columns ``strategy, role``: the terms ``area``, ``rise at keep ratio ...`` and, of strategies that are
        no baselines, ``area less <baseline>``, with ``p_adjusted`` by Holm over the strategies beside one baseline. Details,
        unrounded: ``strategies`` (one row each, with the mean rank), ``pairs`` (Holm over the pairs of a term), ``friedman``,
        ``curves``, ``concentration`` (if a strategy and its reverse are there), ``accuracy`` and ``accuracy_pairs`` (if the run
        has answers of a sweep), ``between_questions``, ``per_chain`` and ``left_out``.

        Raises
        ------
        MissingError
            The run has no such strategy, or fewer than two.
        AnalysisError
            No chain can be used, or the strategies reach no common keep ratio.
        """
        known = run.manifest.configuration.strategies
        strategies = compared_in(run, self.strategies)
        curves = gather(run, strategies, objective=self.objective, ratios=self.keep_ratios, down_to=self.down_to)
        sample = QuestionSample(curves.question_ids, self.draws, self.confidence, self.seed)
        tables = all_tables(curves, reversals(strategies, known), sample)
        table = tables.pop(MAIN)
        said = warnings(tables, table, curves, len(run.chains))
        try:
            options = Resamples(self.draws, self.confidence, self.seed)
            tables |= accuracy_tables(gather_answers(run).answers, self.keep_ratios, options)
        except MissingError:
            pass
        except AnalysisError as error:
            said.append(f"accuracy is not compared: {error}")
        return AnalysisResult(
            name=key_of(self),
            table=table,
            details=tables,
            exclusions=curves.exclusions,
            warnings=(*question_warnings(run), *said),
            config=repr(self),
            provenance=provenance(
                run,
                packages=("numpy", "pandas", "scipy"),
                strategies={label: known[label] for strategy in strategies for label in strategy.labels},
                down_to=curves.down_to,
            ),
            finding=finding(tables, table, curves, confidence=self.confidence),
            printed=printed_table(tables["strategies"]),
        )


if __name__ == "__main__":
    from reasoning_anatomy.cli import analysis_main

    analysis_main(__spec__.name)
