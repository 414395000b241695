"""The studentised bootstrap against loops, enumeration and the t interval."""

import itertools

import numpy as np
import pytest
from scipy.stats import t

import analyses._statistics.bootstrap as bootstrap
from analyses._statistics.bootstrap import bootstrap_means, resample_counts


def brute_force(column: np.ndarray, counts: np.ndarray) -> tuple[float, float, list[float]]:
    """Mean, standard error and the statistic of every resample, one at a time; NaN = no value."""
    values = column[np.isfinite(column)]
    mean, error = values.mean(), values.std(ddof=1) / np.sqrt(len(values))
    statistics = []
    for row in counts:
        sample = np.repeat(column, row)
        sample = sample[np.isfinite(sample)]
        if len(set(sample.tolist())) < 2:
            statistics.append(np.inf)
        else:
            statistics.append(abs(sample.mean() - mean) / (sample.std(ddof=1) / np.sqrt(len(sample))))
    return mean, error, statistics


def test_every_column_agrees_with_a_loop() -> None:
    rng = np.random.default_rng(0)
    values = 0.1 + 0.3 * rng.standard_normal((9, 5))
    values[[2, 5], [1, 1]] = np.nan
    counts = resample_counts(9, draws=399, rng=rng)
    found = bootstrap_means(values, counts, confidence=0.9)
    for column in range(5):
        mean, error, statistics = brute_force(values[:, column], counts)
        critical = sorted(statistics)[int(0.9 * 400) - 1]
        p_value = (1 + sum(statistic >= abs(mean) / error for statistic in statistics)) / 400
        assert found.estimate[column] == pytest.approx(mean, abs=1e-14)
        assert found.ci_low[column] == pytest.approx(mean - critical * error, abs=1e-12)
        assert found.ci_high[column] == pytest.approx(mean + critical * error, abs=1e-12)
        assert found.p_value[column] == p_value
    assert found.n_questions.tolist() == [9, 7, 9, 9, 9]


def test_all_resamples_of_four_questions_by_hand() -> None:
    values = np.array([[0.0], [0.0], [0.0], [4.0]])  # mean 1, standard error 1
    counts = np.array([np.bincount(pick, minlength=4) for pick in itertools.product(range(4), repeat=4)])
    found = bootstrap_means(values, counts.astype(np.int32), confidence=0.5)
    # k times the 4 in 3^(4-k) C(4,k) of 256: 81, 108, 54, 12, 1 resamples; their statistics inf, 0, 0.866, 2, inf
    assert found.p_value[0] == pytest.approx((1 + 81 + 12 + 1) / 257)
    assert found.ci_high[0] - 1 == pytest.approx(1 / np.sqrt(4 / 3), abs=1e-12)  # the 129th of 256 is among the 54


def test_interval_leaves_out_zero_exactly_where_p_says_so() -> None:
    rng = np.random.default_rng(1)
    values = rng.uniform(-0.2, 0.8) + rng.standard_normal((10, 3000))
    for confidence, draws in [(0.95, 999), (0.9, 250)]:
        found = bootstrap_means(values, resample_counts(10, draws=draws, rng=rng), confidence=confidence)
        excludes = (found.ci_low > 0) | (found.ci_high < 0)
        assert 0.02 < excludes.mean() < 0.98
        np.testing.assert_array_equal(excludes, found.p_value <= 1 - confidence + 1e-12)


def test_many_normal_questions_give_the_t_interval() -> None:
    rng = np.random.default_rng(2)
    values = rng.standard_normal((200, 50))
    found = bootstrap_means(values, resample_counts(200, draws=4999, rng=rng), confidence=0.95)
    half = t.ppf(0.975, 199) * values.std(axis=0, ddof=1) / np.sqrt(200)
    np.testing.assert_allclose((found.ci_high - found.ci_low) / 2, half, rtol=0.06)
    assert np.mean((found.ci_high - found.ci_low) / 2 / half) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("n_questions", [2, 3])
def test_two_or_three_questions_cannot_bound_a_mean(n_questions: int) -> None:
    values = np.linspace(0.5, 0.6, n_questions)[:, None]
    found = bootstrap_means(values, resample_counts(n_questions, draws=1999, rng=np.random.default_rng(0)), confidence=0.95)
    assert np.isinf(found.ci_low[0])
    assert np.isinf(found.ci_high[0])
    assert found.p_value[0] > 0.05


def test_no_spread_or_one_question_says_nothing() -> None:
    values = np.array([[0.3, 0.5, np.nan], [0.3, np.nan, np.nan], [0.3, np.nan, np.nan]])
    found = bootstrap_means(values, resample_counts(3, draws=99, rng=np.random.default_rng(0)), confidence=0.9)
    assert found.estimate[:2].tolist() == pytest.approx([0.3, 0.5])
    assert found.n_questions.tolist() == [3, 1, 0]
    assert np.isnan(found.estimate[2])
    for field in (found.ci_low, found.ci_high, found.p_value):
        assert np.isnan(field).all()


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(4).standard_normal((7, 10))
    whole = bootstrap_means(values, resample_counts(7, draws=200, rng=np.random.default_rng(9)), confidence=0.9)
    monkeypatch.setattr(bootstrap, "_DRAWS_AT_ONCE", 33)
    monkeypatch.setattr(bootstrap, "_COLUMNS_AT_ONCE", 4)
    parts = bootstrap_means(values, resample_counts(7, draws=200, rng=np.random.default_rng(9)), confidence=0.9)
    np.testing.assert_allclose(parts.ci_low, whole.ci_low, atol=1e-12)
    np.testing.assert_array_equal(parts.p_value, whole.p_value)


def test_resamples_draw_every_question_equally_often() -> None:
    counts = resample_counts(8, draws=5000, rng=np.random.default_rng(5))
    assert counts.shape == (5000, 8)
    assert (counts.sum(axis=1) == 8).all()
    assert np.abs(counts.mean(axis=0) - 1).max() < 4 * np.sqrt(7 / 8 / 5000)
