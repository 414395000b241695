"""Intervals of shares: Wilson's, what several answers are worth, and bounded values of which most are alike."""

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from analyses._statistics.bootstrap import bootstrap_means, resample_counts
from analyses._statistics.shares import bounded_means, effective_answers, wilson_interval

N = 30
RESAMPLES = resample_counts(N, draws=999, rng=np.random.default_rng(0))


def upper_limit(count: int, *, confidence: float = 0.95) -> float:
    """Clopper and Pearson, by statsmodels."""
    return float(proportion_confint(count, N, alpha=1 - confidence, method="beta")[1])


def of_differences(*columns: list[float], confidence: float = 0.95) -> list[tuple[float, float, float]]:
    """Interval and p-value of columns of 30 values: those that are given, and zeros."""
    values = np.zeros((N, len(columns)))
    for number, column in enumerate(columns):
        values[: len(column), number] = column
    found = bounded_means(values, RESAMPLES, confidence=confidence, lowest=-1, highest=1)
    return list(zip(found.ci_low, found.ci_high, found.p_value, strict=True))


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_wilson_agrees_with_statsmodels(confidence: float) -> None:
    successes = np.array([0, 1, 15, 29, 30])
    low, high = wilson_interval(successes / 30, np.full(5, 30), confidence=confidence)
    expected = proportion_confint(successes, 30, alpha=1 - confidence, method="wilson")
    np.testing.assert_allclose([low, high], expected, atol=1e-12)


def worth(shares: list[float], n_answers: int) -> float:
    return float(effective_answers(np.array(shares)[:, None], np.array([n_answers]))[0])


def test_one_answer_for_each_question_is_worth_one_and_so_is_a_question_whose_answers_are_all_alike() -> None:
    assert worth([1, 0, 0, 1, 1, 0, 1], 7) == 7
    assert worth([1, 0, 0, 1, 1, 0, 1], 56) == 7
    assert worth([1.0] * 20, 160) == worth([0.0] * 20, 160) == 20


def test_the_worth_of_answers_follows_from_how_far_questions_differ() -> None:
    # mean 0.5, squares 4 * 0.25^2 and 2 * 0.5 * 0.5^2 of the half questions; 0.5 of 5 * 0.25, by 4 / 3 for what is estimated
    assert worth([0.25, 0.75, 0.25, 0.75], 40) == pytest.approx(4 / (0.5 / 1.25 * 4 / 3))
    assert worth([0.5] * 400, 800) == 800, "no more than there are"


def test_answers_that_are_all_independent_are_worth_about_as_many_as_they_are() -> None:
    shares = np.random.default_rng(0).binomial(8, 0.5, size=(5000, 1)) / 8
    assert effective_answers(shares, np.array([40_000]))[0] == pytest.approx(40_000, rel=0.05)


def test_questions_without_answers_are_not_counted() -> None:
    assert worth([0.25, np.nan, 0.75, 0.25, np.nan, 0.75], 40) == pytest.approx(worth([0.25, 0.75, 0.25, 0.75], 40))
    assert worth([np.nan, np.nan], 0) == 1


def test_values_that_vary_have_the_interval_of_the_bootstrap_cut_at_the_ends() -> None:
    values = np.random.default_rng(1).choice([0, 0.5, 1], size=(N, 4), p=[0.1, 0.5, 0.4])
    values[:15] = np.linspace(0, 1, 15)[:, None]
    values[:, 3] = np.linspace(-3, 1, N)
    plain = bootstrap_means(values, RESAMPLES, confidence=0.95)
    found = bounded_means(values, RESAMPLES, confidence=0.95, lowest=-1, highest=1)
    assert (plain.ci_low < -1).any()
    np.testing.assert_array_equal(found.ci_low, np.maximum(plain.ci_low, -1))
    np.testing.assert_array_equal(found.ci_high, plain.ci_high)
    np.testing.assert_array_equal(found.p_value, plain.p_value)


def test_no_interval_is_wider_than_if_each_question_that_differs_counted_in_full() -> None:
    few = [1.0, 0.125, -0.125, 0.125]  # most resamples hold the large one seldom: the bootstrap has an interval, a wide one
    [(low, high, p_value)] = of_differences(few)
    plain = bootstrap_means(np.array([[*few, *[0.0] * (N - 4)]]).T, RESAMPLES, confidence=0.95)
    assert plain.ci_high[0] > upper_limit(3)
    assert (low, high) == (pytest.approx(-upper_limit(1)), pytest.approx(upper_limit(3)))
    assert p_value == plain.p_value[0]


def test_three_questions_that_all_differ_bound_nothing() -> None:
    values, resamples = np.array([[0.5], [0.6], [0.7]]), resample_counts(3, draws=199, rng=np.random.default_rng(0))
    found = bounded_means(values, resamples, confidence=0.95, lowest=-1, highest=1)
    assert [found.ci_low[0], found.ci_high[0]] == [-1, 1]


def test_if_no_question_differs_the_interval_is_as_wide_as_the_share_that_may_have_been_missed() -> None:
    [(low, high, p_value)] = of_differences([])
    assert (low, high, p_value) == (pytest.approx(-upper_limit(0)), pytest.approx(upper_limit(0)), 1)


def test_one_or_two_questions_that_differ_count_as_much_as_a_difference_can() -> None:
    one, two, both = of_differences([-0.125], [-1, -0.5], [0.5, -0.5])
    assert one[:2] == (pytest.approx(-upper_limit(1)), pytest.approx(upper_limit(0)))
    assert two[:2] == (pytest.approx(-upper_limit(2)), pytest.approx(upper_limit(0)))
    assert both[:2] == (pytest.approx(-upper_limit(1)), pytest.approx(upper_limit(1)))
    assert all(row[2] > 0.05 for row in (one, two, both))


def test_the_interval_of_values_that_are_all_alike_leaves_out_zero_where_the_p_value_says_so() -> None:
    for n in range(4, 12):
        values, resamples = np.full((n, 1), -0.5), resample_counts(n, draws=199, rng=np.random.default_rng(0))
        found = bounded_means(values, resamples, confidence=0.95, lowest=-1, highest=1)
        assert found.p_value[0] == pytest.approx(min(1, 2 * (2 / 3) ** n))  # none of n where a third of them is at 1
        assert (found.ci_high[0] < 0) == (found.p_value[0] <= 0.05)
        assert found.ci_low[0] < -0.5 < found.ci_high[0]


def test_all_right_or_all_wrong_reaches_the_end_of_the_range_and_no_further() -> None:
    values = np.ones((N, 2)) * [1, 0]
    found = bounded_means(values, RESAMPLES, confidence=0.95, lowest=0, highest=1)
    assert found.ci_high.tolist() == pytest.approx([1, upper_limit(0)])
    assert found.ci_low.tolist() == pytest.approx([1 - upper_limit(0), 0])


def test_one_question_has_no_interval_and_missing_values_are_no_questions() -> None:
    values = np.full((N, 2), np.nan)
    values[0, 0] = 1
    values[:5, 1] = 1
    found = bounded_means(values, RESAMPLES, confidence=0.95, lowest=0, highest=1)
    assert np.isnan([found.ci_low[0], found.ci_high[0], found.p_value[0]]).all()
    assert found.n_questions.tolist() == [1, 5]
    assert found.ci_low[1] == pytest.approx(1 - proportion_confint(0, 5, method="beta")[1])
