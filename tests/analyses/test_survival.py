"""Kaplan-Meier curves, restricted means, retention and Cox's model: against statsmodels and by hand."""

from collections.abc import Callable

import numpy as np
import pytest
import statsmodels.api as sm

from analyses._statistics.cox import Deletions, deletions_of, leave_one_out, log_hazard_ratios
from analyses._statistics.survival import kaplan_meier, kept_at_ratios, relative_times, restricted_times, shares_left

NAN = np.nan


def one_of(groups: np.ndarray, n_groups: int = 3) -> np.ndarray:
    return groups[:, None] == np.arange(n_groups)


def drawn(seed: int, n: int, *, keep: float, block: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Groups of tokens (-1 = none), and deletion steps that depend on them; ``block`` tokens go together."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(-1, 3, n)
    step = (rng.standard_exponential(n) * np.exp(0.5 * groups)).argsort().argsort() // block + 1.0
    step[step > (n - int(keep * n)) // block] = np.nan
    return groups, step


def test_a_token_that_is_never_deleted_is_censored_at_the_last_deletion() -> None:
    time, is_deleted = relative_times(np.array([2, NAN, 1, 3, NAN]))
    assert time.tolist() == [0.4, 0.6, 0.2, 0.6, 0.6]
    assert is_deleted.tolist() == [True, False, True, True, False]


def test_a_chain_by_hand() -> None:
    time, is_deleted = relative_times(np.array([2, NAN, 1, 3, NAN]))
    member = one_of(np.array([0, 0, 1, 1, -1]))
    found = shares_left(time, is_deleted, member, np.array([0.1, 0.2, 0.4, 0.6]))
    assert found.tolist()[:2] == [[1, 1, 0.5, 0.5], [1, 0.5, 0.5, 0]]
    assert np.isnan(found[2]).all()
    # the first group: 0.4 and 0.6 at most, the second: 0.2 and 0.6
    assert restricted_times(time, is_deleted, 0.6).tolist() == [0.4, 0.6, 0.2, 0.6, 0.6]
    assert restricted_times(time, is_deleted, 0.3).tolist() == [0.3, 0.3, 0.2, 0.3, 0.3]


@pytest.mark.parametrize(("keep", "block"), [(0, 1), (0.3, 1), (0.3, 5)])
def test_curves_and_restricted_means_of_a_chain_are_those_of_statsmodels(
    keep: float, block: int, curve_of: Callable[..., Callable[..., np.ndarray]], area: Callable[..., float]
) -> None:
    groups, step = drawn(1, 60, keep=keep, block=block)
    time, is_deleted = relative_times(step)
    at = np.linspace(0.05, time.max(), 9)
    shares = shares_left(time, is_deleted, one_of(groups), at)
    for group in range(3):
        chosen = groups == group
        curve = curve_of(time[chosen], is_deleted[chosen])
        np.testing.assert_allclose(shares[group], curve(at), atol=1e-12)
        np.testing.assert_allclose(kaplan_meier(time[chosen], is_deleted[chosen], at), curve(at), atol=1e-12)
        for horizon in (0.3, time.max()):
            mean = restricted_times(time, is_deleted, horizon)[chosen].mean()
            assert mean == pytest.approx(area(curve, time[chosen], horizon), abs=1e-12)


def test_the_curve_of_chains_that_end_at_different_times_is_that_of_statsmodels(
    curve_of: Callable[..., Callable[..., np.ndarray]],
) -> None:
    parts = [relative_times(drawn(seed, n, keep=keep)[1]) for seed, n, keep in ((1, 30, 0.6), (2, 50, 0.2), (3, 44, 0.4))]
    time, is_deleted = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    at = np.linspace(0.05, 0.8, 16)
    found = kaplan_meier(time, is_deleted, at)
    np.testing.assert_allclose(found, curve_of(time, is_deleted)(at), atol=1e-12)
    assert np.isnan(kaplan_meier(time, is_deleted, np.array([0.81]))).all(), "after the last token was censored"
    assert kaplan_meier(np.array([0.5]), np.array([True]), np.array([0.9])).tolist() == [0]
    assert np.isnan(kaplan_meier(np.empty(0), np.empty(0, dtype=bool), np.array([0.5]))).all()


def test_what_is_kept_at_ratios_by_hand() -> None:
    # ten tokens, deleted in steps of two, two, three and one; two are left
    step = np.array([1, 1, 2, 2, 3, 3, 3, 4, NAN, NAN])
    kept, achieved = kept_at_ratios(step, np.array([1.0, 0.9, 0.8, 0.5, 0.2, 0.1]))
    assert achieved.tolist() == pytest.approx([1, 0.8, 0.8, 0.3, 0.2, NAN], nan_ok=True)
    assert kept.sum(axis=0).tolist()[:5] == [10, 8, 8, 3, 2]
    assert kept[:, 3].tolist() == [False] * 7 + [True] * 3


def tokens_of_questions(n_questions: int, *, block: int = 1) -> tuple[np.ndarray, ...]:
    """Time, whether deleted, groups as columns, and number of the chain of tokens: two chains on each question."""
    columns = []
    for chain in range(2 * n_questions):
        groups, step = drawn(chain, 20 + chain % 7, keep=0.2, block=block)
        columns.append((*relative_times(step), one_of(groups), np.full(len(step), chain)))
    return tuple(np.concatenate(column) for column in zip(*columns, strict=True))


@pytest.mark.parametrize("block", [1, 4])
def test_hazard_ratios_are_those_of_statsmodels(block: int) -> None:
    time, is_deleted, member, chain = tokens_of_questions(6, block=block)
    found = log_hazard_ratios(deletions_of(time, is_deleted, member, chain), reference=2)
    used = member.any(axis=1)
    time, is_deleted, member, chain = time[used], is_deleted[used], member[used].astype(float), chain[used]
    fit = sm.PHReg(time, member[:, :2], is_deleted.astype(int), strata=chain, ties="efron").fit()
    np.testing.assert_allclose(found, [*fit.params, 0], atol=1e-6)


def test_the_jackknife_is_close_to_fitting_again_and_to_the_sandwich_of_questions() -> None:
    time, is_deleted, member, chain = tokens_of_questions(20)
    every = deletions_of(time, is_deleted, member, chain)
    question = chain[every.token] // 2
    estimate = log_hazard_ratios(every, reference=2)
    pseudo = leave_one_out(every, question, 20, estimate, reference=2)
    np.testing.assert_allclose(pseudo[:, :2].mean(axis=0), estimate[:2], atol=1e-12)
    assert np.isnan(pseudo[:, 2]).all()
    again = np.array([log_hazard_ratios(every.where(question != left_out), reference=2) for left_out in range(20)])
    pull = 19 * (estimate - again)
    np.testing.assert_allclose((pseudo - estimate)[:, :2], (pull - pull.mean(axis=0))[:, :2], atol=0.02)
    used = member.any(axis=1)
    dummies, strata = member[used][:, :2].astype(float), chain[used]
    model = sm.PHReg(time[used], dummies, is_deleted[used].astype(int), strata=strata, ties="efron")
    fit = model.fit(groups=strata // 2)
    np.testing.assert_allclose(pseudo[:, :2].std(axis=0, ddof=1) / np.sqrt(20), fit.bse, rtol=0.12)


def of_one_chain(step: np.ndarray, groups: np.ndarray) -> Deletions:
    return deletions_of(*relative_times(step), one_of(groups), np.zeros(len(step), dtype=int))


def test_a_group_that_is_never_deleted_or_goes_first_throughout_has_no_ratio() -> None:
    step = np.arange(1, 13.0)
    groups = np.array([0] * 4 + [1] * 4 + [2] * 4)
    assert np.isnan(log_hazard_ratios(of_one_chain(step, groups), reference=2)).all(), "no maximum"
    step[groups == 0] = NAN
    mixed = np.where(np.arange(12) % 2 == 0, 1, 2)
    ratios = log_hazard_ratios(of_one_chain(step, np.where(groups == 0, 0, mixed)), reference=2)
    assert np.isnan(ratios[0])
    assert np.isfinite(ratios[1:]).all()
    without = log_hazard_ratios(of_one_chain(step[4:], mixed[4:]), reference=2)
    np.testing.assert_allclose(ratios[1:], without[1:], atol=1e-8)


def test_only_the_order_within_a_chain_matters_to_hazard_ratios() -> None:
    groups, step = drawn(5, 40, keep=0.3)
    found = log_hazard_ratios(of_one_chain(step, groups), reference=2)
    shuffled = np.random.default_rng(0).permutation(40)
    for other in (of_one_chain(step**3, groups), of_one_chain(step[shuffled], groups[shuffled])):
        np.testing.assert_allclose(log_hazard_ratios(other, reference=2), found, atol=1e-12)


@pytest.mark.parametrize("block", [1, 3])
def test_who_could_have_been_deleted_by_hand(block: int) -> None:
    # two chains; of the first, tokens of group 0, 1, 0 go at 1, 2, 3 and one of group 1 is left; or the first three together
    time = np.array([1, 2, 3, 3, 5, 5]) if block == 1 else np.array([3, 3, 3, 3, 5, 5])
    is_deleted = np.array([True, True, True, False, True, False])
    member = one_of(np.array([0, 1, 0, 1, 1, 0]), 2)
    found = deletions_of(time, is_deleted, member, np.array([0, 0, 0, 0, 1, 1]))
    together = [[2, 2], [2 - 2 / 3, 2 - 1 / 3], [2 - 4 / 3, 2 - 2 / 3]]
    expected = [[2, 2], [1, 2], [1, 1]] if block == 1 else together
    np.testing.assert_allclose(found.at_risk, [*expected, [1, 1]])
    assert found.group.tolist() == [0, 1, 0, 1]
    assert found.token.tolist() == [0, 1, 2, 4]
