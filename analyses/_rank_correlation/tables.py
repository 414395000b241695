"""The tables of one scorer: its correlations combined over questions."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analyses._rank_correlation.evidence import Evidence
from analyses._statistics.bootstrap import Counts, Means, bootstrap_means, resample_counts
from analyses._statistics.correlation import TERMS
from analyses._statistics.families import adjust
from analyses._statistics.power import detectable_effect
from analyses._statistics.questions import question_index, question_means
from reasoning_anatomy.types import RESULT_COLUMNS, FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class ScorerTables:
    """What the chains say of one scorer.

    Attributes
    ----------
    table
        One row per term, with the columns of a result but ``p_adjusted``.
    details
        By name, as in the result of one scorer.
    """

    table: pd.DataFrame
    details: Mapping[str, pd.DataFrame]


def tables_of_scorer(evidence: Evidence, *, draws: int, seed: int, confidence: float) -> ScorerTables:
    """Combine the correlations of one scorer over questions.

    Parameters
    ----------
    evidence
        Of at least one chain.
    draws, seed, confidence
        Of the bootstrap over questions.
    """
    sample = _Sample.of(evidence, draws=draws, seed=seed, confidence=confidence)
    overall = np.stack([chain.overall for chain in evidence.chains])
    details = {"between_questions": _spread(sample, overall), **_profile_tables(evidence, sample)}
    details["per_chain"] = _per_chain(evidence, overall)
    return ScorerTables(sample.summary(overall, pd.DataFrame({"term": TERMS})), details)


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
