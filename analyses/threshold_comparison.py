"""Whether answers from what a strategy leaves are as good as those from the whole chain."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from analyses._provenance import provenance
from analyses._statistics.bootstrap import check_options
from analyses._threshold_comparison.answers import gather
from analyses._threshold_comparison.printed import printed_table
from analyses._threshold_comparison.tables import MAIN, all_tables
from analyses._threshold_comparison.warnings import warnings
from analyses._threshold_comparison.words import finding
from reasoning_anatomy.plugins import key_of
from reasoning_anatomy.questions import question_notes
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import AnalysisResult


@dataclass(frozen=True, kw_only=True)
class ThresholdComparison:
    """Accuracy at every threshold of a sweep, compared with threshold 0 and with random deletions of the same length.

    The unit is the question: answers are averaged within the chain, chains within the question, and differences are taken
    within the question. One answer for each question: score test and Tango's interval of the difference, McNemar's exact test
    beside it. Several: studentised bootstrap over questions. Accuracy: Wilson's interval, with as many answers as those of a
    question are worth. Holm over the thresholds. Cells in which more or fewer answers are cut off than at threshold 0 are not
    compared, since an answer that is cut off is seldom right.
    ``docs/statistics.md`` says why, and how well tests and intervals do.

    Attributes
    ----------
    margin
        Loss of accuracy that would not matter, such as 0.02; there is none unless you state it, and without it no threshold can
        be called not worse.
    draws
        Bootstrap resamples of the questions.
    confidence
        Of the intervals, above 0.5; 1 - confidence is the level of the tests.
    seed
        Of the resamples; the same run and seed give the same result to the last bit.

    Raises
    ------
    ValueError
        An option is out of its range.

    References
    ----------
    Tango (1998), Statistics in Medicine 17:891; Miller (2024), Adding Error Bars to Evals, arXiv 2411.00640.
    """

    title: ClassVar[str] = "How much can go before answers get worse?"
    subject: ClassVar[str] = "answers"
    terms: ClassVar[Mapping[str, str]] = {
        "accuracy": "Accuracy, undecided answers counted as not correct",
        "difference from threshold 0": "Accuracy less that at threshold 0, by question",
    }

    margin: float | None = None
    draws: int = 9999
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(draws=self.draws, confidence=self.confidence, seed=self.seed)
        if self.confidence <= 0.5:
            raise ValueError(f"confidence={self.confidence}: expected more than 0.5, since a margin is tested to one side")
        if self.margin is not None and not 0 < self.margin < 1:
            raise ValueError(f"margin={self.margin}: expected a loss of accuracy between 0 and 1, such as 0.02 for two points")

    def analyse(self, run: Run) -> AnalysisResult:
        """Compare the thresholds.

        Parameters
        ----------
        run
            With answers of a sweep.

        Returns
        -------
        Table with first columns ``strategy, reference, reading, restatements, threshold`` (``reference``: whose length a
        baseline matches): the terms ``accuracy``, ``difference from threshold 0`` and, for each baseline,
        ``difference from <baseline>``; ``p_adjusted`` by Holm over the thresholds. Details, unrounded: ``thresholds`` (one row
        for each cell, with the verdict and the reason for it), ``baselines``, ``restatements`` (only if they were both kept and
        stripped), ``trend``, ``frontier``, ``answers``, ``truncation``, ``undecided_left_out``, ``same_as_chain``,
        ``nll_gold``, ``between_questions``, ``per_question`` and ``left_out``.

        Raises
        ------
        MissingError
            The run has no answers.
        AnalysisError
            There are no answers at threshold 0, or no chain has a gold answer.
        """
        evidence = gather(run)
        tables = all_tables(evidence, draws=self.draws, seed=self.seed, confidence=self.confidence, margin=self.margin)
        chains = [run.chains[chain_id] for chain_id in evidence.table["chain_id"].unique()]
        said = warnings(evidence, tables, margin=self.margin, confidence=self.confidence)
        return AnalysisResult(
            name=key_of(self),
            table=tables[MAIN],
            details={name: table for name, table in tables.items() if name != MAIN},
            exclusions=evidence.exclusions,
            warnings=(*question_notes(chains), *said),
            config=repr(self),
            provenance=provenance(run, packages=("numpy", "pandas", "scipy")),
            finding=finding(
                tables,
                margin=self.margin,
                confidence=self.confidence,
                command="reasoning-anatomy sweep RUN",
            ),
            printed=printed_table(tables["thresholds"]),
        )


if __name__ == "__main__":
    from reasoning_anatomy.cli import analysis_main

    analysis_main(__spec__.name)
