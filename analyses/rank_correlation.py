"""Whether the attention that a token receives predicts when it is deleted."""

import dataclasses
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

import numpy as np
import pandas as pd

from analyses._bootstrap import Counts, Means, bootstrap_means, check_options, resample_counts
from analyses._caveats import caveats
from analyses._correlation import TERMS
from analyses._evidence import Evidence, choose, gather
from analyses._families import adjust
from analyses._power import detectable_effect
from analyses._questions import question_index, question_means
from reasoning_anatomy.plugins import key_of
from reasoning_anatomy.run import Run
from reasoning_anatomy.types import RESULT_COLUMNS, AnalysisResult, FloatArray, IntArray

_VERSIONS_OF: Final = ("reasoning-anatomy", "numpy", "pandas", "scipy", "statsmodels")


@dataclass(frozen=True, kw_only=True)
class RankCorrelation:
    """Rank correlation of the attention that tokens receive with the step at which they are deleted.

    Spearman's rho and Kendall's tau-b within each chain, raw and given position (both regressed on it); averaged
    within each question, then over questions. Positive = the tokens that receive more attention are deleted later.
    Tokens that were never deleted are tied after the last deletion. ``docs/statistics.md`` says why, and how well the
    intervals do.

    Attributes
    ----------
    scorer
        Label of the scorer whose attention profile is read; its scores, where it has no profile. None takes
        the first of the run.
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
        Table: one row per term, ``p_adjusted`` by Holm over them. Details, unrounded: ``between_questions``, ``per_chain``
        and, for a scorer with a profile, ``per_layer`` (Holm over the layers of a term) and ``per_head``
        (Benjamini-Hochberg over the heads of a term, and ``p_max_t``).

        Raises
        ------
        AnalysisError
            The run has no such scorer or strategy, or no chain of it can be used.
        """
        configuration = run.manifest.configuration
        scorer = choose(run, "scorer", self.scorer, configuration.scorers)
        strategy = choose(run, "strategy", self.strategy, configuration.strategies)
        evidence = gather(run, scorer=scorer, strategy=strategy)
        sample = _Sample.of(evidence, draws=self.draws, seed=self.seed, confidence=self.confidence)
        overall = np.stack([chain.overall for chain in evidence.chains])
        table = sample.summary(overall, pd.DataFrame({"term": TERMS}))
        table["p_adjusted"] = adjust(table["p_value"].to_numpy(), "holm")
        details = {"between_questions": _spread(sample, overall), **_profile_tables(evidence, sample)}
        details["per_chain"] = _per_chain(evidence, overall)
        return AnalysisResult(
            name=key_of(self),
            table=table[list(RESULT_COLUMNS)],
            details=details,
            exclusions=evidence.exclusions,
            warnings=tuple(caveats(evidence, table, details["between_questions"])),
            config=repr(dataclasses.replace(self, scorer=scorer, strategy=strategy)),
            provenance=_provenance(run, scorer, strategy),
        )


@dataclass(frozen=True, eq=False)
class _Sample:
    """The chains of the analysis as a sample of questions, with one set of resamples for every table."""

    questions: IntArray
    n_tokens: IntArray
    counts: Counts
    confidence: float

    @classmethod
    def of(cls, evidence: Evidence, *, draws: int, seed: int, confidence: float) -> "_Sample":
        questions = question_index([chain.question_id for chain in evidence.chains])
        counts = resample_counts(int(questions.max()) + 1, draws=draws, rng=np.random.default_rng(seed))
        return cls(questions, evidence.n_tokens, counts, confidence)

    def means(self, values: FloatArray) -> Means:
        """(chains, columns) -> the mean of each column over questions; an interval never leaves -1..1."""
        means = bootstrap_means(question_means(values, self.questions), self.counts, confidence=self.confidence)
        return dataclasses.replace(means, ci_low=np.clip(means.ci_low, -1, 1), ci_high=np.clip(means.ci_high, -1, 1))

    def summary(self, values: FloatArray, labels: pd.DataFrame) -> pd.DataFrame:
        """(chains, columns) and one label row per column -> labels with estimate, interval, p-value and sizes."""
        means = self.means(values)
        present = np.isfinite(values)
        return labels.assign(
            estimate=means.estimate,
            ci_low=means.ci_low,
            ci_high=means.ci_high,
            p_value=means.p_value,
            p_max_t=means.p_max_t,
            sd_questions=means.sd,
            n_questions=means.n_questions.astype(np.int64),
            n_chains=present.sum(axis=0),
            n_tokens=self.n_tokens @ present,
        )


def _provenance(run: Run, scorer: str, strategy: str) -> dict[str, Any]:
    configuration = run.manifest.configuration
    model = configuration.model
    facts = ("revision", "dtype", "quantization")
    return {
        "run": run.folder.resolve().name,
        "model": model.id if model else f"none; {configuration.encoding}",
        **{fact: getattr(model, fact) for fact in facts if model},
        "scorer": configuration.scorers[scorer],
        "strategy": configuration.strategies[strategy],
        "versions": {package: version(package) for package in _VERSIONS_OF},
    }


def _profile_tables(evidence: Evidence, sample: _Sample) -> dict[str, pd.DataFrame]:
    """Tables per layer and per head; none for a scorer without a profile."""
    heads = np.stack([chain.heads for chain in evidence.chains])  # (chains, layers, heads, terms)
    if heads.size == 0:
        return {}
    layers = np.stack([chain.layers for chain in evidence.chains])
    n_layers, n_heads = heads.shape[1:3]
    layer = pd.DataFrame({"layer": range(n_layers)})
    layer_head = layer.merge(pd.DataFrame({"head": range(n_heads)}), how="cross")
    per_layer, per_head = [], []
    for number, term in enumerate(TERMS):
        rows = sample.summary(layers[..., number], layer.assign(term=term))
        per_layer.append(rows.assign(p_adjusted=adjust(rows["p_value"].to_numpy(), "holm")))
        rows = sample.summary(heads[..., number].reshape(len(heads), -1), layer_head.assign(term=term))
        per_head.append(rows.assign(p_adjusted=adjust(rows["p_value"].to_numpy(), "fdr_bh")))
    columns = [*RESULT_COLUMNS[1:6], "p_max_t", "sd_questions", *RESULT_COLUMNS[6:]]
    return {
        "per_layer": pd.concat(per_layer, ignore_index=True)[["layer", "term", *columns]],
        "per_head": pd.concat(per_head, ignore_index=True)[["layer", "head", "term", *columns]],
    }


def _per_chain(evidence: Evidence, overall: FloatArray) -> pd.DataFrame:
    facts = pd.DataFrame(
        {
            "chain_id": [chain.chain_id for chain in evidence.chains],
            "question_id": [chain.question_id for chain in evidence.chains],
            "n_tokens": evidence.n_tokens,
            "n_censored": evidence.n_censored,
        }
    )
    partial_tau = [chain.partial_tau for chain in evidence.chains]
    return facts.assign(**dict(zip(TERMS, overall.T, strict=True)), kendall_partial_tau=partial_tau)


def _spread(sample: _Sample, overall: FloatArray) -> pd.DataFrame:
    """How far the questions differ, and the smallest mean that so many of them could have shown."""
    per_question = pd.DataFrame(question_means(overall, sample.questions), columns=list(TERMS))
    spread = per_question.describe().T.rename(
        columns={"count": "n_questions", "std": "sd", "25%": "q25", "50%": "median", "75%": "q75"}
    )
    spread = spread.rename_axis("term").reset_index().astype({"n_questions": "int64"})
    effects = [
        detectable_effect(sd, n, confidence=sample.confidence)
        for sd, n in zip(spread["sd"], spread["n_questions"], strict=True)
    ]
    return spread.assign(detectable_effect=effects)


if __name__ == "__main__":
    from reasoning_anatomy.cli import analysis_main

    analysis_main(__spec__.name)
