"""What a strategy keeps at a threshold: the rule that all share, and the published ones with their worked numbers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning_anatomy import plugins
from reasoning_anatomy.errors import PluginError
from reasoning_anatomy.pruning import HasThresholdRule, UsesPassRate, kept_at
from reasoning_anatomy.pruning._threshold import kept_without, unit_ends
from reasoning_anatomy.pruning.h2o import deletion_order
from reasoning_anatomy.pruning.random_steps import RandomSteps
from reasoning_anatomy.pruning.random_tokens import RandomTokens
from reasoning_anatomy.pruning.step_budget import StepBudget
from reasoning_anatomy.pruning.step_percentile import StepPercentile
from reasoning_anatomy.pruning.traac import Traac
from reasoning_anatomy.steps import uniformity
from reasoning_anatomy.types import FloatArray, IntArray, PruningPath

SHARES = [0, 0.01, 0.1, 0.25, 0.3, 0.5, 0.6, 0.75, 0.9, 0.99, 1]
RULES = ["step_percentile", "step_budget:budget=mass", "step_budget:budget=steps", "traac:difficulty=ignored"]


def path_of(deleted: list[int], n: int, *, unit: list[int] | None = None, unit_score: list[float] | None = None) -> PruningPath:
    k = len(deleted)
    return PruningPath(
        "Made()", n, np.array(deleted, dtype=np.int64), np.full(k, np.nan), 0, *np.full((3, k + 1), np.nan),
        unit=None if unit is None else np.array(unit), unit_score=None if unit_score is None else np.array(unit_score),
    )  # fmt: skip


def steps_of_two(*scores: float) -> PruningPath:
    """A path of steps of two tokens each, in the order of the text, which is that of their scores."""
    assert list(scores) == sorted(scores)
    n = 2 * len(scores)
    return path_of(list(range(n)), n, unit=[k // 2 for k in range(n)], unit_score=list(scores))


def n_deleted(spec: str, scores: list[float], threshold: float, **known: float) -> int:
    """Number of steps that a strategy deletes."""
    path = steps_of_two(*sorted(scores))
    return len(scores) - len(kept_at(plugins.load("strategy", spec), path, threshold, **known)) // 2


@pytest.mark.parametrize("threshold", [-0.1, 1.01, math.nan, math.inf])
@pytest.mark.parametrize("spec", ["random_tokens", "step_percentile"])
def test_a_threshold_outside_0_to_1_is_refused(spec, threshold):
    with pytest.raises(
        PluginError, match=f"threshold {threshold}: is a share, from 0 .delete nothing. to 1; give one in between"
    ):
        kept_at(plugins.load("strategy", spec), steps_of_two(1, 2), threshold)


def test_single_tokens_go_as_far_as_the_share_says():
    path = path_of([3, 0, 4, 1, 2], 5)
    kept = {t: kept_at(RandomTokens(), path, t).tolist() for t in (0, 0.19, 0.2, 0.6, 0.999, 1)}
    assert kept == {0: [0, 1, 2, 3, 4], 0.19: [0, 1, 2, 3, 4], 0.2: [0, 1, 2, 4], 0.6: [1, 2], 0.999: [2], 1: [2]}


def test_shares_that_floats_cannot_hold_are_not_rounded_down():
    path = path_of(list(range(10)), 10)
    assert 0.1 + 0.2 > 0.3 > 0.7 - 0.4
    assert [len(kept_at(RandomTokens(), path, t)) for t in (0.1 + 0.2, 0.3, 0.7 - 0.4)] == [7, 7, 7]


def test_whole_steps_go_as_many_as_fit():
    path = path_of([4, 5, 6, 7, 8, 9, 0, 1, 2, 3], 10, unit=[0] * 3 + [1] * 3 + [2] * 4)
    kept = {t: len(kept_at(RandomSteps(), path, t)) for t in (0, 0.29, 0.3, 0.59, 0.6, 1)}
    assert kept == {0: 10, 0.29: 10, 0.3: 7, 0.59: 7, 0.6: 4, 1: 4}
    assert kept_at(RandomSteps(), path, 1).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("spec", [*RULES, "random_steps", "step_greedy", "step_budget"])
def test_a_chain_of_one_step_is_kept_whole_by_steps_and_its_last_token_by_tokens(spec):
    strategy, path = plugins.load("strategy", spec), steps_of_two(0.5)
    if spec == "step_budget":
        path = path_of([0, 1], 2)
    kept = [kept_at(strategy, path, threshold).tolist() for threshold in SHARES]
    assert kept[0] == [0, 1]
    assert kept[-1] == ([1] if spec == "step_budget" else [0, 1])


@pytest.mark.parametrize(
    ("spec", "at_one"),
    [("step_percentile", 0), ("traac:difficulty=ignored", 0), ("step_budget:budget=steps", 3), ("step_budget:budget=mass", 3),
     ("random_steps", 3)],
)  # fmt: skip
def test_equal_scores_delete_nothing_where_the_rule_compares_and_their_share_where_it_counts(spec, at_one):
    assert n_deleted(spec, [0.25] * 4, 0) == 0
    assert n_deleted(spec, [0.25] * 4, 0.5) == (2 if at_one else 0)
    assert n_deleted(spec, [0.25] * 4, 1) == at_one


@pytest.mark.parametrize("spec", [*RULES, "random_steps", "step_greedy"])
@given(scores=st.lists(st.floats(0, 1), min_size=1, max_size=7), thresholds=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_a_higher_threshold_keeps_no_more_and_never_nothing(spec, scores, thresholds):
    strategy, path = plugins.load("strategy", spec), steps_of_two(*sorted(scores))
    more, less = (set(kept_at(strategy, path, threshold).tolist()) for threshold in sorted(thresholds))
    assert {path.n_reasoning - 2, path.n_reasoning - 1} <= less <= more
    assert all((position ^ 1) in less for position in less)  # the other token of its step


def test_a_path_that_ends_early_answers_as_far_as_it_goes():
    path = path_of([1, 3], 5)
    assert kept_at(RandomTokens(), path, 0.4).tolist() == [0, 2, 4]
    assert kept_at(RandomTokens(), path, 0.59).tolist() == [0, 2, 4]
    with pytest.raises(PluginError, match=r"Made\(\): its path ends when 3 of 5 tokens are left, before the threshold 0.6; "):
        kept_at(RandomTokens(), path, 0.6)


def test_a_path_without_deletions_keeps_all():
    assert kept_at(RandomTokens(), path_of([], 3), 0).tolist() == [0, 1, 2]
    assert unit_ends(path_of([], 3, unit=[])).tolist() == []


def test_what_is_left_after_some_deletions_may_cut_a_step():
    path = path_of([2, 3, 0, 1], 4, unit=[0, 0, 1, 1])
    assert [kept_without(path, k).tolist() for k in range(5)] == [[0, 1, 2, 3], [0, 1, 3], [0, 1], [1], []]
    assert unit_ends(path).tolist() == [2, 4]


@pytest.mark.parametrize("spec", [spec for spec in RULES if "percentile" not in spec])
def test_strategies_with_rules_of_their_own_say_so(spec):
    assert isinstance(plugins.load("strategy", spec), HasThresholdRule)
    assert not isinstance(plugins.load("strategy", "step_greedy"), HasThresholdRule)


@pytest.mark.parametrize(
    ("k", "threshold", "expected"), [(5, 0.1, 1), (5, 0.3, 2), (5, 0.5, 2), (6, 0.5, 3), (5, 1, 4), (1, 1, 0)]
)
def test_percentile_deletes_the_worked_number_of_steps(k, threshold, expected):
    assert n_deleted("step_percentile", [(step + 1) ** 2 for step in range(k)], threshold) == expected


@given(scores=st.sets(st.integers(1, 10**6), min_size=1, max_size=30), percent=st.integers(0, 100))
def test_percentile_of_distinct_scores_deletes_a_share_of_all_but_one_rounded_up(scores, percent):
    expected = -(-percent * (len(scores) - 1) // 100)
    assert n_deleted("step_percentile", [score / 7 for score in scores], percent / 100) == expected


def test_ties_at_the_percentile_are_kept():
    assert n_deleted("step_percentile", [1, 2, 2, 2, 3], 0.5) == 1  # the median is 2
    assert n_deleted("step_percentile", [-3, -1, -1, 0], 0.6) == 1  # -1


@pytest.mark.parametrize(("pass_rate", "expected"), [(1, 4), (0.8, 4), (0.79, 3), (0.3, 3), (0.29, 1), (0, 1)])
def test_traac_deletes_the_worked_number_of_steps_by_difficulty(pass_rate, expected):
    scores = [0.01] * 9 + [0.9]
    assert uniformity(np.array(scores)) == pytest.approx(0.2191, abs=5e-5)
    assert n_deleted("traac", scores, 0.6, pass_rate=pass_rate) == expected


def test_traac_spares_steps_that_are_alike():
    scores = [0.2, 0.03, 0.02, 0.05]
    assert uniformity(np.array(scores)) == pytest.approx(0.7067, abs=5e-5)
    assert [n_deleted("traac", scores, t, pass_rate=1) for t in (0.6, 1)] == [0, 1]  # int(4 * 0.176), int(4 * 0.2933)
    assert uniformity(np.array([5, 4, 4, 3])) > 0.8
    assert n_deleted("traac", [5, 4, 4, 3], 1, pass_rate=1) == 0


@pytest.mark.parametrize(
    ("scores", "expected"), [([3.0], 1), ([0.0, 0.0], 1), ([1.0, 1.0], 1), ([0.0, 1.0], 0), ([-1.0, 1.0], 0)]
)
def test_uniformity_at_its_ends(scores, expected):
    assert uniformity(np.array(scores)) == pytest.approx(expected, abs=1e-9)


def test_traac_never_deletes_more_than_four_fifths_of_the_steps():
    scores = [0.0] * 9 + [1.0]  # U = 0
    assert [n_deleted("traac:difficulty=ignored", scores, t) for t in (0.2, 0.6, 0.8, 1)] == [2, 6, 8, 8]


def test_traac_without_a_pass_rate_says_what_it_needs():
    with pytest.raises(PluginError, match=r"strategy 'traac': needs to know .*; give .* or write traac:difficulty=ignored"):
        kept_at(Traac(), steps_of_two(1, 1), 0.6)
    assert len(kept_at(Traac(), steps_of_two(1, 1), 0)) == 4


def test_budget_of_mass_deletes_while_the_summed_importance_fits():
    # sums 2, 4, 6, 8 of 20: 0.1, 0.3, 0.6, 1
    found = [n_deleted("step_budget:budget=mass", [1, 2, 3, 4], t) for t in (0.09, 0.1, 0.29, 0.3, 0.6, 0.99, 1)]
    assert found == [0, 1, 1, 2, 3, 3, 3]


def test_budget_of_mass_counts_the_tokens_of_a_step_if_its_score_is_their_mean():
    path = path_of(list(range(6)), 6, unit=[0, 0, 0, 0, 1, 2], unit_score=[1, 2, 4])
    kept = {how: len(kept_at(StepBudget(budget="mass", how=how), path, 0.5)) for how in ("mean", "sum")}
    assert kept == {"mean": 2, "sum": 1}  # 4 of 10; 1 + 2 of 7


def test_budget_of_mass_refuses_scores_that_add_up_to_less():
    with pytest.raises(PluginError, match=r"step_budget:budget=mass.* gives a step a negative score, -1, .* budget=tokens"):
        kept_at(StepBudget(budget="mass"), steps_of_two(-0.5, 1), 0.5)


@pytest.mark.parametrize(("threshold", "expected"), [(0.24, 0), (0.25, 1), (0.5, 2), (0.74, 2), (1, 3)])
def test_budget_of_steps_counts_steps(threshold, expected):
    assert n_deleted("step_budget:budget=steps", [1, 1, 2, 9], threshold) == expected


def test_budget_of_tokens_cuts_the_last_step():
    path = path_of([4, 5, 2, 3, 0, 1], 6)  # steps of two, as the strategy lists them: token by token
    assert kept_at(StepBudget(), path, 0.5).tolist() == [0, 1, 3]


def test_a_rule_without_scores_of_steps_is_refused():
    with pytest.raises(PluginError, match=r"Made\(\): its path has no scores of steps"):
        kept_at(StepPercentile(), path_of([0, 1], 2, unit=[0, 1]), 0.5)


# Attention of each of six queries on the keys up to it, one head; column sums 3.6, 1, 0.8, 0.4, 0.15, 0.05.
ROWS = [[1], [0.5, 0.5], [0.6, 0.2, 0.2], [0.6, 0.1, 0.1, 0.2], [0.5, 0.1, 0.2, 0.1, 0.1], [0.4, 0.1, 0.3, 0.1, 0.05, 0.05]]
SUMS = np.array([math.fsum(row[key] for row in ROWS if key < len(row)) for key in range(6)])


def h2o_by_definition(score: FloatArray, budget: int, recent_share: float) -> set[int]:
    n_recent, n = math.ceil(round(budget * recent_share, 9)), len(score)
    older = sorted(range(n - n_recent), key=lambda position: (-score[position], position))
    return {*range(n - n_recent, n), *older[: budget - n_recent]}


def kept_by_budget(order: IntArray, budget: int) -> set[int]:
    return set(order[len(order) - budget :].tolist())


def test_two_heavy_hitters_and_two_recent_tokens_are_the_worked_ones():
    np.testing.assert_allclose(SUMS, [3.6, 1, 0.8, 0.4, 0.15, 0.05])
    assert kept_by_budget(deletion_order(SUMS, recent_share=0.5), 4) == {0, 1, 4, 5}
    assert deletion_order(SUMS, recent_share=0.5).tolist() == [2, 3, 1, 4, 0, 5]  # a budget of 5 has 3 recent ones


@given(
    score=st.lists(st.integers(0, 5), min_size=1, max_size=40), recent_share=st.sampled_from([0, 0.1, 0.25, 1 / 3, 0.5, 0.7, 1])
)  # fmt: skip
def test_every_budget_keeps_what_the_rule_says(score, recent_share):
    order = deletion_order(np.array(score, dtype=float), recent_share=recent_share)
    assert sorted(order) == list(range(len(score)))
    for budget in range(len(score) + 1):
        assert kept_by_budget(order, budget) == h2o_by_definition(np.array(score), budget, recent_share)


@pytest.mark.parametrize(
    ("spec", "uses"), [("traac", True), ("traac_clean", True), ("traac:difficulty=ignored", False), ("step_percentile", False)]
)
def test_a_strategy_says_if_its_rule_depends_on_the_pass_rate(spec: str, uses: bool) -> None:
    strategy = plugins.load("strategy", spec)
    assert (isinstance(strategy, UsesPassRate) and strategy.uses_pass_rate) is uses
