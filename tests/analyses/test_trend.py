"""Trends over ordered conditions: Page's test and slopes."""

import itertools

import numpy as np
import pytest
from scipy.stats import norm, page_trend_test

from analyses._statistics.trend import page_test, slope_weights, slopes


def test_page_agrees_with_scipy_without_ties() -> None:
    rng = np.random.default_rng(0)
    for shape in [(5, 3), (20, 6), (100, 4)]:
        values = rng.random(shape) + 0.1 * np.arange(shape[1])
        expected = page_trend_test(values, method="asymptotic")
        assert page_test(values) == pytest.approx((expected.statistic, expected.pvalue), abs=1e-12)


def test_page_with_ties_has_the_variance_of_all_orders() -> None:
    values = np.array([[0, 0, 1], [0, 1, 1], [0, 0, 0]])
    statistics = [page_test(np.array(rows))[0] for rows in itertools.product(*(itertools.permutations(row) for row in values))]
    expected = (page_test(values)[0] - np.mean(statistics)) / np.std(statistics)
    assert expected == pytest.approx(np.sqrt(3))  # 1.5 above the mean in two questions each, with variances of 1.5
    assert page_test(values)[1] == pytest.approx(norm.sf(expected))


def test_questions_that_are_tied_throughout_have_no_trend_to_test() -> None:
    assert np.isnan(page_test(np.ones((4, 3)))[1])


def test_slopes_are_those_of_least_squares() -> None:
    places = np.array([0, 0.1, 0.3, 0.5])
    values = np.random.default_rng(1).random((6, 4))
    np.testing.assert_allclose(slopes(values, places), np.polyfit(places, values.T, 1)[0], atol=1e-12)
    assert slope_weights(places).sum() == pytest.approx(0, abs=1e-12)
