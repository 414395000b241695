"""Pairs of yes-or-no outcomes: tests and interval against published numbers, statsmodels, definitions, and all outcomes."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import binom, norm
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from analyses._statistics.paired import mcnemar_exact, p_above, p_different, score_interval, score_statistic


def counts(*numbers: int) -> list[np.ndarray]:
    return [np.array([number]) for number in numbers]


@pytest.mark.parametrize(
    ("gained", "lost", "n", "exact", "score"),
    [(1, 7, 21, 0.0703, 0.0339), (6, 16, 161, 0.052479, 0.033006)],
    ids=["Bentur 2009, in Fagerland 2013", "Cavo 2012, R contingencytables"],
)
def test_mcnemar_gives_published_p_values(gained: int, lost: int, n: int, exact: float, score: float) -> None:
    assert mcnemar_exact(*counts(gained, lost))[0] == pytest.approx(exact, abs=5e-5)
    assert p_different(*counts(gained, lost, n))[0] == pytest.approx(score, abs=5e-5)


def test_p_values_agree_with_statsmodels() -> None:
    gained, lost = (each.ravel() for each in np.mgrid[:9, :9])
    exact, score = mcnemar_exact(gained, lost), p_different(gained, lost, gained + lost + 7)
    for number, (gains, losses) in enumerate(zip(gained, lost, strict=True)):
        table = [[3, gains], [losses, 4]]
        assert exact[number] == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue, abs=1e-12)
        if gains + losses:
            expected = statsmodels_mcnemar(table, exact=False, correction=False).pvalue
            assert score[number] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_interval_leaves_out_zero_exactly_if_the_p_value_says_so(confidence: float) -> None:
    gained, lost = (each.ravel() for each in np.mgrid[:31, :31])
    table = [each[gained + lost <= 30] for each in (gained, lost, np.full(gained.shape, 30))]
    low, high = score_interval(*table, confidence=confidence)
    np.testing.assert_array_equal((low > 0) | (high < 0), p_different(*table) <= 1 - confidence)


def rejected(n: int, differing: float, level: float) -> float:
    """Probability that the score test rejects if gains and losses are equally likely: by the number of pairs that differ."""
    n_differing = np.arange(1, n + 1)
    fewest = np.floor((n_differing - norm.isf(level / 2) * np.sqrt(n_differing)) / 2 + 1e-9)
    return float((binom.pmf(n_differing, n, differing) * 2 * binom.cdf(fewest, n_differing, 0.5)).sum())


@pytest.mark.parametrize("n", [8, 12, 21, 30, 50, 100, 300, 1000])
def test_false_positives_of_the_score_test_stay_at_their_level_whatever_share_differs(n: int) -> None:
    for differing in np.linspace(0.01, 0.6, 60):
        assert rejected(n, differing, 0.05) < 0.056
        assert rejected(n, differing, 0.01) < 0.01


@pytest.mark.parametrize(("n", "fewest"), [(30, 0.1), (100, 0.04), (300, 0.02)])
def test_false_positives_of_the_score_test_reach_3_per_cent_once_three_pairs_or_so_differ(n: int, fewest: float) -> None:
    assert rejected(n, fewest - 0.01, 0.05) < rejected(n, fewest, 0.05)
    for differing in np.linspace(fewest, 0.6, 60):
        assert 0.03 < rejected(n, differing, 0.05) < 0.055


@pytest.mark.parametrize(
    ("gained", "lost", "n", "confidence", "low", "high", "digits"),
    [
        (6, 16, 161, 0.95, -0.1240, -0.0054, 4),
        (1, 7, 21, 0.95, -0.517, -0.026, 3),
        (28, 25, 618, 0.90, -0.0148, 0.0247, 4),
    ],
    ids=["Cavo 2012, R contingencytables", "Bentur 2009, R ratesci", "R PropCIs"],
)
def test_score_interval_gives_published_limits(
    gained: int, lost: int, n: int, confidence: float, low: float, high: float, digits: int
) -> None:
    found = score_interval(*counts(gained, lost, n), confidence=confidence)
    assert [round(end[0], digits) for end in found] == [low, high]


def test_score_statistic_has_the_variance_of_the_likeliest_shares_with_that_difference() -> None:
    gained, lost, n, difference = 4, 9, 30, 0.15

    def surprise(share_lost: float) -> float:
        share_gained = share_lost + difference
        rest = 1 - share_lost - share_gained
        return -(gained * np.log(share_gained) + lost * np.log(share_lost) + (n - gained - lost) * np.log(rest))

    likeliest = minimize_scalar(surprise, bounds=(1e-9, (1 - difference) / 2 - 1e-9), options={"xatol": 1e-12}).x
    variance = n * (2 * likeliest + difference - difference**2)
    expected = (gained - lost - n * difference) / np.sqrt(variance)
    assert score_statistic(*counts(gained, lost, n), difference)[0] == pytest.approx(expected, abs=1e-6)


def test_without_a_pair_that_differs_the_interval_has_a_width_and_nothing_is_shown() -> None:
    z = norm.ppf(0.975)
    low, high = score_interval(*counts(0, 0, 30), confidence=0.95)
    assert [low[0], high[0]] == pytest.approx([-(z**2) / (30 + z**2), z**2 / (30 + z**2)])
    assert mcnemar_exact(*counts(0, 0))[0] == p_different(*counts(0, 0, 30))[0] == 1


def test_ends_of_the_interval_are_where_the_one_sided_p_value_is_half_of_what_may_be_missed() -> None:
    table = counts(3, 8, 60)
    low, high = score_interval(*table, confidence=0.9)
    assert p_above(*table, low[0])[0] == pytest.approx(0.05, abs=1e-9)
    assert p_above(*table, high[0])[0] == pytest.approx(0.95, abs=1e-9)


@pytest.mark.parametrize(("gained", "lost"), [(20, 0), (0, 20)])
def test_if_all_pairs_differ_the_interval_ends_at_one(gained: int, lost: int) -> None:
    low, high = score_interval(*counts(gained, lost, 20), confidence=0.95)
    nearest = high if gained else -low
    assert nearest[0] == pytest.approx(1)
    assert -1 <= low[0] < high[0] <= 1
    assert np.isfinite(p_above(*counts(gained, lost, 20), 0.0)).all()
