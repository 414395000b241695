"""Whether attention, or another score, predicts when a token is deleted."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from analyses._exclusions import most_left_out
from analyses._provenance import provenance
from analyses._questions import question_warnings
from analyses._rank_correlation.evidence import gather
from analyses._rank_correlation.tables import MAIN, tables_by_scorer
from analyses._rank_correlation.words import finding, warnings
from analyses._statistics.bootstrap import check_options
from reasoning_anatomy.plugins import key_of
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import AnalysisResult


@dataclass(frozen=True, kw_only=True)
class RankCorrelation:
    """Rank correlation of the scores of tokens, such as attention, with the step at which they are deleted.

    Spearman's rho and Kendall's tau-b within each chain, raw and given position (both regressed on it); averaged
    within each question, then over questions. Positive = the tokens with a higher score are deleted later.
    Tokens that were never deleted are tied after the last deletion. ``docs/statistics.md`` says why, and how well the
    intervals do.

    Attributes
    ----------
    scorer
        Label of the scorer that is read. None sets all scorers of the run side by side.
    strategy
        Label of the strategy whose path is read; None takes the first of the run.
    draws
        Bootstrap resamples of the questions.
    confidence
        Of the intervals, in 0..1.
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

    title: ClassVar[str] = "Does attention know which tokens matter?"
    terms: ClassVar[Mapping[str, str]] = {
        "spearman": "Spearman's rho",
        "spearman_given_position": "Spearman's rho, position held constant",
        "kendall": "Kendall's tau-b",
        "kendall_given_position": "Kendall's tau, position held constant",
    }

    scorer: str | None = None
    strategy: str | None = None
    draws: int = 9999
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(draws=self.draws, confidence=self.confidence, seed=self.seed)

    def analyse(self, run: Run) -> AnalysisResult:
        """Correlate and combine.

        Parameters
        ----------
        run
            With the scorer and the strategy measured.

        Returns
        -------
        Table: one row per scorer and term, with a first column ``scorer``; ``p_adjusted`` by Holm over the scorers of a term.
        Details, unrounded, each with a column ``scorer``: ``between_questions``, ``per_chain``, ``left_out`` and, if a scorer
        has a profile, ``per_layer`` (Holm over the layers of a term) and ``per_head`` (Benjamini-Hochberg over the heads of a
        term), both with ``p_max_t``.

        Raises
        ------
        MissingError
            The run has no such scorer or strategy.
        AnalysisError
            No chain can be used.
        """
        strategy = run.strategy_named(self.strategy)
        first = run.scorer_named(self.scorer)
        configuration = run.manifest.configuration
        scorers = list(configuration.scorers) if self.scorer is None else [first]
        evidence = gather(run, scorers=scorers, strategy=strategy)
        details = tables_by_scorer(evidence, draws=self.draws, seed=self.seed, confidence=self.confidence)
        table = details.pop(MAIN)
        return AnalysisResult(
            name=key_of(self),
            table=table,
            details=details,
            exclusions=most_left_out([found.exclusions for found in evidence.values()]),
            warnings=(*question_warnings(run), *warnings(evidence, table, details["between_questions"])),
            config=repr(dataclasses.replace(self, scorer=scorers[0] if len(scorers) == 1 else None, strategy=strategy)),
            provenance=provenance(
                run,
                packages=("numpy", "pandas", "scipy"),
                scorers={scorer: configuration.scorers[scorer] for scorer in scorers},
                strategy=configuration.strategies[strategy],
            ),
            finding=finding(table, strategy=strategy, confidence=self.confidence),
        )


if __name__ == "__main__":
    from reasoning_anatomy.cli import analysis_main

    analysis_main(__spec__.name)
