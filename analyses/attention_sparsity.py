"""Whether wrong chains attend more sparsely than correct ones."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from analyses._attention_sparsity.evidence import gather, labels_of
from analyses._attention_sparsity.tables import MAIN, Resamples, tables_by_label
from analyses._attention_sparsity.words import finding, warnings
from analyses._exclusions import most_left_out
from analyses._provenance import provenance
from analyses._questions import question_warnings
from analyses._statistics.bootstrap import check_options
from reasoning_anatomy.plugins import key_of
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import AnalysisResult


@dataclass(frozen=True, kw_only=True)
class AttentionSparsity:
    """How focused attention is in wrong chains, less how focused it is in correct chains on the same question.

    By the scorer of the same name, averaged over the reasoning tokens of a chain. Positive = wrong chains attend more sparsely.
    The unit is the question: each counts the same, and so do its two kinds of chains. Longer chains may attend otherwise only
    because they are longer, so that every difference stands beside one with the logarithm of length held constant.
    ``docs/statistics.md`` says why, and how well tests and intervals do.

    Attributes
    ----------
    scorer
        Label of the scorer that is read. None sets all labels of ``attention_sparsity`` in the run side by side.
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
    Choi et al., Think Clearly: Improving Reasoning via Redundant Token Pruning, arXiv 2507.08806.
    """

    title: ClassVar[str] = "Do wrong chains attend more sparsely?"
    subject: ClassVar[str] = "correctness"
    terms: ClassVar[Mapping[str, str]] = {
        "wrong - correct": "Sparsity of wrong chains less that of correct ones on the same question",
        "wrong - correct given length": "The same, log length held constant",
        "effect size": "The difference in standard deviations between chains of one kind on one question",
        "effect size given length": "The same, log length held constant",
        "wrong - correct, all questions": "Difference over all questions, confounded with their difficulty",
        "wrong - correct given length, all questions": "The same, log length held constant",
    }

    scorer: str | None = None
    draws: int = 9999
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(draws=self.draws, confidence=self.confidence, seed=self.seed)

    def analyse(self, run: Run) -> AnalysisResult:
        """Compare wrong chains with correct ones.

        Parameters
        ----------
        run
            With the scorer ``attention_sparsity`` measured, and chains that say whether they are correct.

        Returns
        -------
        Table: one row per label and term, with a first column ``scorer``; ``p_adjusted`` by Holm over the labels of a term.
        Details, unrounded, each with a column ``scorer``: ``levels``, ``length``, ``between_questions``, ``per_chain``,
        ``left_out``, ``per_layer`` (Holm over the layers of a term) and ``per_head`` (Benjamini-Hochberg over the heads of a
        term), both with ``p_max_t``.

        Raises
        ------
        MissingError
            The run has no such scorer.
        AnalysisError
            No chain can be used, or all are correct, or all wrong.
        """
        labels = labels_of(run, self.scorer)
        evidence = gather(run, labels)
        options = Resamples(draws=self.draws, confidence=self.confidence, seed=self.seed)
        tables = tables_by_label(evidence, options)
        table = tables.pop(MAIN)
        return AnalysisResult(
            name=key_of(self),
            table=table,
            details=tables,
            exclusions=most_left_out([found.exclusions for found in evidence.values()]),
            warnings=(*question_warnings(run), *warnings(evidence, tables, table)),
            config=repr(dataclasses.replace(self, scorer=labels[0] if len(labels) == 1 else None)),
            provenance=provenance(
                run,
                packages=("numpy", "pandas", "scipy"),
                scorers={label: run.manifest.configuration.scorers[label] for label in labels},
            ),
            finding=finding(table, tables.get("length"), confidence=self.confidence),
        )


if __name__ == "__main__":
    from reasoning_anatomy.cli import analysis_main

    analysis_main(__spec__.name)
