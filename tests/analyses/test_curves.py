"""Curves read between known points, and Friedman's test, against SciPy and NumPy."""

import numpy as np
import pytest
from scipy.stats import friedmanchisquare

from analyses._statistics.curves import gaps_at, weights_at, weights_of_mean
from analyses._statistics.friedman import friedman

PLACES = np.array([0.0, 0.1, 0.35, 0.4, 0.8])
VALUES = np.array([[0.0, 0.5, 0.2, -0.3, 2.0], [0.0, 1.0, 1.0, 4.0, 8.0]])


def test_reading_between_points_is_that_of_numpy() -> None:
    wanted = np.array([0.0, 0.05, 0.1, 0.3999, 0.4, 0.77, 0.8])
    expected = np.stack([np.interp(wanted, PLACES, curve) for curve in VALUES])
    np.testing.assert_allclose(VALUES @ weights_at(PLACES, wanted), expected, atol=1e-15)


def test_a_curve_has_no_value_where_it_does_not_reach() -> None:
    found = VALUES @ weights_at(PLACES, np.array([-0.01, 0.8 + 1e-12, 0.81]))
    assert np.isnan(found).tolist() == [[True, False, True]] * 2


@pytest.mark.parametrize(("start", "end"), [(0.0, 0.8), (0.0, 0.4), (0.2, 0.37), (0.36, 0.39), (0.1, 0.35)])
def test_the_mean_is_the_trapezoid_of_numpy_over_the_same_knots(start: float, end: float) -> None:
    knots = np.unique([start, *[place for place in PLACES if start < place < end], end])
    expected = [np.trapezoid(np.interp(knots, PLACES, curve), knots) / (end - start) for curve in VALUES]
    assert (VALUES @ weights_of_mean(PLACES, start, end)).tolist() == pytest.approx(expected, abs=1e-14)


def test_the_mean_by_hand() -> None:
    # a triangle of height 2 over half of the width, and nothing over the other half
    places, curve = np.array([0.0, 0.25, 0.5, 1.0]), np.array([0.0, 2.0, 0.0, 0.0])
    assert curve @ weights_of_mean(places, 0.0, 1.0) == pytest.approx(0.5)
    assert curve @ weights_of_mean(places, 0.0, 0.5) == pytest.approx(1.0)
    assert np.isnan(curve[:3] @ weights_of_mean(places[:3], 0.0, 0.6))


def test_gaps_are_the_stretches_between_known_points() -> None:
    assert gaps_at(PLACES, np.array([0.0, 0.05, 0.1, 0.2, 0.4, 0.5])).tolist() == pytest.approx([0, 0.1, 0, 0.25, 0, 0.4])


@pytest.mark.parametrize("kind", ["ranks", "ties"])
def test_friedman_is_that_of_scipy(kind: str) -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((3, 9, 4)) if kind == "ranks" else rng.integers(0, 3, (3, 9, 4)).astype(float)
    found = friedman(values)
    for sample, statistic, p_value in zip(values, found.statistic, found.p_value, strict=True):
        expected = friedmanchisquare(*sample.T)
        assert (statistic, p_value) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-12)


def test_friedman_by_hand() -> None:
    # ranks 1 2 3, 1 3 2, 1 2 3, 1 3 2: sums 4, 10, 10; 12 / (4 * 3 * 4) * (16 + 100 + 100) - 3 * 4 * 4 = 6
    values = np.array([[0.1, 0.2, 0.3], [5, 7, 6], [-3, -2, -1], [0, 9, 8]])
    found = friedman(values)
    assert found.mean_ranks.tolist() == [1, 2.5, 2.5]
    assert found.statistic == pytest.approx(6)
    assert found.p_value == pytest.approx(np.exp(-3))  # chi-squared with two degrees of freedom


def test_friedman_of_ties_throughout_has_no_value() -> None:
    found = friedman(np.ones((5, 3)))
    assert np.isnan(found.statistic)
    assert np.isnan(found.p_value)
