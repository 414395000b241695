"""Families of tests, detectable effects, averages over questions."""

import itertools

import numpy as np
import pytest
from scipy.stats import permutation_test, ttest_1samp
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from analyses._statistics.families import adjust, max_t, random_signs
from analyses._statistics.power import detectable_effect, questions_needed
from analyses._statistics.questions import question_index, question_means


def test_holm_by_hand() -> None:
    # smallest first: 3 x 0.01, 2 x 0.03, 1 x 0.04 raised to the one before
    assert adjust(np.array([0.01, 0.04, np.nan, 0.03]), "holm").tolist() == pytest.approx(
        [0.03, 0.06, np.nan, 0.06], nan_ok=True
    )


def test_benjamini_hochberg_by_hand() -> None:
    # 3/1 x 0.01, 3/2 x 0.03 lowered to the one after, 3/3 x 0.04
    assert adjust(np.array([0.01, 0.04, np.nan, 0.03]), "fdr_bh").tolist() == pytest.approx(
        [0.03, 0.04, np.nan, 0.04], nan_ok=True
    )


@pytest.mark.parametrize("method", ["holm", "fdr_bh"])
@pytest.mark.parametrize("size", [1, 2, 7, 270])
def test_adjustments_agree_with_statsmodels(method: str, size: int) -> None:
    p_values = np.random.default_rng(size).random(size) ** 3
    p_values[size // 2 :] = np.round(p_values[size // 2 :], 1)  # ties, zeros and ones
    expected = multipletests(p_values, method=method)[1]
    np.testing.assert_allclose(adjust(p_values, method), expected, rtol=1e-12)


def all_signs(n_questions: int) -> np.ndarray:
    return np.array(list(itertools.product([-1.0, 1.0], repeat=n_questions)))


def test_max_t_is_a_loop_over_all_signs_with_the_t_statistics_of_scipy() -> None:
    values = np.random.default_rng(0).normal([0.9, 0.3, 0, -0.5], size=(7, 4))
    observed = np.abs(ttest_1samp(values, 0).statistic)
    largest = [np.abs(ttest_1samp(signs[:, None] * values, 0).statistic).max() for signs in all_signs(7)]
    expected = [(1 + sum(maximum >= t - 1e-9 for maximum in largest)) / 129 for t in observed]
    assert max_t(values, all_signs(7)).tolist() == expected


def test_max_t_of_one_column_is_the_sign_test_of_scipy() -> None:
    values = np.random.default_rng(1).standard_normal(8) + 0.4
    exact = permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf)
    (found,) = max_t(values[:, None], all_signs(8))
    assert found == pytest.approx((1 + 256 * exact.pvalue) / 257)


def test_max_t_is_of_the_columns_that_have_a_value_everywhere() -> None:
    rng = np.random.default_rng(3)
    values = 0.4 + 0.5 * rng.standard_normal((12, 6))
    signs = random_signs(12, draws=999, rng=rng)
    assert set(np.unique(signs)) == {-1, 1}
    alone = max_t(values, signs)
    missing, constant = values[:, :1].copy(), np.full((12, 1), 0.3)
    missing[3] = np.nan
    beside = max_t(np.hstack([values, missing, constant]), signs)
    np.testing.assert_array_equal(beside[:6], alone)
    assert np.isnan(beside[6:]).all()
    assert np.isnan(max_t(missing, signs)).all()


def test_a_family_without_tests_stays_empty() -> None:
    assert np.isnan(adjust(np.full(3, np.nan), "holm")).all()


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("n_questions", [2, 3, 8, 20, 100])
def test_statsmodels_gives_the_detectable_effect_four_fifths_power(n_questions: int, confidence: float) -> None:
    effect = detectable_effect(0.25, n_questions, confidence=confidence) / 0.25
    # with the right sign: half of a two-sided test
    power = TTestPower().power(effect, nobs=n_questions, alpha=(1 - confidence) / 2, alternative="larger")
    assert power == pytest.approx(0.8, abs=1e-6)


def test_detectable_effect_is_found_in_four_of_five_samples() -> None:
    effect = detectable_effect(1.0, 2, confidence=0.95)  # where the noncentral t is at its hardest
    samples = effect + np.random.default_rng(0).standard_normal((40_000, 2))
    statistics = samples.mean(axis=1) / (samples.std(axis=1, ddof=1) / np.sqrt(2))
    assert (statistics > 12.7062).mean() == pytest.approx(0.8, abs=4 * np.sqrt(0.16 / 40_000))


def test_detectable_effect_needs_two_questions() -> None:
    assert np.isnan(detectable_effect(float("nan"), 1, confidence=0.95))
    assert detectable_effect(0.0, 8, confidence=0.95) == 0


@pytest.mark.parametrize(("sides", "alternative"), [(2, "two-sided"), (1, "larger")])
@pytest.mark.parametrize(("sd", "effect"), [(0.4, 0.02), (0.25, -0.1), (0.1, 0.12)])
def test_questions_needed_are_the_fewest_with_power_by_statsmodels(
    sd: float, effect: float, sides: int, alternative: str
) -> None:
    needed = questions_needed(sd, effect, confidence=0.95, sides=sides)
    powers = [TTestPower().power(abs(effect) / sd, nobs=n, alpha=0.05, alternative=alternative) for n in (needed - 1, needed)]
    assert powers[0] < 0.8 <= powers[1]


def test_questions_needed_are_two_if_they_hardly_differ_and_unknown_if_they_do_not() -> None:
    assert questions_needed(1e-15, 0.02, confidence=0.95) == 2
    assert np.isnan(questions_needed(0.0, 0.02, confidence=0.95))
    assert np.isnan(questions_needed(float("nan"), 0.02, confidence=0.95))


def test_chains_are_averaged_within_their_question() -> None:
    questions = question_index(["b", "a", "b", "c"])
    assert questions.tolist() == [0, 1, 0, 2]
    values = np.array([[1.0, np.nan], [5.0, 2.0], [3.0, 4.0], [np.nan, np.nan]])
    np.testing.assert_array_equal(question_means(values, questions), [[2, 4], [5, 2], [np.nan, np.nan]])
