"""How far annotators agree on the categories of the same tokens."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar, Final

import numpy as np
import pandas as pd

from analyses._annotator_agreement.labels import Labels, gather_labels
from analyses._annotator_agreement.sample import LabelSample, Measure
from analyses._annotator_agreement.tables import confusion_table, per_annotator, per_chain
from analyses._annotator_agreement.words import finding, warnings
from analyses._language import caveats_of_language
from analyses._provenance import provenance
from analyses._questions import question_warnings
from analyses._statistics.agreement import cohen_kappa, f1, krippendorff_alpha, merged, observed_agreement
from analyses._statistics.bootstrap import check_options
from reasoning_anatomy.categories import CATEGORIES, SCHEMES
from reasoning_anatomy.plugins import key_of
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import RESULT_COLUMNS, AnalysisResult, FloatArray

_GROUPS: Final = {
    scheme: np.array([list(dict.fromkeys(names)).index(name) for name in names]) for scheme, names in SCHEMES.items()
}


@dataclass(frozen=True, kw_only=True)
class AnnotatorAgreement:
    """Agreement of two or more annotators: Cohen's kappa, Krippendorff's alpha, F1 of every category.

    Over the six categories, the two classes, and the two classes with ENTITY_NAME taken out as a third. Every token counts the
    same; intervals come from a bootstrap over questions, with all chains of a question kept together.
    ``docs/statistics.md`` says how well they do.

    Attributes
    ----------
    annotators
        Names of two or more annotators of the run; all of them if none is named.
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
    Cohen (1960), Educational and Psychological Measurement 20:37; Krippendorff (2011), Computing Krippendorff's
    alpha-reliability.
    """

    title: ClassVar[str] = "Do annotators agree?"
    subject: ClassVar[str] = "labels"
    terms: ClassVar[Mapping[str, str]] = {
        "alpha_categories": "Krippendorff's alpha, six categories",
        "alpha_classes": "Krippendorff's alpha, two classes",
        "alpha_classes_entities_apart": "Krippendorff's alpha, two classes and ENTITY_NAME",
        "kappa_categories": "Cohen's kappa, six categories",
        "kappa_classes": "Cohen's kappa, two classes",
        "kappa_classes_entities_apart": "Cohen's kappa, two classes and ENTITY_NAME",
        "agreement_categories": "share of tokens with the same category",
        "agreement_classes": "share of tokens with the same class",
        "agreement_classes_entities_apart": "share of tokens with the same class, ENTITY_NAME a third",
    }

    annotators: tuple[str, ...] = ()
    draws: int = 9999
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(draws=self.draws, confidence=self.confidence, seed=self.seed)

    def analyse(self, run: Run) -> AnalysisResult:
        """Compare the annotators.

        Parameters
        ----------
        run
            With the labels of two or more annotators.

        Returns
        -------
        Table with a first column ``annotators``: the terms ``alpha_<scheme>`` over all annotators, and ``kappa_<scheme>`` and
        ``agreement_<scheme>`` for every pair; schemes are ``categories``, ``classes`` and ``classes_entities_apart``. No
        hypothesis is tested, so p-values are missing. Details, unrounded: ``per_category`` (F1), ``confusion``, ``per_chain``
        and ``per_annotator``.

        Raises
        ------
        MissingError
            The run has no such annotator.
        AnalysisError
            The run lacks the labels of two annotators on the same tokens.
        """
        labels = gather_labels(run, self.annotators)
        everyone = self._sample(labels, range(len(labels.annotators)))
        rows = _measure_rows(everyone, everyone.coincidences, "alpha", labels.annotators)
        pairs = list(combinations(range(len(labels.annotators)), 2))
        samples = {pair: sample for pair in pairs if (sample := self._sample(labels, pair)).n_tokens}
        for pair, sample in samples.items():
            names = [labels.annotators[index] for index in pair]
            for measure in ("kappa", "agreement"):
                rows += _measure_rows(sample, sample.confusions, measure, names)
        table = pd.DataFrame(rows, columns=["annotators", *RESULT_COLUMNS])
        return AnalysisResult(
            name=key_of(self),
            table=table,
            details={
                "per_category": _per_category(labels, samples),
                "confusion": confusion_table(labels, pairs),
                "per_chain": per_chain(labels, pairs),
                "per_annotator": per_annotator(labels),
            },
            exclusions=labels.exclusions,
            warnings=(
                *question_warnings(run),
                *caveats_of_language(run, set(labels.chain_ids)),
                *warnings(table, everyone.n_questions),
            ),
            config=repr(dataclasses.replace(self, annotators=labels.annotators)),
            provenance=provenance(
                run, packages=("numpy", "pandas"), annotators={name: run.annotator(name) for name in labels.annotators}
            ),
            finding=finding(table, labels.annotators, confidence=self.confidence),
        )

    def _sample(self, labels: Labels, chosen: Sequence[int]) -> LabelSample:
        return LabelSample.of(labels, chosen, draws=self.draws, confidence=self.confidence, seed=self.seed)


_MEASURES: Final[Mapping[str, tuple[Measure, float]]] = {
    "alpha": (krippendorff_alpha, -1),
    "kappa": (cohen_kappa, -1),
    "agreement": (observed_agreement, 0),
}
"""Each measure with its smallest value."""


def _measure_rows(sample: LabelSample, counts: FloatArray, measure: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of one measure over all schemes."""
    function, lowest = _MEASURES[measure]
    terms = [f"{measure}_{scheme}" for scheme in SCHEMES]
    rows = sample.rows(counts, _over_schemes(function), terms, lowest=lowest)
    return [{"annotators": ", ".join(names), **row} for row in rows]


def _over_schemes(measure: Measure) -> Measure:
    """Apply a measure with the categories merged by every scheme; (..., categories, categories) -> (..., schemes)."""
    return lambda counts: np.stack([measure(merged(counts, groups)) for groups in _GROUPS.values()], axis=-1)


def _per_category(labels: Labels, samples: Mapping[tuple[int, int], LabelSample]) -> pd.DataFrame:
    rows = [
        {"annotator_a": labels.annotators[a], "annotator_b": labels.annotators[b], **row}
        for (a, b), sample in samples.items()
        for row in sample.rows(sample.confusions, f1, CATEGORIES, lowest=0)
    ]
    columns = ["annotator_a", "annotator_b", "category", "f1", "ci_low", "ci_high", "n_questions", "n_chains", "n_tokens"]
    return pd.DataFrame(rows).rename(columns={"term": "category", "estimate": "f1"}).reindex(columns=columns)


if __name__ == "__main__":
    from reasoning_anatomy.cli import analysis_main

    analysis_main(__spec__.name)
