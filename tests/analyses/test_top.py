"""Rank correlations that look at the top or at neighbours, against SciPy, statsmodels and plain loops."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import mannwhitneyu, pearsonr, rankdata, spearmanr, weightedtau

from analyses._rank_correlation.terms import censored_terms, more_terms
from analyses._statistics.correlation import TERMS, correlations, given_position
from analyses._statistics.nearby import spearman_within_bins
from analyses._statistics.top import top_weights, weighted_tau


def all_terms(scores: np.ndarray, importance: np.ndarray) -> np.ndarray:
    return np.concatenate([correlations(scores, importance), more_terms(scores, importance)], axis=-1)


@pytest.mark.parametrize("n", [5, 40, 201])
def test_without_ties_the_weighted_tau_is_scipys_with_the_ranks_of_importance(n: int) -> None:
    rng = np.random.default_rng(n)
    rows, importance = rng.random((3, n)), rng.permutation(n).astype(float)
    rank = (-importance).argsort().argsort()  # 0 = the most important
    expected = [weightedtau(row, importance, rank=rank).statistic for row in rows]
    np.testing.assert_allclose(weighted_tau(rows, importance, top_weights(importance)), expected, atol=1e-12)


def test_with_ties_it_is_the_sum_over_pairs_of_its_definition() -> None:
    rng = np.random.default_rng(0)
    row, importance = rng.integers(0, 6, 15).astype(float), np.minimum(rng.permutation(15), 9.0)
    weights = top_weights(importance)
    pairs = [(i, j) for i in range(15) for j in range(i)]
    sums = [
        sum((weights[i] + weights[j]) * np.sign(x[i] - x[j]) * np.sign(y[i] - y[j]) for i, j in pairs)
        for x, y in ((row, importance), (row, row), (importance, importance))
    ]
    assert weighted_tau(row[None], importance, weights)[0] == pytest.approx(sums[0] / np.sqrt(sums[1] * sums[2]), abs=1e-12)


def test_rows_can_have_an_order_each() -> None:
    rng = np.random.default_rng(7)
    x, y = (
        rng.integers(0, 9, (2, 3, 20)).astype(float),
        np.minimum(rng.permuted(np.tile(np.arange(20.0), (2, 3, 1)), axis=-1), 14),
    )
    found = weighted_tau(x, y, top_weights(y))
    expected = [
        [weighted_tau(a[None], b, top_weights(b))[0] for a, b in zip(*pair, strict=True)] for pair in zip(x, y, strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    one = y[0, 0]
    alone = [[weighted_tau(row[None], one, top_weights(one))[0] for row in rows] for rows in x]
    np.testing.assert_allclose(weighted_tau(x, one, top_weights(one)), alone, atol=1e-12)
    np.testing.assert_allclose(weighted_tau(x[0, 0], y, top_weights(y)).shape, (2, 3))


def test_equal_tokens_share_their_weights() -> None:
    assert top_weights(np.array([3.0, 1, 3, 2])).tolist() == pytest.approx([0.75, 1 / 4, 0.75, 1 / 3])  # (1 + 1/2) / 2
    weights = top_weights(np.arange(200.0))
    assert weights[-10:].sum() / weights.sum() == pytest.approx(0.5, abs=0.005)  # what its description says


def test_a_mistake_at_the_top_costs_more_than_one_at_the_bottom() -> None:
    importance = np.arange(20.0)
    top, bottom = importance.copy(), importance.copy()
    top[[19, 18]], bottom[[0, 1]] = [18, 19], [1, 0]
    at_the_top, at_the_bottom = weighted_tau(np.stack([top, bottom]), importance, top_weights(importance))
    assert at_the_top < at_the_bottom < 1
    assert weighted_tau(importance[None], importance, top_weights(importance))[0] == pytest.approx(1)
    assert weighted_tau(-importance[None], importance, top_weights(importance))[0] == pytest.approx(-1)
    assert np.isnan(weighted_tau(np.ones((1, 20)), importance, top_weights(importance))).all()


def test_unrelated_scores_have_a_mean_of_zero_whatever_the_ties() -> None:
    rng = np.random.default_rng(1)
    importance = np.minimum(rng.permutation(20), 12.0)
    rows = rng.permuted(np.tile(np.arange(20) // 3, (20_000, 1)), axis=1).astype(float)
    found = weighted_tau(rows, importance, top_weights(importance))
    assert abs(found.mean()) < 4 * found.std() / np.sqrt(20_000)


@pytest.mark.parametrize(("n", "sizes"), [(16, [8, 8]), (25, [13, 12]), (43, [11, 11, 11, 10]), (205, [21] * 5 + [20] * 5)])
def test_within_bins_is_the_mean_of_partial_correlations(n: int, sizes: list[int]) -> None:
    rng = np.random.default_rng(n)
    row, importance = rng.integers(0, n, n).astype(float), np.minimum(rng.permutation(n), n - n // 4).astype(float)
    found, start = [], 0
    for size in sizes:
        design = sm.add_constant(np.arange(size, dtype=float))
        parts = [rankdata(values[start : start + size]) for values in (row, importance)]
        residuals = [sm.OLS(part, design).fit().resid for part in parts]
        if min(np.ptp(part) for part in parts) > 0:
            found.append(pearsonr(*residuals).statistic)
        start += size
    assert start == n
    assert spearman_within_bins(row, importance) == pytest.approx(np.mean(found), abs=1e-10)


def test_a_bent_trend_is_left_out_within_bins_and_not_by_a_line() -> None:
    rng = np.random.default_rng(2)
    bent = np.tanh(8 * np.linspace(-0.6, 1, 200))
    rows, importance = bent + 0.1 * rng.standard_normal((300, 200)), bent + 0.1 * rng.standard_normal((300, 200))
    line = [
        correlations(row[None], order)[0, TERMS.index("spearman_given_position")]
        for row, order in zip(rows, importance, strict=True)
    ]
    assert np.mean(line) > 0.15
    assert abs(spearman_within_bins(rows, importance).mean()) < 0.03


def test_short_chains_and_orders_that_position_fixes_have_no_value_within_bins() -> None:
    rng = np.random.default_rng(3)
    assert np.isnan(spearman_within_bins(rng.random((2, 15)), rng.random(15))).all()
    assert np.isnan(spearman_within_bins(rng.random((2, 40)), np.arange(40.0))).all()


def test_monotone_transforms_and_the_order_of_the_scorers_change_nothing() -> None:
    rng = np.random.default_rng(4)
    scores, importance = rng.integers(1, 20, (4, 50)).astype(float), np.minimum(rng.permutation(50), 35.0)
    found = all_terms(scores, importance)
    assert found.shape == (4, 7)
    np.testing.assert_allclose(all_terms(np.exp(scores), importance**3), found, atol=1e-12)
    np.testing.assert_allclose(all_terms(scores[::-1], importance), found[::-1], atol=1e-12)
    left, importance_left = given_position(scores).astype(float), given_position(importance).astype(float)
    np.testing.assert_allclose(found[:, 6], weighted_tau(left, importance_left, top_weights(importance)))


def test_never_deleted_tokens_are_compared_by_the_area_under_the_curve() -> None:
    rng = np.random.default_rng(5)
    scores, is_censored = rng.integers(0, 9, 40).astype(float), rng.random(40) < 0.3
    area = mannwhitneyu(scores[is_censored], scores[~is_censored]).statistic / (is_censored.sum() * (~is_censored).sum())
    ((raw, given),) = censored_terms(scores[None], is_censored)
    assert raw == pytest.approx(area - 0.5)
    degree = np.polynomial.legendre.legvander((2 * np.arange(40) - 39) / 40, 5)
    fit = sm.OLS(rankdata(scores) / 40, np.column_stack([is_censored.astype(float), degree])).fit()
    assert given == pytest.approx(fit.params[0])


def test_scores_that_follow_position_alone_say_nothing_of_the_never_deleted_given_position() -> None:
    scores, is_censored = np.arange(40.0), np.arange(40) % 4 == 3
    ((raw, given),) = censored_terms(scores[None], is_censored)
    assert raw != 0
    assert np.isnan(given)


def test_every_rho_is_scipys() -> None:
    rng = np.random.default_rng(6)
    scores, importance = rng.random((3, 30)), rng.permutation(30).astype(float)
    expected = [spearmanr(row, importance).statistic for row in scores]
    np.testing.assert_allclose(all_terms(scores, importance)[:, 0], expected)
