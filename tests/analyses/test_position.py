"""Groups of tokens compared at the same position: against statsmodels and by hand."""

import numpy as np
import pytest
import statsmodels.api as sm

from analyses._statistics.position import (
    MOST_INFLATION,
    adjusted_contrasts,
    contrasts_given_position,
    contrasts_of_means,
    position_terms,
    rank_terms,
    raw_contrasts,
)

LEVELS_AND_DIFFERENCE = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, -1]])


def one_of(groups: np.ndarray, n_groups: int = 3) -> np.ndarray:
    return groups[:, None] == np.arange(n_groups)


def test_means_and_their_differences_by_hand() -> None:
    outcome = np.array([0.2, 0.4, 0.6, 0.8, 1.0])
    member = one_of(np.array([0, 0, 2, -1, 2]))  # the fourth token is in no group, and the second group has no token
    assert contrasts_of_means(outcome, member, LEVELS_AND_DIFFERENCE).tolist() == pytest.approx(
        [0.3, np.nan, 0.8, -0.5], nan_ok=True
    )


@pytest.mark.parametrize(("n", "degree"), [(20, 2), (31, 3), (39, 4), (40, 5), (90, 5)])
def test_values_given_position_are_those_of_a_least_squares_fit(n: int, degree: int) -> None:
    rng = np.random.default_rng(n)
    groups = rng.integers(-1, 3, n)
    outcome = (rng.permutation(n) + 1.0) / n
    found = contrasts_given_position(outcome, one_of(groups), LEVELS_AND_DIFFERENCE)
    used = groups >= 0
    place = np.linspace(0, 1, n)[used]
    powers = place[:, None] ** np.arange(1, degree + 1)
    fit = sm.OLS(outcome[used], np.column_stack([one_of(groups)[used], powers]).astype(float)).fit()
    at_all_positions = [fit.predict(np.column_stack([np.tile(row, (len(powers), 1)), powers])).mean() for row in np.eye(3)]
    assert found.tolist() == pytest.approx([*at_all_positions, at_all_positions[0] - at_all_positions[2]], abs=1e-9)
    assert found[3] == pytest.approx(fit.params[0] - fit.params[2], abs=1e-9)


@pytest.mark.parametrize("shape", [lambda u: (u - 0.4) ** 2, lambda u: u**3 - u, lambda u: (u + 0.5) ** 2 * (u - 0.6)])
def test_what_position_alone_explains_is_no_difference(shape: object) -> None:
    place = np.linspace(-1, 1, 48)
    groups = np.clip(np.floor((place + 1 + np.random.default_rng(0).normal(0, 0.4, 48)) * 1.5), 0, 2).astype(int)
    outcome = shape(place)  # type: ignore[operator]
    raw = contrasts_of_means(outcome, one_of(groups), LEVELS_AND_DIFFERENCE)
    given = contrasts_given_position(outcome, one_of(groups), LEVELS_AND_DIFFERENCE)
    assert abs(raw[3]) > 0.02
    assert given[3] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("outcome", [np.arange(40.0), -np.arange(40.0), np.minimum(np.arange(40.0), 25)])
def test_an_order_that_position_fixes_leaves_nothing(outcome: np.ndarray) -> None:
    groups = np.random.default_rng(1).integers(0, 3, 40)
    assert np.isnan(contrasts_given_position(outcome, one_of(groups), LEVELS_AND_DIFFERENCE)).all()


def test_groups_that_share_no_position_are_not_compared() -> None:
    rng = np.random.default_rng(2)
    outcome = rng.permutation(60) / 60
    groups = np.where(np.arange(60) < 20, 0, rng.integers(1, 3, 60))  # the first stands alone at the beginning
    found = contrasts_given_position(outcome, one_of(groups), LEVELS_AND_DIFFERENCE)
    assert np.isnan(found).tolist() == [True, False, False, True]


@pytest.mark.parametrize("seed", range(20))
def test_a_value_is_given_up_if_the_regression_inflates_its_variance_beyond_the_limit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 24
    groups = np.digitize(np.arange(n) / n + rng.normal(0, 0.2, n), [0.33, 0.66])
    outcome = rng.permutation(n) / n
    place = np.linspace(-1, 1, n)
    fit = sm.OLS(outcome, np.column_stack([one_of(groups), place[:, None] ** [1, 2, 3]]).astype(float)).fit()
    powers_at_average = np.array([(place**power).mean() for power in (1, 2, 3)])
    rows = np.column_stack([LEVELS_AND_DIFFERENCE, LEVELS_AND_DIFFERENCE.sum(axis=1)[:, None] * powers_at_average])
    variance = np.diag(rows @ fit.normalized_cov_params @ rows.T)
    without = LEVELS_AND_DIFFERENCE**2 @ (1 / one_of(groups).sum(axis=0))
    found = contrasts_given_position(outcome, one_of(groups), LEVELS_AND_DIFFERENCE)
    assert np.isnan(found).tolist() == (variance / without > MOST_INFLATION).tolist()


def test_too_few_tokens_leave_nothing() -> None:
    groups = np.array([0, 1, 2, 0, 1])
    assert np.isnan(contrasts_given_position(np.array([0.2, 0.6, 0.4, 1, 0.8]), one_of(groups), LEVELS_AND_DIFFERENCE)).all()


def test_many_chains_at_once_are_many_chains_one_by_one() -> None:
    rng = np.random.default_rng(4)
    member = np.stack([one_of(rng.integers(-1, 2 + chain % 2, 40)) for chain in range(5)])  # some without the third group
    outcomes, covariate = rng.random((5, 40, 3)), rng.random((5, 40))
    outcomes[1, :, 2] = np.arange(40)
    covariates = np.concatenate([np.broadcast_to(position_terms(40), (5, 40, 5)), rank_terms(covariate)], axis=-1)
    found = adjusted_contrasts(outcomes, member, LEVELS_AND_DIFFERENCE, covariates)
    for chain in range(5):
        alone = adjusted_contrasts(outcomes[chain], member[chain], LEVELS_AND_DIFFERENCE, covariates[chain])
        np.testing.assert_allclose(found[chain], alone, atol=1e-12)
        means = [contrasts_of_means(outcome, member[chain], LEVELS_AND_DIFFERENCE) for outcome in outcomes[chain].T]
        np.testing.assert_allclose(raw_contrasts(outcomes, member, LEVELS_AND_DIFFERENCE)[chain].T, means, atol=1e-12)
    assert np.isnan(found[0, [2, 3]]).all()
    assert np.isfinite(found[0, :2]).all()
    assert np.isnan(found[1, :, 2]).all(), "position alone fixes this outcome"


def test_values_given_surprisal_are_those_of_a_least_squares_fit() -> None:
    rng = np.random.default_rng(8)
    groups, surprisal, outcome = rng.integers(-1, 2, 50), rng.standard_exponential(50), rng.random(50)
    covariates = np.column_stack([position_terms(50), rank_terms(surprisal)])
    found = adjusted_contrasts(outcome[:, None], one_of(groups, 2), np.array([[1.0, -1.0]]), covariates)
    used, place = groups >= 0, np.linspace(-1, 1, 50)
    rank = surprisal.argsort().argsort() / 49
    columns = [one_of(groups, 2)[used], place[used, None] ** np.arange(1, 6), rank[used, None] ** np.arange(1, 4)]
    fit = sm.OLS(outcome[used], np.column_stack(columns).astype(float)).fit()
    assert found.item() == pytest.approx(fit.params[0] - fit.params[1], abs=1e-9)
    again = np.column_stack([position_terms(50), rank_terms(np.log(surprisal))])
    np.testing.assert_array_equal(again, covariates)


def test_an_order_that_surprisal_fixes_leaves_nothing_given_surprisal() -> None:
    rng = np.random.default_rng(9)
    surprisal = rng.random(40)
    member, covariates = one_of(rng.integers(0, 2, 40), 2), np.column_stack([position_terms(40), rank_terms(surprisal)])
    outcomes = np.exp(surprisal)[:, None]
    assert np.isnan(adjusted_contrasts(outcomes, member, np.array([[1.0, -1.0]]), covariates, along=surprisal)).all()
