"""How much of any effect is the answer standing in the chain already."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import pandas as pd

from analyses._exclusions import left_out_table, most_left_out
from analyses._printed import side_by_side
from analyses._provenance import provenance
from analyses._questions import question_warnings
from analyses._restatement_audit import accuracy, deletion_time, likelihood
from analyses._restatement_audit.accuracy import accuracies
from analyses._restatement_audit.deletion_time import deletion_times
from analyses._restatement_audit.effects import DIFFERENCE, KEPT, SHARE_LEFT, STRIPPED, Effects, Part, part_of
from analyses._restatement_audit.likelihood import likelihoods
from analyses._restatement_audit.words import finding, warnings
from analyses._statistics.bootstrap import check_options
from reasoning_anatomy.errors import AnalysisError, MissingError
from reasoning_anatomy.plugins import key_of
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import AnalysisResult

_SHOWN: Final = {name: name for name in (KEPT, STRIPPED, DIFFERENCE, SHARE_LEFT)}


@dataclass(frozen=True, kw_only=True)
class RestatementAudit:
    """Effects with what restates the answer kept and stripped, side by side, and how much of each is left.

    Three parts, of which a run may have any: the difference between the classes of `category_survival`, with all tokens and
    without those that state the answer or are in the last sentence; the areas between nll curves of `strategy_comparison`, and
    what of them arises while both strategies still state the answer, or neither does; the accuracy of a sweep with restatements
    kept and stripped. Differences are paired by chain or question. ``docs/analyses/restatement_audit.md`` says what each can
    show.

    Attributes
    ----------
    annotator
        Whose categories; None takes all annotators of the run, side by side.
    strategy
        Label of the strategy whose deletion times are read; None takes all strategies of the run, side by side.
    draws
        Bootstrap resamples of the questions.
    confidence
        Of the intervals, above 0.5.
    seed
        Of the resamples; the same run and seed give the same result to the last bit.

    Raises
    ------
    ValueError
        An option is out of its range.

    References
    ----------
    Fieller (1954), Some problems in interval estimation, J. R. Statist. Soc. B 16:175.
    """

    title: ClassVar[str] = "How much is the answer standing there already?"
    subject: ClassVar[str] = "robustness"

    annotator: str | None = None
    strategy: str | None = None
    draws: int = 9999
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(draws=self.draws, confidence=self.confidence, seed=self.seed)

    def analyse(self, run: Run) -> AnalysisResult:
        """Compare every effect with and without restatements.

        Parameters
        ----------
        run
            With what one of the parts needs, or more.

        Returns
        -------
        Table with first columns ``part, annotator, strategy, restatements``: four rows per effect, ``kept``, ``stripped``,
        ``stripped - kept`` (``p_adjusted`` by Holm over the effects of the part) and ``share left``, which has no p-value.
        Details: ``restating_tokens`` and ``last_statement``, of the parts that there are, and ``left_out``.

        Raises
        ------
        MissingError
            The run has no such annotator or strategy.
        AnalysisError
            The run has none of the parts.
        """
        if self.annotator is not None:
            run.annotator_named(self.annotator)
        if self.strategy is not None:
            run.strategy_named(self.strategy)
        options: Any = {"draws": self.draws, "confidence": self.confidence, "seed": self.seed}
        readers: dict[str, Callable[[], Part]] = {
            deletion_time.PART: lambda: part_of(self._deletion_times(run), **options),
            likelihood.PART: lambda: part_of([likelihoods(run)], **options),
            accuracy.PART: lambda: accuracies(run, **options),
        }
        parts: dict[str, Part] = {}
        missing: dict[str, str] = {}
        for name, read in readers.items():
            try:
                parts[name] = read()
            except (AnalysisError, MissingError) as error:
                missing[name] = str(error)
        if not parts:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
            raise AnalysisError(f"{run.folder}: has nothing to audit ({reasons})")
        table = pd.concat([part.rows for part in parts.values()], ignore_index=True)
        left_out = left_out_table({(name,): part.exclusions for name, part in parts.items()}, ["part"])
        remarks = [remark for part in parts.values() for remark in part.warnings]
        return AnalysisResult(
            name=key_of(self),
            table=table,
            details={name: detail for part in parts.values() for name, detail in part.details.items()} | {"left_out": left_out},
            exclusions=most_left_out([part.exclusions for part in parts.values()]),
            warnings=(*question_warnings(run), *warnings(table, missing, remarks)),
            config=repr(self),
            provenance=provenance(run, packages=("numpy", "pandas", "scipy"), parts=list(parts)),
            printed=side_by_side(
                table,
                about=("part", "term", "strategy", "annotator"),
                across="restatements",
                values=_SHOWN,
                counts={"n_questions": "questions"},
            ),
            finding=finding(table),
        )

    def _deletion_times(self, run: Run) -> list[Effects]:
        annotator, strategy = run.annotator_named(self.annotator), run.strategy_named(self.strategy)
        return deletion_times(
            run,
            annotators=run.annotators if self.annotator is None else [annotator],
            strategies=list(run.manifest.configuration.strategies) if self.strategy is None else [strategy],
        )


if __name__ == "__main__":
    from reasoning_anatomy.cli import analysis_main

    analysis_main(__spec__.name)
