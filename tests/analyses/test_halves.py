"""Columns chosen on one half of the questions and judged on the other, against a plain loop."""

import numpy as np
import pytest

from analyses._statistics.halves import best_column, judge, random_halves


def draw(n_questions: int, n_columns: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.1, 0.3, size=(n_questions, n_columns))


def halves_of(n_questions: int, halvings: int = 20) -> np.ndarray:
    return random_halves(n_questions, halvings=halvings, rng=np.random.default_rng(1))


@pytest.mark.parametrize("n_questions", [2, 5, 8])
def test_a_halving_is_two_rows_that_share_no_question_and_miss_none(n_questions: int) -> None:
    halves = halves_of(n_questions)
    assert halves.shape == (40, n_questions)
    assert (halves[::2] == ~halves[1::2]).all()
    assert set(halves.sum(axis=1)) == {n_questions // 2, n_questions - n_questions // 2}
    assert len({row.tobytes() for row in halves}) > 1


@pytest.mark.parametrize("n_questions", [2, 3, 4, 9])
@pytest.mark.parametrize("either_sign", [False, True])
def test_choices_and_judgements_are_those_of_a_plain_loop(n_questions: int, either_sign: bool) -> None:
    values, halves = draw(n_questions) - 0.1, halves_of(n_questions)
    judgements: list[list[float]] = [[] for _ in range(n_questions)]
    squares, freedom = 0.0, 0
    found = judge(values, halves, either_sign=either_sign)
    for number, half in enumerate(halves):
        means = [values[half, column].mean() for column in range(5)]
        sizes = [abs(mean) for mean in means] if either_sign else means
        column = sizes.index(max(sizes))
        sign = -1 if either_sign and means[column] < 0 else 1
        assert (found.column[number], found.sign[number]) == (column, sign)
        others = sign * values[~half, column]
        assert found.of_half[number] == pytest.approx(others.mean())
        squares += float(((others - others.mean()) ** 2).sum())
        freedom += len(others) - 1
        for question, value in zip(np.flatnonzero(~half), others, strict=True):
            judgements[question].append(value)
    assert {len(of_question) for of_question in judgements} == {20}
    np.testing.assert_allclose(found.of_question, [np.mean(of_question) for of_question in judgements])
    assert found.estimate == pytest.approx(np.mean(judgements))
    if n_questions < 4:
        assert np.isnan(found.for_inference).all()
    else:
        assert found.for_inference.mean() == pytest.approx(found.estimate)
        assert found.for_inference.std(ddof=1) == pytest.approx(np.sqrt(squares / freedom))


def test_a_column_that_is_always_chosen_is_judged_as_if_it_were_alone() -> None:
    values = draw(10)
    values[:, 3] += 5
    found = judge(values, halves_of(10))
    assert set(found.column) == {3}
    np.testing.assert_allclose(found.of_question, values[:, 3])
    assert found.estimate == pytest.approx(values[:, 3].mean())


def test_the_names_of_the_columns_do_not_matter() -> None:
    values, order = draw(10), np.array([4, 2, 0, 1, 3])
    found, renamed = judge(values, halves_of(10)), judge(values[:, order], halves_of(10))
    assert order[renamed.column].tolist() == found.column.tolist()
    np.testing.assert_allclose(renamed.of_question, found.of_question)


def test_equal_columns_and_questions_have_no_spread() -> None:
    found = judge(np.full((6, 3), 0.25), halves_of(6))
    assert set(found.column) == {0}
    assert found.estimate == 0.25
    assert np.isnan(found.for_inference).all()


def test_a_mean_below_zero_is_chosen_only_if_either_sign_will_do() -> None:
    means = np.array([[0.1, -0.4, 0.3]])
    assert [each.tolist() for each in best_column(means, either_sign=False)] == [[2], [1.0]]
    assert [each.tolist() for each in best_column(means, either_sign=True)] == [[1], [-1.0]]
