"""Correlations against hand computation, SciPy and statsmodels."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import kendalltau, pearsonr, rankdata, spearmanr

import analyses._statistics.correlation as correlation
from analyses._statistics.correlation import TERMS, correlations, given_position, partial_tau, spearman
from analyses._statistics.kendall import inversions, kendall


def draw(rng: np.random.Generator, n: int, rows: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Attention with ties, and a deletion order whose last quarter is censored."""
    received = rng.integers(0, max(3, n // 2), size=(rows, n)).astype(np.float32)
    importance = np.minimum(rng.permutation(n) + 1.0, n - n // 4)
    return received, importance


@pytest.mark.parametrize(
    ("x", "rho", "tau"),
    [
        ([1, 2, 3, 4], 1.0, 1.0),
        ([4, 3, 2, 1], -1.0, -1.0),
        ([1, 2, 4, 3], 0.8, 4 / 6),  # sum of squared rank differences 2: 1 - 12/60; one of six pairs in the wrong order
        ([2, 1, 4, 3], 0.6, 2 / 6),
        ([1, 1, 2, 2], 0.8944271909999159, 4 / np.sqrt(4 * 6)),  # 2/sqrt(5); four of the four untied pairs agree
    ],
)
def test_hand_computed_coefficients(x: list[int], rho: float, tau: float) -> None:
    y = np.array([1.0, 2.0, 3.0, 4.0])
    assert spearman(np.array(x), y) == pytest.approx(rho, abs=1e-15)
    assert kendall(np.array(x), y) == pytest.approx(tau, abs=1e-15)


@pytest.mark.parametrize("n", [5, 8, 9, 31, 150, 333, 1501])
def test_every_row_agrees_with_scipy(n: int) -> None:
    received, importance = draw(np.random.default_rng(n), n)
    expected = [(spearmanr(row, importance).statistic, kendalltau(row, importance).statistic) for row in received]
    np.testing.assert_allclose(
        np.stack([spearman(received, importance), kendall(received, importance)], 1), expected, atol=1e-13
    )


def test_rows_can_differ_on_both_sides() -> None:
    x, y = np.random.default_rng(0).random((2, 3, 4, 20))
    expected = [[kendalltau(a, b).statistic for a, b in zip(*pair, strict=True)] for pair in zip(x, y, strict=True)]
    np.testing.assert_allclose(kendall(x, y), expected, atol=1e-13)


@pytest.mark.parametrize("n", [5, 40, 300])
def test_pairs_counted_one_by_one_are_those_of_knights_method(n: int) -> None:
    received, importance = draw(np.random.default_rng(n), n)
    np.testing.assert_array_equal(
        kendall(np.tile(received, (60, 1)), importance)[:6], kendall(received, np.tile(importance, (len(received), 1)))
    )


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 8, 9, 64, 65])
def test_inversions_are_those_of_the_definition(n: int) -> None:
    ranks = np.random.default_rng(n).integers(1, n + 1, size=(5, n))
    expected = [sum(int(row[i] > row[j]) for i in range(n) for j in range(i + 1, n)) for row in ranks]
    assert inversions(ranks).tolist() == expected


def test_partial_spearman_is_the_correlation_of_residuals() -> None:
    received, importance = draw(np.random.default_rng(1), 80)
    column = TERMS.index("spearman_given_position")
    design = sm.add_constant(np.arange(80.0))
    residual = sm.OLS(rankdata(importance), design).fit().resid
    expected = [pearsonr(sm.OLS(rankdata(row), design).fit().resid, residual).statistic for row in received]
    np.testing.assert_allclose(correlations(received, importance)[:, column], expected, atol=1e-12)


def test_partial_spearman_is_the_textbook_formula() -> None:
    received, importance = draw(np.random.default_rng(1), 80)
    column, position = TERMS.index("spearman_given_position"), np.arange(80)
    yz = spearmanr(importance, position).statistic
    for row, found in zip(received, correlations(received, importance)[:, column], strict=True):
        xy, xz = spearmanr(row, importance).statistic, spearmanr(row, position).statistic
        assert found == pytest.approx((xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2)), abs=1e-13)


def test_kendall_given_position_is_the_tau_of_residuals() -> None:
    received, importance = draw(np.random.default_rng(2), 61)
    column, design = TERMS.index("kendall_given_position"), sm.add_constant(np.arange(61.0))
    residual = sm.OLS(rankdata(importance), design).fit().resid.round(9)  # rounded: least squares splits ties
    rows = [sm.OLS(rankdata(row), design).fit().resid.round(9) for row in received]
    expected = [kendalltau(row, residual).statistic for row in rows]
    np.testing.assert_allclose(correlations(received, importance)[:, column], expected, atol=1e-13)


def test_partial_tau_is_kendalls_formula() -> None:
    received, importance = draw(np.random.default_rng(2), 60)
    position = np.arange(60)
    yz = kendalltau(importance, position).statistic
    for row in received:
        xy, xz = kendalltau(row, importance).statistic, kendalltau(row, position).statistic
        expected = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
        found = partial_tau(kendall(row, importance), kendall(row, position), kendall(importance, position))
        assert found == pytest.approx(expected, abs=1e-13)
    assert np.isnan(partial_tau(kendall(position, importance), kendall(position, position), kendall(importance, position)))


def test_residuals_are_exact() -> None:
    assert given_position(np.array([3.0, 1.0, 2.0])).tolist() == [8, -16, 8]  # 8 (2, -2, 0) + 4 (-2, 0, 2)
    assert given_position(np.arange(40_000)[None]).tolist() == [[0] * 40_000]
    steps = np.random.default_rng(0).permutation(50_000)
    assert np.abs(given_position(steps)).max() < 2**62
    assert given_position(steps).sum() == 0
    assert given_position(np.random.default_rng(0).permutation(50_001)).dtype == np.float64


def test_position_alone_explains_away_a_shared_trend() -> None:
    rng = np.random.default_rng(3)
    position = np.arange(400)
    received = position + 60 * rng.standard_normal((200, 400))
    importance = rankdata(position + 60 * rng.standard_normal(400))
    found = dict(zip(TERMS, correlations(received, importance).mean(axis=0), strict=True))
    assert found["spearman"] > 0.6
    assert found["kendall"] > 0.4
    assert abs(found["spearman_given_position"]) < 0.05  # one order of deletion: 0 +- 1/sqrt(400)
    assert abs(found["kendall_given_position"]) < 0.05
    partial = partial_tau(kendall(received, importance), kendall(received, position), kendall(importance, position))
    assert partial.mean() > 0.15  # why it has no row in the table


def test_more_attention_for_later_deletions_is_positive() -> None:
    importance = np.random.default_rng(4).permutation(20) + 1.0
    assert correlations(np.stack([importance, -importance]), importance).tolist() == [[1.0] * 4, [-1.0] * 4]


def test_what_is_undefined_is_nan() -> None:
    rng = np.random.default_rng(5)
    received = np.stack([np.ones(12), np.arange(12.0), rng.random(12)])
    found = correlations(received, rng.permutation(12) + 1.0)
    given_position = [TERMS.index("spearman_given_position"), TERMS.index("kendall_given_position")]
    assert np.isnan(found[0]).all()  # constant
    assert np.isnan(found[1]).tolist() == [False, True, False, True]  # position itself
    assert np.isfinite(found[2]).all()
    assert np.isnan(correlations(received, np.arange(12.0))[2, given_position]).all()  # deleted in the order of position


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    received, importance = draw(np.random.default_rng(6), 40, rows=11)
    whole = correlations(received, importance)
    monkeypatch.setattr(correlation, "_CELLS_AT_ONCE", 80)
    np.testing.assert_array_equal(correlations(received, importance), whole)
