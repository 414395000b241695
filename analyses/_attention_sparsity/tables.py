"""The tables of attention_sparsity: wrong chains less correct ones, for every label of the scorer."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import pandas as pd

from analyses._attention_sparsity.evidence import Chains, Evidence
from analyses._exclusions import left_out_table
from analyses._statistics.bootstrap import Counts, bootstrap_means, resample_counts
from analyses._statistics.families import adjust, max_t, random_signs
from analyses._statistics.kinds import Measured, all_questions, within_questions
from analyses._statistics.power import detectable_effect
from analyses._statistics.questions import question_index, question_means
from reasoning_anatomy.types import RESULT_COLUMNS, FloatArray, IntArray

MAIN: Final = "table"
"""Name of the main table among those of `tables_by_label`."""

RAW: Final = "wrong - correct"
GIVEN_LENGTH: Final = "wrong - correct given length"
EFFECT_RAW: Final = "effect size"
EFFECT: Final = "effect size given length"
ALL_RAW: Final = "wrong - correct, all questions"
ALL: Final = "wrong - correct given length, all questions"

LOG_LENGTH: Final = "log length, wrong - correct"
SLOPE: Final = "slope on log length"
"""Terms of the detail table ``length``."""

_WITHIN: Final = {RAW: "raw", GIVEN_LENGTH: "given_length"}
_EFFECTS: Final = {EFFECT_RAW: "effect_raw", EFFECT: "effect_given_length"}
_ALL: Final = {ALL_RAW: "raw", ALL: "given_length"}
_NUMBERS: Final = ["estimate", "ci_low", "ci_high", "p_value"]


@dataclass(frozen=True)
class Resamples:
    """Options of the bootstrap over questions."""

    draws: int
    confidence: float
    seed: int


@dataclass(frozen=True)
class Comparison:
    """The two kinds of chains in some questions, and one set of resamples for every table about them."""

    chains: Chains
    options: Resamples

    @cached_property
    def questions(self) -> IntArray:
        """(chains,) number of every chain's question, from 0."""
        return question_index(self.chains.question_ids)

    @cached_property
    def wrong(self) -> FloatArray:
        """(chains, 1) 1 = wrong."""
        return self.chains.is_wrong[:, None].astype(np.float64)

    @cached_property
    def log_length(self) -> FloatArray:
        """(chains, 1) natural logarithm of the number of reasoning tokens."""
        return np.log(self.chains.n_tokens)[:, None]

    @property
    def n_questions(self) -> int:
        """How many questions there are."""
        return int(self.questions.max()) + 1

    @cached_property
    def _resamples(self) -> Counts:
        rng = np.random.default_rng(self.options.seed)
        return resample_counts(self.n_questions, draws=self.options.draws, rng=rng)

    def within(self, values: FloatArray) -> dict[str, Measured]:
        """Wrong less correct chains on the same question; (chains, columns)."""
        return within_questions(values, self.wrong, self.log_length, self.questions)

    def over_all(self, values: FloatArray) -> dict[str, Measured]:
        """Wrong less correct chains, whatever question they are on; (chains, columns)."""
        return all_questions(values, self.wrong, self.log_length, self.questions)

    def summary(self, measured: Measured, labels: pd.DataFrame, *, is_tested: bool = True) -> pd.DataFrame:
        """Interval and p-value of a measure, by the bootstrap over questions.

        Returns
        -------
        ``labels``, one row per column of the measure, with ``estimate, ci_low, ci_high, p_value, sd_questions, n_questions,
        n_chains, n_tokens``; counts are 0 where the measure has no value. An interval without an end is missing.
        """
        means = bootstrap_means(measured.of_questions, self._resamples, confidence=self.options.confidence)
        is_known, has_ends = np.isfinite(measured.estimate), np.isfinite(means.ci_high)
        return labels.assign(
            estimate=measured.estimate,
            ci_low=np.where(has_ends, means.ci_low, np.nan),
            ci_high=np.where(has_ends, means.ci_high, np.nan),
            p_value=means.p_value if is_tested else np.nan,
            sd_questions=means.sd,
            n_questions=self.n_questions * is_known,
            n_chains=len(self.questions) * is_known,
            n_tokens=int(self.chains.n_tokens.sum()) * is_known,
        )

    def p_max_t(self, measured: Measured, p_values: FloatArray) -> FloatArray:
        """Adjust for all columns by max-T; none falls below its own p-value."""
        rng = np.random.default_rng(self.options.seed)
        signs = random_signs(self.n_questions, draws=self.options.draws, rng=rng)
        return np.maximum(max_t(measured.of_questions, signs), p_values)


def tables_by_label(evidence: Mapping[str, Evidence], options: Resamples) -> dict[str, pd.DataFrame]:
    """Compare wrong with correct chains by every label.

    Returns
    -------
    `MAIN` and the detail tables by name, each with a first column ``scorer``.
    """
    parts = {label: _tables(found, options) for label, found in evidence.items()}
    names = dict.fromkeys(name for tables in parts.values() for name in tables)
    tables = {
        name: pd.concat({label: part[name] for label, part in parts.items() if name in part}, names=["scorer"])
        .reset_index("scorer")
        .reset_index(drop=True)
        for name in names
    }
    main = tables[MAIN]
    main["p_adjusted"] = main.groupby("term")["p_value"].transform(lambda p: adjust(p.to_numpy(), "holm"))
    tables[MAIN] = main[["scorer", *RESULT_COLUMNS]]
    tables["left_out"] = left_out_table({(label,): found.exclusions for label, found in evidence.items()}, ["scorer"])
    return tables


def _tables(evidence: Evidence, options: Resamples) -> dict[str, pd.DataFrame]:
    paired = evidence.paired
    within = _within_tables(Comparison(paired, options)) if len(paired.chain_ids) else {MAIN: _nothing([*_WITHIN, *_EFFECTS])}
    everyone = Comparison(evidence.chains, options) if len(set(evidence.chains.is_wrong.tolist())) == 2 else None
    found = everyone.over_all(evidence.chains.overall[:, None]) if everyone else {}
    over_all = [everyone.summary(found[name], _term(term)) for term, name in _ALL.items()] if everyone else [_nothing([*_ALL])]
    return {**within, MAIN: pd.concat([within[MAIN], *over_all], ignore_index=True), "per_chain": _per_chain(evidence.chains)}


def _within_tables(comparison: Comparison) -> dict[str, pd.DataFrame]:
    chains = comparison.chains
    found = comparison.within(chains.overall[:, None])
    differences = [comparison.summary(found[name], _term(term)) for term, name in _WITHIN.items()]
    effects = [comparison.summary(found[name], _term(term), is_tested=False) for term, name in _EFFECTS.items()]
    length = comparison.summary(comparison.within(comparison.log_length)["raw"], _term(LOG_LENGTH))
    slope = comparison.summary(found["slope"], _term(SLOPE))
    return {
        MAIN: pd.concat([*differences, *effects], ignore_index=True),
        "between_questions": pd.concat(
            [_spread(comparison, found[name], term) for term, name in _WITHIN.items()], ignore_index=True
        ),
        "levels": _levels(comparison),
        "length": pd.concat([length, slope], ignore_index=True)[["term", *_NUMBERS, *RESULT_COLUMNS[6:]]],
        **_profile_tables(comparison),
    }


def _profile_tables(comparison: Comparison) -> dict[str, pd.DataFrame]:
    """Tables per layer and per head."""
    heads = comparison.chains.heads
    n_layers, n_heads = heads.shape[1:]
    layer = pd.DataFrame({"layer": range(n_layers)})
    places = {
        "per_layer": (heads.mean(axis=2), layer),
        "per_head": (heads.reshape(len(heads), -1), layer.merge(pd.DataFrame({"head": range(n_heads)}), how="cross")),
    }
    tables = {}
    for table, (values, labels) in places.items():
        found = comparison.within(values)
        parts = []
        for term, name in _WITHIN.items():
            rows = comparison.summary(found[name], labels.assign(term=term))
            p_values = rows["p_value"].to_numpy()
            adjusted = adjust(p_values, "holm" if table == "per_layer" else "fdr_bh")
            parts.append(rows.assign(p_adjusted=adjusted, p_max_t=comparison.p_max_t(found[name], p_values)))
        columns = [*labels.columns, *RESULT_COLUMNS[:6], "p_max_t", "sd_questions", *RESULT_COLUMNS[6:]]
        tables[table] = pd.concat(parts, ignore_index=True)[columns]
    return tables


def _spread(comparison: Comparison, measured: Measured, term: str) -> pd.DataFrame:
    """How far the questions differ, and the smallest mean that this number of them would show."""
    values = measured.of_questions[:, 0]
    low, q25, median, q75, high = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    row = {
        "term": term, "n_questions": comparison.n_questions, "mean": float(measured.estimate[0]), "sd": sd, "min": low,
        "q25": q25, "median": median, "q75": q75, "max": high,
        "detectable_effect": detectable_effect(sd, len(values), confidence=comparison.options.confidence),
    }  # fmt: skip
    return pd.DataFrame([row])


def _levels(comparison: Comparison) -> pd.DataFrame:
    """Mean of each kind, over the questions that have both."""
    chains, rows = comparison.chains, []
    for kind, chosen in (("correct", ~chains.is_wrong), ("wrong", chains.is_wrong)):
        of_kind = np.stack([chains.overall, chains.n_tokens.astype(np.float64)], axis=1)[chosen]
        mean, tokens = question_means(of_kind, comparison.questions[chosen]).mean(axis=0)
        rows.append((kind, mean, tokens, comparison.n_questions, int(chosen.sum()), int(chains.n_tokens[chosen].sum())))
    return pd.DataFrame(rows, columns=["kind", "mean", "tokens_of_a_chain", "n_questions", "n_chains", "n_tokens"])


def _per_chain(chains: Chains) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "chain_id": chains.chain_ids,
            "question_id": chains.question_ids,
            "is_correct": ~chains.is_wrong,
            "n_tokens": chains.n_tokens,
            "value": chains.overall,
        }
    )


def _term(term: str) -> pd.DataFrame:
    return pd.DataFrame({"term": [term]})


def _nothing(terms: list[str]) -> pd.DataFrame:
    """Rows of a comparison for which there are no chains."""
    unknown = dict.fromkeys((*_NUMBERS, "sd_questions"), np.nan)
    return pd.DataFrame({"term": terms}).assign(**unknown, n_questions=0, n_chains=0, n_tokens=0)
