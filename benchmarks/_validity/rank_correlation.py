"""``rank_correlation``: scores and a deletion order that share a slope, a trend with position, or nothing."""

from typing import Final, Literal

import numpy as np

from analyses._rank_correlation.terms import ALL_TERMS, CENSORED_TERMS, WITHIN_BINS, censored_terms, more_terms
from analyses._statistics.correlation import given_position, pearson, spearman
from analyses._statistics.families import adjust, max_t, random_signs
from analyses._statistics.kendall import kendall
from benchmarks._validity import Rate
from benchmarks._validity._rates import DRAWS, FEW, combined, finding, holding
from benchmarks._validity._series import CHAINS, TOKENS, autocorrelated
from reasoning_anatomy.types import FloatArray

_KEPT: Final = 12
"""Tokens of a chain that are never deleted."""
_HEADS: Final = 12
RELATED_SLOPES: Final = (0.1, 0.5)
TRUTH: Final = (0.2481, 0.2461, 0.1797, 0.1699, 0.2213, 0.1951, 0.1736)
"""Means of `ALL_TERMS` with related slopes: ``drawn(50_000, 1, slopes=RELATED_SLOPES, seed=12345).mean(axis=(0, 1))``.

Their standard errors are below 0.001.
"""
_SAMPLES_AT_ONCE: Final = 50

_RELATED: Final = "Related values: Holm is careful."

STRAIGHT: Final = 0.6 * np.linspace(-np.sqrt(3), np.sqrt(3), TOKENS)
"""What position adds to scores and order, in standard deviations of the rest."""


def simulate(n_questions: int, samples: int, seed: int) -> list[Rate]:
    """Correlate what is unrelated on average, what rises with position alone, and what is related."""
    note = FEW if n_questions < 20 else ""
    nothing = drawn(n_questions, samples, slopes=(-0.3, 0, 0.3), seed=seed)
    rates = [
        Rate(term, "false positives", finding(combined(nothing[..., number])), samples, "questions differ around zero", note)
        for number, term in enumerate(ALL_TERMS)
    ]
    within_bins = "By chance: in 3,000 samples drawn with seed 99 it is 5.4." if n_questions == 100 else note
    risen = drawn(n_questions, samples, slopes=(0,), trend=STRAIGHT, seed=seed + 1)
    rates += [
        Rate(
            term, "false positives", finding(combined(risen[..., number])), samples, "both rise with position",
            within_bins if term == WITHIN_BINS else note,
        )
        for number, term in enumerate(ALL_TERMS)
        if term.endswith("given_position") or term == WITHIN_BINS
    ]  # fmt: skip
    something = drawn(n_questions, samples, slopes=RELATED_SLOPES, seed=seed + 2)
    rates += [
        Rate(term, "coverage", holding(combined(something[..., number]), TRUTH[number]), samples, note=note)
        for number, term in enumerate(ALL_TERMS)
    ]
    related = drawn(n_questions, samples, slopes=(0.1,), seed=seed + 4)
    rates += [
        Rate(term, "power", finding(combined(related[..., number])), samples, "slope 0.1")
        for number, term in enumerate(ALL_TERMS)
    ]
    worlds: tuple[tuple[str, FloatArray | float], ...] = (
        ("questions differ around zero", 0.0),
        ("and both rise with position", STRAIGHT),
    )
    for number, (term, (setting, trend)) in enumerate(zip(CENSORED_TERMS, worlds, strict=True)):
        kept = never_deleted(n_questions, samples, slopes=(-0.5, 0, 0.5), trend=trend, seed=seed + 5)[..., number]
        rates.append(Rate(term, "false positives", finding(combined(kept)), samples, setting, note))
    return [*rates, *_families(n_questions, samples, seed=seed + 6)]


def drawn(
    n_questions: int, samples: int, *, slopes: tuple[float, ...], trend: FloatArray | float = 0.0, seed: int
) -> FloatArray:
    """Draw chains and correlate them.

    Parameters
    ----------
    n_questions, samples
        To draw.
    slopes
        Of the scores on the order of deletion, one drawn for every question.
    trend
        What position adds to both.
    seed
        Of the draws.

    Returns
    -------
    (samples, questions, 7) `ALL_TERMS`, averaged over the chains of the question.
    """
    rng = np.random.default_rng(seed)
    found = []
    for first in range(0, samples, _SAMPLES_AT_ONCE):
        shape = (min(_SAMPLES_AT_ONCE, samples - first), n_questions, CHAINS, TOKENS)
        order = autocorrelated(rng, shape)
        slope = rng.choice(slopes, size=(*shape[:2], 1, 1))
        scores = autocorrelated(rng, shape) + slope * order + trend
        found.append(_all_terms(scores, _censored(order + trend)).mean(axis=2))
    return np.concatenate(found)


def never_deleted(
    n_questions: int, samples: int, *, slopes: tuple[float, ...], trend: FloatArray | float, seed: int
) -> FloatArray:
    """Draw one chain for each question, and compare the tokens that were never deleted; (samples, questions, 2)."""
    rng = np.random.default_rng(seed)
    found = np.empty((samples, n_questions, len(CENSORED_TERMS)))
    for index in np.ndindex(samples, n_questions):
        order = autocorrelated(rng, (TOKENS,))
        scores = autocorrelated(rng, (TOKENS,)) + rng.choice(slopes) * order + trend
        (found[index],) = censored_terms(scores[None], _censored(order + trend) == TOKENS - _KEPT)
    return found


def _all_terms(scores: FloatArray, importance: FloatArray) -> FloatArray:
    """Correlate every row with an order of its own. (..., n), (..., n) -> (..., 7) `ALL_TERMS`."""
    left, importance_left = given_position(scores), given_position(importance)
    four = (
        spearman(scores, importance),
        pearson(left, importance_left),
        kendall(scores, importance),
        kendall(left, importance_left),
    )
    return np.concatenate([np.stack(four, axis=-1), more_terms(scores, importance)], axis=-1)


def _censored(order: FloatArray) -> FloatArray:
    """Rank the tokens by their deletion; those that are never deleted are tied after it."""
    return np.asarray(np.minimum(order.argsort(axis=-1).argsort(axis=-1), TOKENS - _KEPT), dtype=np.float64)


def _families(n_questions: int, samples: int, *, seed: int) -> list[Rate]:
    """Correct for ten related scorers and twelve heads without a mean, from values of the questions."""
    rng = np.random.default_rng(seed)
    scorers = 0.2 * (rng.standard_normal((samples, n_questions, 1)) + rng.standard_normal((samples, n_questions, 10)))
    heads = 0.2 * rng.standard_normal((samples, n_questions, _HEADS))
    signs = random_signs(n_questions, draws=DRAWS, rng=np.random.default_rng(0))
    by_max_t = np.mean([(max_t(values, signs) <= 0.05).any() for values in heads])
    return [
        Rate("any of 10 related scorers, Holm", "false positives", _any_found(scorers, "holm"), samples, note=_RELATED),
        Rate("any of 12 heads, max-T", "false positives", float(by_max_t), samples),
        Rate(
            "any of 12 heads, Benjamini-Hochberg", "false positives", _any_found(heads, "fdr_bh"), samples,
            note=FEW if n_questions < 50 else "",
        ),
    ]  # fmt: skip


def _any_found(values: FloatArray, method: Literal["holm", "fdr_bh"]) -> float:
    """Share of samples of (questions, columns) in which some column is found after correction."""
    p_values = np.stack([combined(values[..., column]).p_value for column in range(values.shape[-1])], axis=1)
    return float(np.mean([(adjust(family, method) <= 0.05).any() for family in p_values]))
