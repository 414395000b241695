"""False positives and coverage, measured: the numbers that docs/statistics.md gives.

Each expected rate comes from a run of 10 000 samples of 8 questions or 4 000 of 30; a test draws fewer, with another
seed, and must agree within Monte-Carlo error.
"""

from functools import cache

import numpy as np
import pytest

from analyses._statistics.bootstrap import Means, bootstrap_means, resample_counts
from analyses._statistics.correlation import TERMS, given_position, spearman
from analyses._statistics.families import adjust, max_t, random_signs
from analyses._statistics.kendall import kendall
from benchmarks import skewed_heads
from benchmarks._validity._series import CHAINS, TOKENS, autocorrelated
from benchmarks._validity.deletion_by_category import CLASSES, SIX, TRENDS, differences, true_difference

pytestmark = pytest.mark.slow

SAMPLES = {8: 700, 30: 200}


def four_terms(received: np.ndarray, importance: np.ndarray) -> dict[str, np.ndarray]:
    received_left, importance_left = given_position(received), given_position(importance)
    values = (
        spearman(received, importance), spearman(received_left, importance_left),
        kendall(received, importance), kendall(received_left, importance_left),
    )  # fmt: skip
    return dict(zip(TERMS, values, strict=True))


def partial_tau_rows(received: np.ndarray, importance: np.ndarray) -> np.ndarray:
    position = np.arange(TOKENS)
    xy, xz, yz = kendall(received, importance), kendall(received, position), kendall(importance, position)
    return (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))


def combine(values: np.ndarray, *, draws: int = 1999) -> Means:
    """(samples, units, chains) -> the mean of every sample with its interval."""
    means = values.mean(axis=-1).T
    return bootstrap_means(means, resample_counts(len(means), draws=draws, rng=np.random.default_rng(0)), confidence=0.95)


@cache
def null_rates(n_questions: int, samples: int, *, trend: float, seed: int) -> dict[str, float]:
    """Share of samples with p <= 0.05 where the mean over questions is zero but every question has its own slope.

    With a trend, attention and importance both rise with position and share nothing else.
    """
    rng = np.random.default_rng(seed)
    shape = (samples, n_questions, CHAINS, TOKENS)
    slope = (0.3 if trend == 0 else 0) * rng.standard_normal((samples, n_questions, 1, 1))
    rise = trend * np.linspace(-np.sqrt(3), np.sqrt(3), TOKENS)
    importance = autocorrelated(rng, shape)
    received, importance = autocorrelated(rng, shape) + slope * importance + rise, importance + rise
    found = four_terms(received, importance)
    if trend:
        found["partial tau"] = partial_tau_rows(received, importance)
    rates = {term: (combine(values).p_value <= 0.05).mean() for term, values in found.items()}
    pooled = found["spearman"].reshape(samples, -1, 1)
    return rates | {"chains as units": (combine(pooled).p_value <= 0.05).mean()}


def coverage(n_questions: int, samples: int, *, seed: int) -> float:
    """Share of intervals that hold the true mean of tau, where questions correlate at 0.2 or 0.7.

    Two series with the same autocorrelation and a Gaussian correlation r have an expected tau of 2/pi arcsin r.
    """
    rng = np.random.default_rng(seed)
    shape = (samples, n_questions, CHAINS, TOKENS)
    r = rng.choice([0.2, 0.7], size=(samples, n_questions, 1, 1))
    importance = autocorrelated(rng, shape)
    found = combine(kendall(r * importance + np.sqrt(1 - r**2) * autocorrelated(rng, shape), importance))
    truth = np.mean(2 / np.pi * np.arcsin([0.2, 0.7]))
    return float(((found.ci_low <= truth) & (truth <= found.ci_high)).mean())


def any_head_found(n_questions: int, samples: int, *, n_heads: int, shared: float, seed: int) -> float:
    """Share of samples in which max-T finds a head, where none has a mean.

    Half of the variance of the heads is ``shared``, or none.
    """
    rng = np.random.default_rng(seed)
    signs = random_signs(n_questions, draws=999, rng=np.random.default_rng(0))
    found = 0
    for _ in range(samples):
        values = np.sqrt(shared) * rng.standard_normal((n_questions, 1))
        values = values + np.sqrt(1 - shared) * rng.standard_normal((n_questions, n_heads))
        found += bool((max_t(0.2 * values, signs) <= 0.05).any())
    return found / samples


def any_scorer_found(n_questions: int, samples: int, *, seed: int) -> float:
    """Share of samples in which Holm finds one of ten related scorers, two of them alike, where none has a mean."""
    rng = np.random.default_rng(seed)
    shape = (samples, 10, n_questions)
    values = 0.2 * (rng.standard_normal((samples, 1, n_questions)) + rng.standard_normal(shape))
    values[:, 9] = values[:, 8]
    p_values = combine(values.reshape(-1, n_questions, 1)).p_value.reshape(samples, 10)
    return float(np.mean([(adjust(family, "holm") <= 0.05).any() for family in p_values]))


def monte_carlo_error(rate: float, samples: int) -> float:
    """Three standard errors of a share."""
    return 3 * float(np.sqrt(rate * (1 - rate) / samples))


@pytest.mark.parametrize(("n_questions", "rate"), [(8, 0.040), (30, 0.051)])
def test_false_positives_are_at_most_nominal(n_questions: int, rate: float) -> None:
    samples = SAMPLES[n_questions]
    found = null_rates(n_questions, samples, trend=0, seed=1)
    for term in TERMS:
        assert found[term] == pytest.approx(rate, abs=monte_carlo_error(rate, samples))
        assert found[term] <= 0.05 + monte_carlo_error(0.05, samples)


def test_chains_as_units_would_find_what_is_not_there() -> None:
    found = null_rates(8, SAMPLES[8], trend=0, seed=1)
    assert found["chains as units"] == pytest.approx(0.176, abs=monte_carlo_error(0.176, SAMPLES[8]))


@pytest.mark.parametrize(("n_questions", "rate", "partial_tau_rate"), [(8, 0.036, 0.36), (30, 0.050, 0.978)])
def test_a_shared_trend_in_position_is_not_taken_for_agreement(n_questions: int, rate: float, partial_tau_rate: float) -> None:
    samples = SAMPLES[n_questions] // 2
    found = null_rates(n_questions, samples, trend=0.6, seed=2)
    assert found["spearman"] > 0.9
    assert found["kendall"] > 0.9
    for term in ("spearman_given_position", "kendall_given_position"):
        assert found[term] == pytest.approx(rate, abs=monte_carlo_error(rate, samples))
    assert found["partial tau"] == pytest.approx(partial_tau_rate, abs=monte_carlo_error(partial_tau_rate, samples))


@pytest.mark.parametrize(("n_questions", "rate"), [(8, 0.972), (30, 0.949)])
def test_intervals_hold_the_true_mean(n_questions: int, rate: float) -> None:
    samples = SAMPLES[n_questions]
    found = coverage(n_questions, samples, seed=3)
    assert found == pytest.approx(rate, abs=monte_carlo_error(rate, samples))
    assert found >= 0.95 - monte_carlo_error(0.95, samples)


@pytest.mark.parametrize(("n_heads", "shared"), [(12, 0.0), (20, 0.5)], ids=["independent", "related"])
@pytest.mark.parametrize("n_questions", [8, 12, 30])
def test_max_t_finds_some_head_as_often_as_it_says(n_questions: int, n_heads: int, shared: float) -> None:
    found = any_head_found(n_questions, 700, n_heads=n_heads, shared=shared, seed=4)
    assert found == pytest.approx(0.048, abs=monte_carlo_error(0.048, 700))


@pytest.mark.parametrize(("n_questions", "rate"), [(8, 0.073), (30, 0.077)])
def test_max_t_needs_symmetric_questions(n_questions: int, rate: float) -> None:
    found = skewed_heads.any_head_found(n_questions, 700, skewness=0.7, seed=6)
    assert found == pytest.approx(rate, abs=monte_carlo_error(rate, 700))


@pytest.mark.parametrize(("n_questions", "rate"), [(8, 0.015), (30, 0.030)])
def test_scorers_side_by_side_find_nothing_more_often_than_one_would(n_questions: int, rate: float) -> None:
    samples = SAMPLES[n_questions]
    found = any_scorer_found(n_questions, samples, seed=5)
    assert found == pytest.approx(rate, abs=monte_carlo_error(rate, samples))
    assert found <= 0.05 + monte_carlo_error(0.05, samples)


@cache
def category_rates(n_questions: int, samples: int, *, trend: str, keep: float = 0.0, seed: int) -> tuple[float, ...]:
    """Share of samples in which the classes differ (p <= 0.05), raw and given position, where they do not on average."""
    values = differences(CLASSES, n_questions, samples, trend=trend, effects=(-0.5, 0, 0.5), noise=True, keep=keep, seed=seed)
    p_values = [combine(values[:, number, 0, :, None]).p_value for number in range(2)]
    return tuple(float((p <= 0.05).mean()) for p in p_values)


def any_pair_found(n_questions: int, samples: int, *, seed: int) -> float:
    """Share of samples in which two of the six categories differ given position after Holm, where none do."""
    values = differences(SIX, n_questions, samples, trend="early drop", effects=(0,), noise=True, keep=0, seed=seed)[:, 1]
    p_values = combine(values.reshape(-1, n_questions, 1)).p_value.reshape(samples, -1)
    return float(np.mean([(adjust(family, "holm") <= 0.05).any() for family in p_values]))


def category_coverage(n_questions: int, samples: int, *, seed: int) -> tuple[float, ...]:
    """Share of intervals that hold the true mean difference, raw and given position."""
    effects = (0.2, 1.0)
    values = differences(CLASSES, n_questions, samples, trend="none", effects=effects, noise=False, keep=0, seed=seed)
    truth = true_difference(effects)
    found = [combine(values[:, number, 0, :, None]) for number in range(2)]
    return tuple(float(((means.ci_low <= truth) & (truth <= means.ci_high)).mean()) for means in found)


@pytest.mark.parametrize("trend", TRENDS)
def test_categories_that_merely_have_their_places_do_not_differ_given_position(trend: str) -> None:
    raw, given = category_rates(8, 120, trend=trend, seed=7)
    assert given == pytest.approx(0.038, abs=monte_carlo_error(0.038, 120))
    assert (raw > 0.9) == (trend in ("line", "early drop")), "without control, place is taken for kind"


def test_many_questions_do_not_turn_what_is_left_of_position_into_a_difference() -> None:
    raw, given = category_rates(30, 60, trend="early drop", keep=0.4, seed=8)
    assert raw == 1
    assert given == pytest.approx(0.05, abs=monte_carlo_error(0.05, 60))


@pytest.mark.parametrize(("n_questions", "samples", "rate"), [(8, 120, 0.97), (30, 50, 0.95)])
def test_intervals_hold_the_true_difference_of_the_classes(n_questions: int, samples: int, rate: float) -> None:
    for found in category_coverage(n_questions, samples, seed=9):
        assert found == pytest.approx(rate, abs=monte_carlo_error(rate, samples))


def test_holm_over_pairs_of_categories_finds_no_more_than_it_says() -> None:
    assert any_pair_found(8, 100, seed=10) <= 0.05 + monte_carlo_error(0.05, 100)
