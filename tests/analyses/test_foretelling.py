"""How well rankings foretell an order, against SciPy, hand-worked numbers and a loop over random tie breaks."""

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from analyses._statistics.correlation import correlations
from analyses._statistics.foretelling import TERMS, foretold, lowest_of_any, overlap


def test_each_term_is_that_of_scipy_or_of_rank_correlation() -> None:
    rng = np.random.default_rng(0)
    rankings, after = np.round(rng.standard_normal((3, 15)), 1), np.minimum(rng.permutation(15), 11)
    found = foretold(rankings, after, 3)
    for ranking, values in zip(rankings, found, strict=True):
        by_term = dict(zip(TERMS, values, strict=True))
        assert by_term["kendall"] == pytest.approx(kendalltau(ranking, after).statistic)
        assert by_term["spearman"] == pytest.approx(spearmanr(ranking, after).statistic)
        assert by_term["kendall_given_position"] == pytest.approx(correlations(ranking[None], after.astype(float))[0, 3])


@pytest.mark.parametrize(
    ("ranking", "after", "expected"),
    [
        ([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], 1.0),
        ([6, 5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6], -0.5),  # none of two in six: (0 - 1/3) / (1 - 1/3)
        ([1, 3, 2, 4, 5, 6], [1, 2, 3, 4, 5, 6], 0.25),  # one of two: (1/2 - 1/3) / (2/3)
        ([1, 2, 2, 2, 5, 6], [1, 2, 3, 4, 5, 6], 0.5),  # one, and a third of another: (2/3 - 1/3) / (2/3)
        ([1, 2, 3, 4, 5, 6], [1, 7, 7, 7, 7, 7], np.nan),  # of the next two, one is not known
        ([1, 1, 1, 1, 1, 1], [1, 2, 3, 4, 5, 6], np.nan),
    ],
)
def test_overlap_by_hand(ranking: list[int], after: list[int], expected: float) -> None:
    assert overlap(np.array(ranking), np.array(after), 2) == pytest.approx(expected, nan_ok=True)


def test_ties_count_as_random_breaks_do_on_average() -> None:
    rng = np.random.default_rng(1)
    ranking, after = rng.integers(0, 4, 12).astype(float), rng.permutation(12)
    broken = ranking + 0.5 * rng.random((20_000, 12))
    assert overlap(ranking, after, 5) == pytest.approx(overlap(broken, after, 5).mean(), abs=0.01)


def test_random_rankings_foretell_nothing_on_average() -> None:
    rng = np.random.default_rng(2)
    rankings = rng.standard_normal((20_000, 12))
    found = foretold(rankings, np.minimum(np.arange(12), 8), 3)
    errors = found.std(axis=0) / np.sqrt(len(found))
    assert (np.abs(found.mean(axis=0)) < 4 * errors).all()


@pytest.mark.parametrize("window", [0, 12, 20])
def test_a_window_of_nothing_or_of_all_has_no_overlap(window: int) -> None:
    assert np.isnan(overlap(np.arange(12), np.arange(12), window))


def test_only_the_order_of_a_ranking_matters() -> None:
    rng = np.random.default_rng(3)
    rankings, after = rng.standard_normal((4, 10)), rng.permutation(10)
    np.testing.assert_array_equal(foretold(rankings, after, 3), foretold(np.exp(3 * rankings) + 7, after, 3))


def test_the_lowest_of_either_ranking() -> None:
    rankings = np.array([[[3, 1, 2, 5], [4, 3, 0, 0]], [[1, 9, 9, 9], [2, 3, 4, 5]]])
    assert lowest_of_any(rankings).tolist() == [[False, True, True, False], [True, False, False, False]]
