"""Pairs of yes-or-no outcomes: McNemar and Tango against published numbers, statsmodels and their definitions."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from analyses._statistics.paired import mcnemar, p_above, score_interval, score_statistic


def counts(*numbers: int) -> list[np.ndarray]:
    return [np.array([number]) for number in numbers]


@pytest.mark.parametrize(
    ("gained", "lost", "exact", "mid_p"),
    [(1, 7, 0.0703, 0.0391), (6, 16, 0.052479, 0.034690)],
    ids=["Bentur 2009, in Fagerland 2013", "Cavo 2012, R contingencytables"],
)
def test_mcnemar_gives_published_p_values(gained: int, lost: int, exact: float, mid_p: float) -> None:
    found = mcnemar(*counts(gained, lost))
    assert found.exact[0] == pytest.approx(exact, abs=5e-5)
    assert found.mid_p[0] == pytest.approx(mid_p, abs=5e-5)


def test_mcnemar_agrees_with_statsmodels() -> None:
    gained, lost = (each.ravel() for each in np.mgrid[:9, :9])
    found = mcnemar(gained, lost)
    for number, (gains, losses) in enumerate(zip(gained, lost, strict=True)):
        expected = statsmodels_mcnemar([[3, gains], [losses, 4]], exact=True).pvalue
        assert found.exact[number] == pytest.approx(expected, abs=1e-12)
    assert (found.mid_p <= found.exact).all()


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
    assert mcnemar(*counts(0, 0)).exact[0] == 1


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
