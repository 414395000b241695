"""How long each kind of token is left."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from analyses._category_survival.evidence import ALL_ENDINGS, Evidence, evidence_of, without_value
from analyses._category_survival.hazards import hazard_ratios
from analyses._category_survival.reading import Reading, read, whole_units
from analyses._category_survival.robustness import confusion_of, label_noise
from analyses._category_survival.tables import MAIN, tables_of
from analyses._category_survival.words import CLASSES, finding, warnings
from analyses._exclusions import left_out_table, most_left_out
from analyses._language import caveats_of_language
from analyses._printed import by_categories
from analyses._provenance import only_one, provenance
from analyses._questions import question_warnings
from analyses._sample import QuestionSample
from analyses._statistics.bootstrap import check_options
from analyses._tokens import tokens_with
from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.errors import AnalysisError, MissingError
from reasoning_anatomy.plugins import key_of
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import AnalysisResult, FloatArray

_LABELS = ["annotator", "strategy"]


@dataclass(frozen=True, kw_only=True)
class CategorySurvival:
    """Deletion as survival: how long the tokens of each kind are left, and how much sooner one kind goes than another.

    Time is the share of a chain's tokens that have been deleted: 0 = before the first deletion. Tokens that were never deleted
    are censored. The restricted mean survival time is the mean time that a token is left, up to a horizon that the deletions of
    all chains reach; it is taken within the chain, averaged within the question, then over questions. Beside it stand the
    differences with position, and position and surprisal, held constant; curves by Kaplan and Meier; retention at keep ratios;
    hazard ratios by Cox's model, stratified by chain; and what wrong labels would leave of it.
    ``docs/analyses/category_survival.md`` says why, and how well the intervals do.

    Attributes
    ----------
    annotator
        Whose categories; None takes all annotators of the run, side by side.
    strategy
        Label of the strategy whose deletions are read; None takes all strategies of the run, side by side.
    surprisal
        Label of the scorer that is held constant beside position.
    horizon
        Share of the tokens up to whose deletion chains are followed, in 0..1; chains that end before it are left out. None
        takes what all chains reach.
    keep_ratios
        At which it is counted how much of each kind is kept.
    noise
        Shares of wrong labels.
    noise_like
        Annotator from whose disagreement it is learnt which category is taken for which; None takes every other as likely.
    draws
        Bootstrap resamples of the questions.
    confidence
        Of the intervals, in 0..1.
    seed
        Of the resamples and of the wrong labels; the same run and seed give the same result to the last bit.

    Raises
    ------
    ValueError
        An option is out of its range.

    References
    ----------
    Royston & Parmar (2013), Restricted mean survival time, BMC Medical Research Methodology 13:152. Cox (1972), Regression
    models and life-tables, J. R. Statist. Soc. B 34:187.
    """

    title: ClassVar[str] = "How long is each kind of token left?"
    subject: ClassVar[str] = "categories"

    annotator: str | None = None
    strategy: str | None = None
    surprisal: str = "surprisal"
    horizon: float | None = None
    keep_ratios: tuple[float, ...] = (0.9, 0.7, 0.5, 0.3)
    noise: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3, 0.4)
    noise_like: str | None = None
    draws: int = 9999
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(draws=self.draws, confidence=self.confidence, seed=self.seed)
        if self.horizon is not None and not 0 < self.horizon <= 1:
            raise ValueError(f"horizon={self.horizon}: expected a share of the tokens above 0, such as 0.8")
        for name in ("keep_ratios", "noise"):
            if wrong := [share for share in getattr(self, name) if not 0 < share < 1]:
                raise ValueError(f"{name}={wrong[0]}: expected shares between 0 and 1, such as 0.5")

    def analyse(self, run: Run) -> AnalysisResult:
        """Follow the tokens of every kind.

        Parameters
        ----------
        run
            With a strategy measured and the labels of an annotator.

        Returns
        -------
        Table with first columns ``annotator, strategy, scheme``: the restricted mean survival time of each group of the scheme
        (six ``categories``, two ``classes``, or ``classes_entities_apart`` with ENTITY_NAME as a third) and, of classes, the
        differences, such as ``symbolic_computation - linguistic_scaffolding``; each as it is, ``... given position`` and ``...
        given position and surprisal``. Means have no p-value; ``p_adjusted`` is by Holm over the differences of a scheme.
        Details, unrounded: ``between_categories``, ``curves``, ``retention``, ``hazard_ratios``, ``label_noise``,
        ``between_questions``, ``censored`` and ``left_out``.

        Raises
        ------
        MissingError
            The run has no such annotator or strategy.
        AnalysisError
            No chain can be used.
        """
        strategies = [run.strategy_named(self.strategy)]
        annotators = [run.annotator_named(self.annotator)]
        if self.strategy is None:
            strategies = list(run.manifest.configuration.strategies)
        if self.annotator is None:
            annotators = run.annotators
        surprisal = self._surprisal(run)
        columns = [f"score_{surprisal}", *(f"deletion_step_{strategy}" for strategy in strategies)]
        tokens = tokens_with(run, *columns, labels=run.annotators)
        for strategy in strategies:
            tokens = whole_units(run, tokens, strategy)
        readings = {
            (annotator, strategy): read(
                tokens, annotator=annotator, strategy=strategy, surprisal=surprisal, horizon=self.horizon
            )
            for annotator in annotators
            for strategy in strategies
        }
        n_unmeasured = len(run.chains) - tokens["chain_id"].nunique()
        used = {labels: reading for labels, reading in readings.items() if reading.chains}
        evidence = {labels: evidence_of(reading, keep_ratios=self.keep_ratios) for labels, reading in used.items()}
        left_out: dict[tuple[str, ...], dict[str, int]] = {
            labels: dict(reading.exclusions) for labels, reading in readings.items()
        }
        for labels, found in evidence.items():
            left_out[labels] |= without_value(found, has_surprisal=surprisal is not None)
        exclusions = most_left_out([{"not_measured": n_unmeasured}, *left_out.values()])
        if not used:
            reasons = ", ".join(f"{count} {reason}" for reason, count in exclusions.items())
            raise AnalysisError(f"{run.folder}: none of {len(run.chains)} chains can be used ({reasons}); measure other chains")
        tables = _stacked(
            {
                labels: self._tables(reading, evidence[labels], self._confusion(run, tokens, labels[0]))
                for labels, reading in used.items()
            }
        )
        tables["left_out"] = left_out_table(left_out, _LABELS)
        said = warnings(readings, tables, surprisal=surprisal, n_unmeasured=n_unmeasured, confidence=self.confidence)
        chain_ids = {chain.chain_id for reading in used.values() for chain in reading.chains}
        first = next(iter(used.values()))
        return AnalysisResult(
            name=key_of(self),
            table=tables[MAIN],
            details={name: table for name, table in tables.items() if name != MAIN},
            exclusions=exclusions,
            warnings=(*question_warnings(run), *caveats_of_language(run, chain_ids), *said),
            config=repr(dataclasses.replace(self, annotator=only_one(annotators), strategy=only_one(strategies))),
            provenance=provenance(
                run,
                packages=("numpy", "pandas", "scipy"),
                annotators={name: run.annotator(name) for name in annotators},
                strategies={name: run.manifest.configuration.strategies[name] for name in strategies},
                horizons={" / ".join(labels): reading.horizon for labels, reading in used.items()},
            ),
            printed=by_categories(tables[MAIN], endings=ALL_ENDINGS),
            finding=finding(tables, horizon=first.horizon, confidence=self.confidence),
        )

    def _surprisal(self, run: Run) -> str | None:
        """Label of the scorer of surprisal; None if the run has none and none but the usual one was asked for."""
        usual = type(self).surprisal
        if self.surprisal == usual and usual not in run.manifest.configuration.scorers:
            return None
        return run.scorer_named(self.surprisal)

    def _confusion(self, run: Run, tokens: pd.DataFrame, annotator: str) -> FloatArray:
        if self.noise_like is None:
            return np.zeros((len(CATEGORIES), len(CATEGORIES)))
        other = run.annotator_named(self.noise_like)
        if other == annotator and self.annotator is not None:
            raise MissingError(f"{run.folder}: {other!r} agrees with itself; name another annotator as noise_like")
        return confusion_of(tokens, annotator, other)

    def _tables(self, reading: Reading, evidence: Mapping[str, Evidence], confusion: FloatArray) -> dict[str, pd.DataFrame]:
        sample = QuestionSample(reading.question_ids, self.draws, self.confidence, self.seed)
        ratios = np.array(self.keep_ratios, dtype=np.float64)
        return {
            **tables_of(reading, evidence, sample, keep_ratios=ratios),
            "hazard_ratios": hazard_ratios(reading, sample),
            "label_noise": label_noise(reading, sample, shares=self.noise, confusion=confusion, seed=self.seed, term=CLASSES),
        }


def _stacked(parts: Mapping[tuple[str, str], Mapping[str, pd.DataFrame]]) -> dict[str, pd.DataFrame]:
    """Put the tables of every annotator and strategy one below the other."""
    first = next(iter(parts.values()))
    return {
        name: pd.concat({labels: part[name] for labels, part in parts.items()}, names=_LABELS)
        .reset_index(_LABELS)
        .reset_index(drop=True)
        for name in first
    }


if __name__ == "__main__":
    from reasoning_anatomy.cli import analysis_main

    analysis_main(__spec__.name)
