"""How far annotators agree on the categories of the same tokens."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import combinations
from typing import Any, Final

import numpy as np
import pandas as pd

from analyses._annotator_agreement.labels import Labels, gather_labels
from analyses._annotator_agreement.sample import LabelSample, Measure
from analyses._annotator_agreement.tables import confusion_table, per_annotator, per_chain
from analyses._rank_correlation.caveats import FEW_QUESTIONS
from analyses._statistics.agreement import cohen_kappa, f1, krippendorff_alpha, merged, observed_agreement
from analyses._statistics.bootstrap import check_options
from reasoning_anatomy.categories import CATEGORIES, SCHEMES
from reasoning_anatomy.plugins import key_of
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import RESULT_COLUMNS, AnalysisResult

_VERSIONS_OF: Final = ("reasoning-anatomy", "numpy", "pandas")
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
        Names of two or more annotators of the run; all of them where none is named.
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
        Table: ``alpha_<scheme>`` over all annotators, and ``kappa_<scheme>: a, b`` and ``agreement_<scheme>: a, b`` for every
        pair; schemes are ``categories``, ``classes`` and ``classes_entities_apart``. No hypothesis is tested, so p-values are
        missing. Details, unrounded: ``per_category`` (F1), ``confusion``, ``per_chain`` and ``per_annotator``.

        Raises
        ------
        AnalysisError
            The run has not the labels of two annotators on the same tokens.
        """
        labels = gather_labels(run, self.annotators)
        everyone = self._sample(labels, range(len(labels.annotators)))
        rows = everyone.rows(everyone.coincidences, _over_schemes(krippendorff_alpha), _terms("alpha"), lowest=-1)
        pairs = list(combinations(range(len(labels.annotators)), 2))
        samples = {pair: sample for pair in pairs if (sample := self._sample(labels, pair)).n_tokens}
        for pair, sample in samples.items():
            rows += _pair_rows(sample, ", ".join(labels.annotators[index] for index in pair))
        table = pd.DataFrame(rows, columns=list(RESULT_COLUMNS))
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
            warnings=tuple(_warnings(table, everyone.n_questions)),
            config=repr(dataclasses.replace(self, annotators=labels.annotators)),
            provenance=_provenance(run, labels),
        )

    def _sample(self, labels: Labels, chosen: Sequence[int]) -> LabelSample:
        return LabelSample.of(labels, chosen, draws=self.draws, confidence=self.confidence, seed=self.seed)


def _terms(measure: str) -> list[str]:
    return [f"{measure}_{scheme}" for scheme in SCHEMES]


def _over_schemes(measure: Measure) -> Measure:
    """Apply a measure with the categories merged by every scheme; (..., categories, categories) -> (..., schemes)."""
    return lambda counts: np.stack([measure(merged(counts, groups)) for groups in _GROUPS.values()], axis=-1)


def _pair_rows(sample: LabelSample, names: str) -> list[dict[str, Any]]:
    rows = []
    for measure, function, lowest in (("kappa", cohen_kappa, -1), ("agreement", observed_agreement, 0)):
        terms = [f"{term}: {names}" for term in _terms(measure)]
        rows += sample.rows(sample.confusions, _over_schemes(function), terms, lowest=lowest)
    return rows


def _per_category(labels: Labels, samples: Mapping[tuple[int, int], LabelSample]) -> pd.DataFrame:
    rows = [
        {"annotator_a": labels.annotators[a], "annotator_b": labels.annotators[b], **row}
        for (a, b), sample in samples.items()
        for row in sample.rows(sample.confusions, f1, CATEGORIES, lowest=0)
    ]
    columns = ["annotator_a", "annotator_b", "category", "f1", "ci_low", "ci_high", "n_questions", "n_chains", "n_tokens"]
    return pd.DataFrame(rows).rename(columns={"term": "category", "estimate": "f1"}).reindex(columns=columns)


def _warnings(table: pd.DataFrame, n_questions: int) -> list[str]:
    found = []
    if n_questions == 1:
        found.append("one question has no variation between questions; no interval")
    elif n_questions < FEW_QUESTIONS:
        found.append(f"{n_questions} questions are few: intervals are wide and their coverage approximate")
    by_term = table.set_index("term")
    for term in by_term.index:
        if "classes_entities_apart" in term and not term.startswith("agreement"):
            two = by_term.loc[term.replace("classes_entities_apart", "classes")]
            three = float(by_term.loc[term, "estimate"])
            if not two["ci_low"] <= three <= two["ci_high"] and np.isfinite(two["ci_low"]):
                found.append(
                    f"{term}: is {three:.3f}, so that taking ENTITY_NAME out as a third class leaves the interval "
                    f"of the two classes ({two['estimate']:.3f}); say which is meant"
                )
    found += [
        f"{row['term']}: only one label is used, so that agreement by chance cannot be told from any other"
        for row in table.to_dict("records")
        if np.isnan(row["estimate"])
    ]
    return found


def _provenance(run: Run, labels: Labels) -> dict[str, Any]:
    return {
        "run": run.folder.resolve().name,
        "annotators": {name: run.annotator(name) for name in labels.annotators},
        "versions": {package: version(package) for package in _VERSIONS_OF},
    }


if __name__ == "__main__":
    from reasoning_anatomy.cli import analysis_main

    analysis_main(__spec__.name)
