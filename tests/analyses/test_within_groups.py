"""Correlations within groups of rows, and ridge from sums of products, against independent implementations."""

import numpy as np
import pytest
from scipy.stats import pearsonr, rankdata, spearmanr
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from analyses._statistics.questions import pseudo_values
from analyses._statistics.ridge import products, ridge, squared_error
from analyses._statistics.within_groups import (
    centred,
    group_means,
    pearson,
    pearson_sums,
    spearman_within,
    spearman_within_given,
)

SIZES = (7, 30, 7, 52, 12)


@pytest.fixture
def rows():
    """Predictions with ties (two columns), outcome, place and group of rows."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(len(SIZES)), SIZES)
    outcome = rng.integers(0, 9, len(group)).astype(float)
    predicted = np.column_stack([outcome + rng.normal(0, 3, len(group)), rng.integers(0, 4, len(group))])
    place = np.concatenate([np.sort(rng.choice(200, size, replace=False)) / 200 for size in SIZES])
    return predicted, outcome, place, group


def test_spearman_within_groups_is_scipys_in_every_group(rows):
    predicted, outcome, place, group = rows
    expected = [[spearmanr(x, outcome[group == g]).statistic for x in predicted[group == g].T] for g in range(len(SIZES))]
    for found in (spearman_within(predicted, outcome, group), spearman_within_given(predicted, outcome, place, group)[0]):
        np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("degree", [2, 3, 7])
def test_held_constant_is_what_regressions_of_the_ranks_leave(rows, degree):
    predicted, outcome, place, group = rows
    number = {2: 0, 3: 4, 7: 1}[degree]  # groups of 7, 12 and 30 rows
    chosen = group == number
    powers = np.vander(place[chosen], degree + 1)[:, :-1]
    left = [
        ranks - LinearRegression().fit(powers, ranks).predict(powers)
        for ranks in (rankdata(values) for values in (outcome[chosen], *predicted[chosen].T))
    ]
    expected = [pearsonr(x, left[0]).statistic for x in left[1:]]
    np.testing.assert_allclose(spearman_within_given(predicted, outcome, place, group)[1][number], expected, atol=1e-9)


def test_an_order_that_place_fixes_is_held_constant_whole(rows):
    _, outcome, _, group = rows
    place = np.concatenate([np.arange(size) / size for size in SIZES])
    assert np.isnan(spearman_within_given(outcome[:, None], place, place, group)[1]).all()
    np.testing.assert_array_equal(spearman_within_given(place[:, None], outcome, place, group)[1], 0)


def test_what_does_not_vary_is_told_apart(rows):
    _, outcome, place, group = rows
    flat = np.column_stack([np.ones(len(group)), group.astype(float)])
    assert (spearman_within(flat, outcome, group) == 0).all()
    assert (spearman_within_given(flat, outcome, place, group)[1] == 0).all()
    assert np.isnan(spearman_within(outcome[:, None], group.astype(float), group)).all()
    four = np.repeat(np.arange(2), 4)
    assert np.isnan(spearman_within_given(np.arange(8.0)[:, None], np.arange(8.0) % 3, np.arange(8) / 8, four)[1]).all()


def test_monotone_transforms_change_no_rank_correlation(rows):
    predicted, outcome, place, group = rows
    for by in (lambda x, y: spearman_within(x, y, group), lambda x, y: spearman_within_given(x, y, place, group)[1]):
        np.testing.assert_array_equal(by(predicted, outcome), by(predicted**3, np.exp(outcome)))


def test_pearson_from_sums_is_scipys_and_its_jackknife_a_plain_loop(rows):
    predicted, outcome, _, unit = rows
    sums = pearson_sums(predicted, outcome, unit)
    expected = [pearsonr(x, outcome).statistic for x in predicted.T]
    np.testing.assert_allclose(pearson(sums.sum(axis=0)[None])[0], expected, atol=1e-12)
    without = np.array([[pearsonr(x, outcome[unit != g]).statistic for x in predicted[unit != g].T] for g in range(5)])
    values = pseudo_values(sums, pearson)
    np.testing.assert_allclose(values.mean(axis=0), expected, atol=1e-12)
    np.testing.assert_allclose(values - values.mean(axis=0), 4 * (without.mean(axis=0) - without), atol=1e-10)


def test_pearson_without_variation(rows):
    _, outcome, _, group = rows
    flat = np.full((len(group), 1), 0.1)
    assert pearson(pearson_sums(flat, outcome, group).sum(axis=0)[None]) == 0
    assert np.isnan(pearson(pearson_sums(outcome[:, None], flat[:, 0], group).sum(axis=0)[None]))


def test_means_of_groups_are_taken_off_and_rounding_leaves_nothing(rows):
    predicted, _, _, group = rows
    means = np.array([predicted[group == g].mean(axis=0) for g in range(5)])
    np.testing.assert_allclose(group_means(predicted, group), means, atol=1e-12)
    np.testing.assert_allclose(centred(predicted, group), predicted - means[group], atol=1e-12)
    assert (centred(np.array([0.1, 0.7])[np.minimum(group, 1)][:, None], group) == 0).all()


@pytest.fixture
def regression():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(80, 6)) * [1, 10, 0.1, 1, 1, 1] + 3
    x[:, 4] = x[:, 0] - 2 * x[:, 1]  # follows from others
    x[:, 5] = 7.0
    return x, x[:, 0] + 0.3 * x[:, 1] + rng.normal(size=80)


@pytest.mark.parametrize("penalty", [1e-3, 0.1, 10.0])
def test_ridge_is_that_of_scikit_learn(regression, penalty):
    x, y = regression
    theirs = make_pipeline(StandardScaler(), Ridge(alpha=80 * penalty)).fit(x, y)
    (ours,) = ridge(products(x, y), np.array([penalty]))
    np.testing.assert_allclose(ours[0] + x @ ours[1:], theirs.predict(x), atol=1e-8)
    assert ours[6] == 0


def test_sums_without_some_rows_are_those_of_the_others(regression):
    x, y = regression
    penalties = np.array([0.01, 1.0])
    left = products(x, y) - products(x[:30], y[:30])
    found = ridge(left, penalties)
    np.testing.assert_allclose(found, ridge(products(x[30:], y[30:]), penalties), atol=1e-8)
    expected = [((y[:30] - row[0] - x[:30] @ row[1:]) ** 2).sum() for row in found]
    np.testing.assert_allclose(squared_error(products(x[:30], y[:30]), found), expected, rtol=1e-8)


def test_no_column_predicts_by_the_mean():
    y = np.array([1.0, 2.0, 6.0])
    assert ridge(products(np.empty((3, 0)), y), np.array([0.1])).tolist() == [[3.0]]
