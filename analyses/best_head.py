"""How well the best attention head predicts when a token is deleted, judged on other questions than those that chose it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from analyses._best_head.evidence import Shifts, gather
from analyses._best_head.tables import ENDINGS, MAIN, OTHER, SAME, Choosing, tables_by_scorer
from analyses._best_head.words import finding, warnings
from analyses._exclusions import most_left_out
from analyses._printed import side_by_side
from analyses._provenance import provenance
from analyses._questions import question_warnings
from analyses._statistics.bootstrap import check_options
from reasoning_anatomy.plugins import key_of
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import AnalysisResult

_SHOWN: Final = {
    f"{term}{ending}": f"rho on {name}{', given position' if ending else ''}"
    for ending in ENDINGS.values()
    for term, name in ((OTHER, "other questions"), (SAME, "the same"))
}
_ADJUSTED: Final = {f"{OTHER}{ending}": f"p adjusted{', given position' if ending else ''}" for ending in ENDINGS.values()}


@dataclass(frozen=True, kw_only=True)
class BestHead:
    """Rank correlation of the best attention head with the order of deletion, on questions on which it was not chosen.

    The questions are halved at random, many times over; each half chooses the head with the largest Spearman's rho, and the
    other half judges it. Beside it stands what choosing and judging on the same questions would say, and how much that
    flatters; and whether any head goes with the order at all, against circular shifts of the order within each chain. Raw and
    given position.
    ``docs/analyses/best_head.md`` says why, and how well the intervals do.

    Attributes
    ----------
    scorer
        Label of the scorer whose heads are read. None sets all scorers of the run that have heads side by side.
    strategy
        Label of the strategy whose path is read; None takes the first of the run.
    sign
        ``positive`` looks for heads whose attended tokens are deleted later; ``either`` also for those whose attended tokens
        are deleted earlier, which then count the other way round.
    halvings
        Random halvings of the questions.
    draws
        Circular shifts, and bootstrap resamples of the questions.
    confidence
        Of the intervals, in 0..1.
    seed
        Of halvings, shifts and resamples; the same run and seed give the same result to the last bit.

    Raises
    ------
    ValueError
        An option is out of its range.

    References
    ----------
    Cawley & Talbot (2010), On over-fitting in model selection and subsequent selection bias in performance evaluation, JMLR
    11:2079.
    """

    title: ClassVar[str] = "How well does the best head predict, on other questions?"
    subject: ClassVar[str] = "heads"
    terms: ClassVar[Mapping[str, str]] = {
        "other_questions": "Spearman's rho of the head that one half of the questions chose, on the other half",
        "same_questions": "Spearman's rho of the best head, chosen and judged on all questions; p: that any head has one",
        "flattery": "The second less the first",
        "other_questions_given_position": "As above, position held constant",
        "same_questions_given_position": "As above, position held constant",
        "flattery_given_position": "As above, position held constant",
    }

    scorer: str | None = None
    strategy: str | None = None
    sign: Literal["positive", "either"] = "positive"
    halvings: int = 100
    draws: int = 9999
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(draws=self.draws, confidence=self.confidence, seed=self.seed)
        if self.halvings < 1:
            raise ValueError(f"halvings={self.halvings}: expected 1 or more; 100 leave little to chance")

    def analyse(self, run: Run) -> AnalysisResult:
        """Choose heads and judge them.

        Parameters
        ----------
        run
            With a scorer that has a value per layer and head, and the strategy, measured.

        Returns
        -------
        Table: three terms per scorer, raw and given position, with a first column ``scorer``; ``p_adjusted`` by Holm over the
        scorers of a term. The p-value of ``same_questions`` is that of any head, by circular shifts. Details, unrounded, each
        with a column ``scorer``: ``heads`` (every head, those that were chosen most often first), ``per_question``,
        ``between_questions`` and ``left_out``.

        Raises
        ------
        MissingError
            The run has no such scorer or strategy, or no scorer with a value per layer and head.
        AnalysisError
            Fewer than two questions can be used.
        """
        strategy = run.strategy_named(self.strategy)
        first = run.scorer_named(self.scorer)
        configuration = run.manifest.configuration
        wanted = list(configuration.scorers) if self.scorer is None else [first]
        either = self.sign == "either"
        shifts = Shifts(draws=self.draws, seed=self.seed, either_sign=either)
        evidence = gather(run, scorers=wanted, strategy=strategy, shifts=shifts)
        scorers = list(evidence)
        choosing = Choosing(
            halvings=self.halvings, either_sign=either, draws=self.draws, confidence=self.confidence, seed=self.seed
        )
        details = tables_by_scorer(evidence, choosing)
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
            printed=side_by_side(table, about=("scorer",), across="term", values=_SHOWN, adjusted=_ADJUSTED),
            finding=finding(table, details["heads"], strategy=strategy, confidence=self.confidence),
        )


if __name__ == "__main__":
    from reasoning_anatomy.cli import analysis_main

    analysis_main(__spec__.name)
