"""The tables of rank correlation: what the chains say of each scorer, combined over questions."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from analyses._exclusions import left_out_table
from analyses._rank_correlation.evidence import Evidence
from analyses._rank_correlation.terms import ALL_TERMS, CENSORED_TERMS
from analyses._sample import QuestionSample
from analyses._statistics.correlation import TERMS
from analyses._statistics.families import adjust
from reasoning_anatomy.types import RESULT_COLUMNS, FloatArray

MAIN, CENSORED = "table", "censored"
"""Names of the main table among those of `tables_by_scorer`, and of the one about tokens that were never deleted."""


def tables_by_scorer(
    evidence: Mapping[str, Evidence], kinds: Mapping[str, str], *, draws: int, seed: int, confidence: float
) -> dict[str, pd.DataFrame]:
    """Combine the correlations of every scorer that has a usable chain.

    Parameters
    ----------
    evidence
        By scorer, at least one of them with a usable chain.
    kinds
        Of every scorer: a competitor does not make the correction of signals harsher.
    draws, seed, confidence
        Of the bootstrap over questions.

    Returns
    -------
    `MAIN` and the detail tables by name, each with a first column ``scorer``.
    """
    parts = {
        scorer: _tables(found, QuestionSample(tuple(chain.question_id for chain in found.chains), draws, confidence, seed))
        for scorer, found in evidence.items()
        if found.chains
    }
    names = dict.fromkeys(name for tables in parts.values() for name in tables)
    tables = {name: _stacked({scorer: part[name] for scorer, part in parts.items() if name in part}) for name in names}
    for name in (MAIN, CENSORED):
        if name in tables:
            tables[name] = _adjusted(tables[name], kinds)
    tables["left_out"] = left_out_table({(scorer,): found.exclusions for scorer, found in evidence.items()}, ["scorer"])
    return tables


def _adjusted(table: pd.DataFrame, kinds: Mapping[str, str]) -> pd.DataFrame:
    """Adjust by Holm over the scorers of one kind, term by term."""
    table = table.assign(kind=table["scorer"].map(kinds))
    p_adjusted = table.groupby(["kind", "term"])["p_value"].transform(lambda p: adjust(p.to_numpy(), "holm"))
    return table.assign(p_adjusted=p_adjusted)[["scorer", "kind", *RESULT_COLUMNS]]


def _stacked(by_scorer: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(by_scorer, names=["scorer"]).reset_index("scorer").reset_index(drop=True)


def _tables(evidence: Evidence, sample: QuestionSample) -> dict[str, pd.DataFrame]:
    overall = np.stack([chain.overall for chain in evidence.chains])
    return {
        MAIN: sample.summary(overall, pd.DataFrame({"term": ALL_TERMS}), n_tokens=evidence.n_tokens[:, None]),
        "between_questions": sample.spread(overall, ALL_TERMS),
        **_profile_tables(evidence, sample),
        **_censored_table(evidence, sample),
        "per_chain": _per_chain(evidence, overall),
    }


def _profile_tables(evidence: Evidence, sample: QuestionSample) -> dict[str, pd.DataFrame]:
    """Tables per layer and per head, if the scorer has a profile."""
    heads = np.stack([chain.heads for chain in evidence.chains])  # (chains, layers, heads, terms)
    if heads.size == 0:
        return {}
    layers = np.stack([chain.layers for chain in evidence.chains])
    n_layers, n_heads = heads.shape[1:3]
    layer = pd.DataFrame({"layer": range(n_layers)})
    layer_head = layer.merge(pd.DataFrame({"head": range(n_heads)}), how="cross")
    per_layer: list[pd.DataFrame] = []
    per_head: list[pd.DataFrame] = []
    for number, term in enumerate(TERMS):
        for values, labels, rows in (
            (layers[..., number], layer, per_layer),
            (heads[..., number].reshape(len(heads), -1), layer_head, per_head),
        ):
            found = sample.summary(values, labels.assign(term=term), n_tokens=evidence.n_tokens[:, None])
            rows.append(found.assign(p_max_t=sample.p_max_t(values, found["p_value"].to_numpy())))
        per_layer[-1]["p_adjusted"] = adjust(per_layer[-1]["p_value"].to_numpy(), "holm")
        per_head[-1]["p_adjusted"] = adjust(per_head[-1]["p_value"].to_numpy(), "fdr_bh")
    columns = [*RESULT_COLUMNS[:6], "p_max_t", "sd_questions", *RESULT_COLUMNS[6:]]
    return {
        "per_layer": pd.concat(per_layer, ignore_index=True)[["layer", *columns]],
        "per_head": pd.concat(per_head, ignore_index=True)[["layer", "head", *columns]],
    }


def _censored_table(evidence: Evidence, sample: QuestionSample) -> dict[str, pd.DataFrame]:
    """Table of the tokens that were never deleted, if some chain has both these and others."""
    values = np.stack([chain.censored for chain in evidence.chains])
    if np.isnan(values).all():
        return {}
    labels = pd.DataFrame({"term": CENSORED_TERMS})
    found = sample.summary(2 * values, labels, n_tokens=evidence.n_tokens[:, None])  # within -1..1, as the summary has it
    return {CENSORED: found.assign(**{name: found[name] / 2 for name in ("estimate", "ci_low", "ci_high")})}


def _per_chain(evidence: Evidence, overall: FloatArray) -> pd.DataFrame:
    facts = pd.DataFrame(
        {
            "chain_id": [chain.chain_id for chain in evidence.chains],
            "question_id": [chain.question_id for chain in evidence.chains],
            "n_tokens": evidence.n_tokens,
            "n_censored": evidence.n_censored,
            "n_correlated": [chain.n_units for chain in evidence.chains],
        }
    )
    partial_tau = [chain.partial_tau for chain in evidence.chains]
    return facts.assign(**dict(zip(ALL_TERMS, overall.T, strict=True)), kendall_partial_tau=partial_tau)
