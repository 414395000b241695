"""Correlations under circular shifts, against SciPy and a plain loop."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from analyses._statistics.correlation import centred_ranks, given_position
from analyses._statistics.shifts import ShiftedMeans, shifted_correlations


@pytest.mark.parametrize("n", [5, 8, 13, 50])
def test_every_shift_agrees_with_scipy(n: int) -> None:
    rng = np.random.default_rng(n)
    rows, order = rng.integers(0, n, size=(4, n)), np.minimum(rng.permutation(n), n - 2)
    found = shifted_correlations(centred_ranks(rows), centred_ranks(order))
    expected = [[spearmanr(row, np.roll(order, places)).statistic for row in rows] for places in range(n)]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_residuals_are_shifted_as_they_are() -> None:
    rng = np.random.default_rng(0)
    rows, order = (given_position(rng.random((size, 20))).astype(float) for size in (3, 1))
    found = shifted_correlations(rows, order[0])
    expected = [[np.corrcoef(row, np.roll(order[0], places))[0, 1] for row in rows] for places in range(20)]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_constant_row_or_order_has_no_value() -> None:
    rows = centred_ranks(np.array([[1.0, 1, 1, 1, 1], [1, 2, 3, 4, 5]]))
    assert np.isnan(shifted_correlations(rows, rows[1])).tolist() == [[True, False]] * 5
    assert np.isnan(shifted_correlations(rows, rows[0])).all()


def tables(rng: np.random.Generator, sizes: list[list[int]], n_columns: int) -> list[list[np.ndarray]]:
    """Correlations under all shifts of every chain of every question."""
    return [
        [shifted_correlations(centred_ranks(rng.random((n_columns, n))), centred_ranks(rng.random(n))) for n in of_question]
        for of_question in sizes
    ]


@pytest.mark.parametrize("either_sign", [False, True])
def test_p_values_are_those_of_a_plain_loop(either_sign: bool) -> None:
    rng = np.random.default_rng(3)
    n_columns, draws = 4, 60
    questions = tables(rng, [[7, 9], [8], [6, 6, 12], [10]], n_columns)
    questions[2][1][:, 1] = np.nan  # a column that is missing in one chain
    questions[3][0][:, 3] = np.nan  # and one that is missing in a question
    shifts = [[rng.integers(0, len(table), size=draws) for table in of_question] for of_question in questions]
    found = ShiftedMeans(draws=draws, n_columns=n_columns)
    for of_question, places in zip(questions, shifts, strict=True):
        found.add(list(zip(of_question, places, strict=True)))

    def values(draw: int | None) -> np.ndarray:
        """(questions, columns) under one draw of the shifts, or as they are."""
        rows = []
        for of_question, places in zip(questions, shifts, strict=True):
            each = [table[0 if draw is None else place[draw]] for table, place in zip(of_question, places, strict=True)]
            rows.append([np.nan if np.isnan(column).all() else np.nanmean(column) for column in np.transpose(each)])
        return np.array(rows)

    family = [0, 1, 2]
    variance = [
        sum(
            (np.nan_to_num(table[:, column]) ** 2).mean() / np.isfinite([other[0, column] for other in of_question]).sum() ** 2
            for of_question in questions
            for table in of_question
        )
        for column in family
    ]

    def statistics(draw: int | None) -> np.ndarray:
        of_draw = np.nan_to_num(values(draw))
        spread = np.sqrt(((of_draw - of_draw.mean(axis=0)) ** 2).sum())
        found = of_draw[:, family].sum(axis=0) / np.sqrt(variance) / spread
        return np.abs(found) if either_sign else found

    largest = np.array([statistics(draw).max() for draw in range(draws)])
    expected = [(1 + (largest >= value).sum()) / (1 + draws) for value in statistics(None)]
    p_values = found.p_max(either_sign=either_sign)
    np.testing.assert_allclose(p_values[family], expected)
    assert np.isnan(p_values[3])


def test_an_order_that_a_column_shares_is_found_and_the_smallest_p_value_is_one_over_the_draws() -> None:
    rng = np.random.default_rng(4)
    found = ShiftedMeans(draws=99, n_columns=3)
    for _ in range(6):
        order = rng.permutation(30)
        rows = np.stack([rng.random(30), order, rng.random(30)])
        found.add([(shifted_correlations(centred_ranks(rows), centred_ranks(order)), rng.integers(1, 30, size=99))])
    p_values = found.p_max()
    assert p_values[1] == 0.01  # one over a hundred: none of 99 draws is as large
    assert p_values[[0, 2]].min() > 0.05


def test_shifts_that_change_nothing_count_against_it() -> None:
    rng = np.random.default_rng(5)
    found = ShiftedMeans(draws=50, n_columns=2)
    for (table,) in tables(rng, [[9], [11], [8]], 2):
        found.add([(table, np.zeros(50, dtype=np.int64))])
    assert found.p_max().max() == 1
    assert found.p_max().min() == 1


def test_one_question_has_no_p_value() -> None:
    found = ShiftedMeans(draws=20, n_columns=2)
    ((table,),) = tables(np.random.default_rng(6), [[9]], 2)
    found.add([(table, np.arange(20) % 9)])
    assert np.isnan(found.p_max()).all()
