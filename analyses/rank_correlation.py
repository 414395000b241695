"""Whether attention, or another score, predicts when a token is deleted."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from analyses._exclusions import most_left_out
from analyses._provenance import provenance
from analyses._questions import question_warnings
from analyses._rank_correlation.competitors import COMPETITOR, competitors, kind_of
from analyses._rank_correlation.evidence import gather
from analyses._rank_correlation.printed import printed_table
from analyses._rank_correlation.reading import steps_of
from analyses._rank_correlation.tables import MAIN, tables_by_scorer
from analyses._rank_correlation.words import finding, warnings
from analyses._statistics.bootstrap import check_options
from analyses._tokens import tokens_with
from reasoning_anatomy.plugins import key_of
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import AnalysisResult


@dataclass(frozen=True, kw_only=True)
class RankCorrelation:
    """Rank correlation of the scores of tokens, such as attention, with the step at which they are deleted.

    Spearman's rho and Kendall's tau-b within each chain, raw and given position (both regressed on it), rho within bins of
    position, and tau with most weight on the most important tokens; averaged within each question, then over questions.
    Positive = the tokens with a higher score are deleted later. Tokens that were never deleted are tied after the last
    deletion. Beside the scorers stands what position, length, frequency and category of a token say alone.
    ``docs/statistics.md`` says why, and how well the intervals do.

    Attributes
    ----------
    scorer
        Label of the scorer that is read. None sets all scorers of the run side by side.
    strategy
        Label of the strategy whose path is read; None takes the first of the run.
    at
        ``token``, or ``step``: scores and order of deletion averaged over the steps of a segmenter.
    segmenter
        Label of the segmenter whose steps are compared; None takes the first of the run.
    competitors
        Whether the table has rows for position, length, frequency and category of a token.
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
    subject: ClassVar[str] = "scores"
    terms: ClassVar[Mapping[str, str]] = {
        "spearman": "Spearman's rho",
        "spearman_given_position": "Spearman's rho, position held constant",
        "kendall": "Kendall's tau-b",
        "kendall_given_position": "Kendall's tau, position held constant",
        "spearman_within_bins": "Spearman's rho within bins of position, position held constant in each",
        "kendall_top_weighted": "Kendall's tau, the most important tokens counting for most",
        "kendall_top_weighted_given_position": "The same, position held constant",
    }

    scorer: str | None = None
    strategy: str | None = None
    at: Literal["token", "step"] = "token"
    segmenter: str | None = None
    competitors: bool = True
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
        Table: one row per scorer and term, with first columns ``scorer, kind``; ``p_adjusted`` by Holm over the scorers of a
        kind and term. Details, unrounded, each with a column ``scorer``: ``between_questions``, ``per_chain``, ``left_out``; if
        tokens were never deleted, ``censored``, whether these have higher scores than the others; and, if a scorer has a
        profile, ``per_layer`` (Holm over the layers of a term) and ``per_head`` (Benjamini-Hochberg over the heads of a term),
        both with ``p_max_t``.

        Raises
        ------
        MissingError
            The run has no such scorer, strategy or segmenter.
        AnalysisError
            No chain can be used.
        """
        strategy = run.strategy_named(self.strategy)
        first = run.scorer_named(self.scorer)
        configuration = run.manifest.configuration
        scorers = list(configuration.scorers) if self.scorer is None else [first]
        segmenter = run.segmenter_named(self.segmenter) if self.at == "step" else None
        tokens = None
        if segmenter is not None or self.competitors:
            columns = ("text", f"deletion_step_{strategy}", f"step_{segmenter}")
            tokens = tokens_with(run, *columns, labels=run.annotators if self.competitors else ())
        competing = {}
        if tokens is not None and self.competitors:
            has_position = any(scorer.partition(":")[0] == "recency" for scorer in scorers)
            competing = competitors(tokens, strategy=strategy, annotators=run.annotators, has_position=has_position)
        evidence = gather(
            run,
            scorers=scorers,
            strategy=strategy,
            competitors=competing,
            steps=None if tokens is None or segmenter is None else steps_of(run, tokens, segmenter),
        )
        kinds = {scorer: COMPETITOR if scorer in competing else kind_of(scorer) for scorer in evidence}
        details = tables_by_scorer(evidence, kinds, draws=self.draws, seed=self.seed, confidence=self.confidence)
        table = details.pop(MAIN)
        return AnalysisResult(
            name=key_of(self),
            table=table,
            details=details,
            exclusions=most_left_out([evidence[scorer].exclusions for scorer in scorers]),
            warnings=(*question_warnings(run), *warnings(evidence, table, details["between_questions"])),
            config=repr(
                dataclasses.replace(
                    self, scorer=scorers[0] if len(scorers) == 1 else None, strategy=strategy, segmenter=segmenter
                )
            ),
            provenance=provenance(
                run,
                packages=("numpy", "pandas", "scipy"),
                scorers={scorer: configuration.scorers[scorer] for scorer in scorers},
                strategy=configuration.strategies[strategy],
                **({} if segmenter is None else {"segmenter": configuration.segmenters[segmenter]}),
            ),
            finding=finding(table, strategy=strategy, confidence=self.confidence, unit=self.at),
            printed=printed_table(table),
        )


if __name__ == "__main__":
    from reasoning_anatomy.cli import analysis_main

    analysis_main(__spec__.name)
