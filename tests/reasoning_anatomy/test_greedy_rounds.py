"""The approximate strategy: exact where it looks, honest about where it does not."""

import numpy as np
import pytest

from reasoning_anatomy.likelihood.full import FullLikelihood
from reasoning_anatomy.pruning import PruningJob
from reasoning_anatomy.pruning.greedy import Greedy
from reasoning_anatomy.pruning.greedy_rounds import GreedyRounds, _Rounds

NATS = 1e-5  # float32 rounding of a mean nll


@pytest.mark.parametrize("objective", ["answer", "joint", "influence"])
@pytest.mark.parametrize("family", ["llama", "gemma3_text"])
@pytest.mark.parametrize("everything", [{"round_share": 0.0}, {"n_candidates": 9}])
def test_with_all_candidates_it_is_greedy(make_random_model, make_random_chain, family, objective, everything):
    loaded, chain = make_random_model(family), make_random_chain(4, 9, 3)
    exact = Greedy(objective=objective).prune(chain, loaded=loaded)
    path = GreedyRounds(objective=objective, **everything).prune(chain, loaded=loaded)
    assert path.deleted.tolist() == exact.deleted.tolist()
    np.testing.assert_allclose(path.margin, exact.margin, atol=2 * NATS)


@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_curve_is_that_of_the_tokens_it_leaves(make_random_model, make_random_chain, family):
    loaded, chain = make_random_model(family), make_random_chain(4, 12, 3)
    path = GreedyRounds(round_share=0.5).prune(chain, loaded=loaded)
    assert sorted(path.deleted.tolist()) == list(range(12))
    for step in range(12):
        left = FullLikelihood(loaded, chain.keep(np.setdiff1d(np.arange(12), path.deleted[:step])), token_budget=64).nll()
        assert path.nll_answer[step] == pytest.approx(left.answer, abs=NATS)
        assert path.nll_joint[step] == pytest.approx(left.joint, abs=NATS)


@pytest.mark.parametrize(("objective", "n", "times"), [("answer", 72, 5), ("answer", 100, 5), ("joint", 100, 2.5)])
def test_it_runs_a_fraction_of_the_tokens_of_greedy(make_random_model, make_random_chain, objective, n, times):
    loaded, chain = make_random_model("llama"), make_random_chain(100, n, 13)
    exact = Greedy(objective=objective).prune(chain, loaded=loaded)
    assert GreedyRounds(objective=objective).prune(chain, loaded=loaded).token_forwards <= exact.token_forwards / times


@pytest.mark.parametrize(("n", "first_round"), [(8, 2), (64, 16), (80, 16), (140, 16)])
def test_the_first_round_deletes_sixteen_tokens_a_quarter_at_most(make_random_model, make_random_chain, n, first_round):
    loaded, chain = make_random_model("llama"), make_random_chain(2, n, 2)
    whole = GreedyRounds(keep_ratio=1 - (first_round + 1) / n).prune(chain, loaded=loaded)
    share = GreedyRounds(keep_ratio=1 - (first_round + 1) / n, round_share=first_round / n).prune(chain, loaded=loaded)
    assert whole.deleted.tolist() == share.deleted.tolist()
    assert whole.token_forwards == share.token_forwards


def test_first_deletion_is_that_of_greedy(make_random_model, make_random_chain):
    loaded, chain = make_random_model("qwen3"), make_random_chain(4, 12, 3)
    assert GreedyRounds().prune(chain, loaded=loaded).deleted[0] == Greedy().prune(chain, loaded=loaded).deleted[0]


def test_it_goes_on_from_a_saved_path_to_the_very_same_numbers(make_random_model, make_random_chain):
    loaded, chain, saved = make_random_model("llama"), make_random_chain(4, 14, 3), []
    strategy = GreedyRounds(checkpoint_every=5)
    whole = strategy.prune(chain, loaded=loaded, job=PruningJob(save=saved.append))
    assert [len(path.deleted) for path in saved] == [5, 10, 14]
    resumed = strategy.prune(chain, loaded=loaded, job=PruningJob(begun=saved[1]))
    for name in ("deleted", "margin", "nll_answer", "nll_joint", "nll_reasoning"):
        np.testing.assert_array_equal(getattr(resumed, name), getattr(whole, name))
    assert resumed.token_forwards == whole.token_forwards


def test_every_deletion_is_announced_and_keep_ratio_kept(make_random_model, make_random_chain):
    calls = []
    job = PruningJob(advance=lambda: calls.append(1))
    path = GreedyRounds(keep_ratio=0.45).prune(make_random_chain(3, 10, 2), loaded=make_random_model("llama"), job=job)
    assert len(calls) == len(path.deleted) == 6


@pytest.mark.parametrize(("share", "n", "deleted"), [(0.25, 4, 1), (0.8, 20, 16), (0.9, 40, 36), (0.3, 90, 27), (0.25, 10, 3)])
def test_a_round_deletes_its_share_rounded_up(share, n, deleted):
    rounds = _Rounds(share, n_candidates=1)
    assert len(rounds(np.arange(n), np.full(n, np.nan))) == n
    sizes = [len(rounds(np.arange(left), np.zeros(left))) for left in range(n - 1, n - deleted - 1, -1)]
    assert sizes == [1] * (deleted - 1) + [n - deleted]


@pytest.mark.parametrize(
    "options",
    [
        {"round_share": 1.1}, {"round_share": -0.1}, {"n_candidates": 0}, {"checkpoint_every": 0}, {"keep_ratio": 2.0},
        {"token_budget": 0}, {"store_gib": -1.0},
    ],
)  # fmt: skip
def test_impossible_options_are_refused(options):
    name, value = next(iter(options.items()))
    with pytest.raises(ValueError, match=f"{name} is {value}, expected"):
        GreedyRounds(**options)
