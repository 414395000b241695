"""Whether a ranking of tokens made after some deletions foretells the next ones better than the ranking made before any."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from analyses._provenance import provenance
from analyses._questions import question_warnings
from analyses._rank_dynamics.evidence import gather, stages_label, strategy_of
from analyses._rank_dynamics.tables import MAIN, all_tables
from analyses._rank_dynamics.words import finding, printed_table, warnings
from analyses._sample import QuestionSample
from analyses._statistics.bootstrap import check_options
from reasoning_anatomy.plugins import key_of
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import AnalysisResult


@dataclass(frozen=True, kw_only=True)
class RankDynamics:
    """How well rankings of the tokens foretell the deletions after a stage of a path: made there, or on the unpruned chain.

    A ranking orders the tokens by the nll of the answer if each were deleted next (scorer ``candidate_nll``). At every stage it
    is compared with the deletions that follow, over the tokens that are left without the very next deletion, which greedy
    search makes from the ranking itself: Kendall's tau-b, raw and given position, Spearman's rho, and the overlap of its lowest
    tokens with the next deletions beyond chance. Averaged within the question, then over questions; differences are taken
    within the chain. ``docs/analyses/rank_dynamics.md`` says how, and how well tests and intervals do.

    Attributes
    ----------
    scorer
        Label of the ``candidate_nll`` whose stages are read; None takes the first of the run.
    scorers
        Labels of further scorers, whose rankings on the unpruned chain are judged beside.
    window
        Share of a chain's tokens that the overlap is about: so many of the lowest, and so many of the next deletions.
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

    title: ClassVar[str] = "Does a ranking stay true while tokens go?"
    subject: ClassVar[str] = "prediction"
    terms: ClassVar[Mapping[str, str]] = {
        "kendall": "Kendall's tau-b with the order of the later deletions",
        "kendall_given_position": "Kendall's tau, position held constant",
        "spearman": "Spearman's rho",
        "overlap": "Overlap of the lowest tokens with the next deletions, beyond chance",
    }

    scorer: str | None = None
    scorers: tuple[str, ...] = ()
    window: float = 0.1
    draws: int = 9999
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(draws=self.draws, confidence=self.confidence, seed=self.seed)
        if not 0 < self.window < 1:
            raise ValueError(f"window={self.window}: expected a share between 0 and 1, such as 0.1")

    def analyse(self, run: Run) -> AnalysisResult:
        """Judge the rankings.

        Parameters
        ----------
        run
            With the scorer ``candidate_nll`` and the path that it follows.

        Returns
        -------
        Table with first columns ``ranking, stage``: rankings ``fresh``, ``made at 1`` and the scorers, and ``fresh less made at
        1``, at every stage and in their mean over the stages below 1; ``p_value`` of a value of zero, which a random ranking
        has on average; ``p_adjusted`` by Holm over the stages. Details, unrounded: ``stages`` (one row each), ``made_at``
        (every ranking at every later stage), ``between_questions``, ``per_chain`` and ``left_out``.

        Raises
        ------
        MissingError
            The run has no stages of ``candidate_nll``, or no such scorer.
        AnalysisError
            No chain can be used.
        """
        known = run.manifest.configuration
        label = stages_label(run, self.scorer)
        strategy = strategy_of(known.scorers[label])
        scorers = [run.scorer_named(name) for name in dict.fromkeys(self.scorers)]
        rankings = gather(run, label, scorers=scorers, window=self.window)
        tables = all_tables(rankings, QuestionSample(rankings.question_ids, self.draws, self.confidence, self.seed))
        table = tables.pop(MAIN)
        return AnalysisResult(
            name=key_of(self),
            table=table,
            details=tables,
            exclusions=rankings.exclusions,
            warnings=(*question_warnings(run), *warnings(tables, table, rankings, len(run.chains))),
            config=repr(self),
            provenance=provenance(
                run,
                packages=("numpy", "pandas", "scipy"),
                scorers={name: known.scorers[name] for name in (label, *scorers)},
                strategy=known.strategies[strategy],
            ),
            finding=finding(table, strategy=strategy, confidence=self.confidence),
            printed=printed_table(tables["stages"]),
        )


if __name__ == "__main__":
    from reasoning_anatomy.cli import analysis_main

    analysis_main(__spec__.name)
