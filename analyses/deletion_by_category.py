"""Which kinds of token are deleted first."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from analyses._deletion_by_category.evidence import gather
from analyses._deletion_by_category.tables import MAIN, tables_by_labels
from analyses._deletion_by_category.words import finding, warnings
from analyses._exclusions import most_left_out
from analyses._language import caveats_of_language
from analyses._printed import by_categories
from analyses._provenance import only_one, provenance
from analyses._questions import question_warnings
from analyses._statistics.bootstrap import check_options
from analyses._tokens import tokens_with
from reasoning_anatomy.errors import AnalysisError
from reasoning_anatomy.plugins import key_of
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import AnalysisResult


@dataclass(frozen=True, kw_only=True)
class DeletionByCategory:
    """When each kind of token is deleted: the mean relative deletion step of every category, and the differences between them.

    The relative deletion step is the rank of a token in the order of deletion, divided by the number of reasoning tokens of its
    chain: 0 = first deleted, 1 = last. It is averaged within the chain, then within the question, then over questions;
    differences are taken within the chain. Beside every value stands the one with position held constant: categories are
    compared as if they stood at the same positions of the chain. Tokens that were never deleted share the average of the
    ranks that are left. ``docs/statistics.md`` says why, and how well the intervals do.

    Attributes
    ----------
    annotator
        Whose categories; None takes all annotators of the run, side by side.
    strategy
        Label of the strategy whose deletions are read; None takes all strategies of the run, side by side.
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

    title: ClassVar[str] = "Which kinds of token go first?"
    subject: ClassVar[str] = "categories"

    annotator: str | None = None
    strategy: str | None = None
    draws: int = 9999
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(draws=self.draws, confidence=self.confidence, seed=self.seed)

    def analyse(self, run: Run) -> AnalysisResult:
        """Compare the categories.

        Parameters
        ----------
        run
            With a strategy measured and the labels of an annotator.

        Returns
        -------
        Table with first columns ``annotator, strategy, scheme``: the mean step of each group of the scheme (six ``categories``,
        two ``classes``, or ``classes_entities_apart`` with ENTITY_NAME as a third) and, of classes, the differences, such as
        ``symbolic_computation - linguistic_scaffolding``; each once as it is and once ``... given position``. Means have no
        p-value; ``p_adjusted`` is by Holm over the differences of a scheme. Details, unrounded: ``between_categories`` (the
        differences of every two categories, Holm over the 15), ``between_questions``, ``per_question``, ``censored`` and
        ``left_out``.

        Raises
        ------
        MissingError
            The run has no such annotator or strategy.
        AnalysisError
            No chain can be used.
        """
        strategies = _named(self.strategy, run.strategy_named(self.strategy), run.manifest.configuration.strategies)
        annotators = _named(self.annotator, run.annotator_named(self.annotator), run.annotators)
        tokens = tokens_with(run, *(f"deletion_step_{strategy}" for strategy in strategies), labels=annotators)
        evidence = {
            (annotator, strategy): gather(tokens, annotator=annotator, strategy=strategy)
            for annotator in annotators
            for strategy in strategies
        }
        n_unmeasured = len(run.chains) - tokens["chain_id"].nunique()
        exclusions = most_left_out([{"not_measured": n_unmeasured}, *(found.exclusions for found in evidence.values())])
        if not any(found.chain_ids for found in evidence.values()):
            reasons = ", ".join(f"{count} {reason}" for reason, count in exclusions.items())
            raise AnalysisError(f"{run.folder}: none of {len(run.chains)} chains can be used ({reasons}); measure other chains")
        details = tables_by_labels(evidence, draws=self.draws, seed=self.seed, confidence=self.confidence)
        table = details.pop(MAIN)
        return AnalysisResult(
            name=key_of(self),
            table=table,
            details=details,
            exclusions=exclusions,
            warnings=(
                *question_warnings(run),
                *caveats_of_language(run, {chain_id for found in evidence.values() for chain_id in found.chain_ids}),
                *warnings(evidence, table, details["between_questions"], n_unmeasured=n_unmeasured),
            ),
            config=repr(dataclasses.replace(self, annotator=only_one(annotators), strategy=only_one(strategies))),
            provenance=provenance(
                run,
                packages=("numpy", "pandas", "scipy"),
                annotators={name: run.annotator(name) for name in annotators},
                strategies={name: run.manifest.configuration.strategies[name] for name in strategies},
            ),
            printed=by_categories(table),
            finding=finding(table, details["between_categories"], confidence=self.confidence),
        )


def _named(wanted: str | None, first: str, known: Iterable[str]) -> list[str]:
    """Return all that there are, or the wanted one."""
    return list(known) if wanted is None else [first]


if __name__ == "__main__":
    from reasoning_anatomy.cli import analysis_main

    analysis_main(__spec__.name)
