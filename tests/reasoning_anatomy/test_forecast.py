"""How long exact paths will take, said before they begin."""

import dataclasses
import re

import pytest

from reasoning_anatomy.models.loading import load_model
from reasoning_anatomy.pipeline import forecast
from reasoning_anatomy.pipeline.measuring import measure
from reasoning_anatomy.progress import Stages
from reasoning_anatomy.pruning import ForeseesCost
from reasoning_anatomy.pruning.greedy import Greedy
from reasoning_anatomy.pruning.random_tokens import RandomTokens


@pytest.mark.parametrize("keep_ratio", [0.0, 0.5])
@pytest.mark.parametrize("may_share", [True, False])
def test_the_cost_that_is_foreseen_is_an_upper_bound_and_not_far_off(
    make_random_model, make_random_chain, keep_ratio, may_share
):
    loaded = dataclasses.replace(make_random_model("llama"), may_share=may_share)
    chain, greedy = make_random_chain(6, 40, 5), Greedy(keep_ratio=keep_ratio)
    foreseen = greedy.token_forwards(chain, shares_prefixes=may_share)
    path = greedy.prune(chain, loaded=loaded)
    n_base_runs = 1.1 * len(chain.ids) * len(path.deleted)  # the chain as it is, after every deletion
    assert 0.5 * foreseen < path.token_forwards < foreseen + n_base_runs


def test_the_first_step_costs_what_brute_force_counts(make_random_chain):
    chain = make_random_chain(6, 4, 3)  # deleting one of four leaves 3 + 2 + 1 + 0 reasoning tokens to run, and the answer each
    assert Greedy(keep_ratio=0.75).token_forwards(chain, shares_prefixes=True) == 3 + 2 + 1 + 0 + 4 * 3
    assert Greedy(keep_ratio=0.75).token_forwards(chain, shares_prefixes=False) == 4 * (6 + 3 + 3)


def test_only_strategies_that_know_their_cost_are_foreseen():
    assert isinstance(Greedy(), ForeseesCost)
    assert not isinstance(RandomTokens(), ForeseesCost)


@pytest.fixture(scope="module")
def tiny(tiny_model_folder):
    return load_model(str(tiny_model_folder))


@pytest.mark.parametrize(("seconds", "is_said"), [(0.0, True), (1e9, False)])
def test_a_long_path_is_announced_with_time_and_remedies(tiny, example_chains, tmp_path, monkeypatch, capsys, seconds, is_said):
    monkeypatch.setattr(forecast, "_LONG", seconds)
    monkeypatch.setattr(forecast, "_FEW_TOKENS", 0)
    options = {"out": tmp_path / "run", "model": tiny, "scorers": [], "strategies": ["greedy:keep_ratio=0.9"]}
    with Stages(show=True) as stages:
        measure(example_chains[:2], stages=stages, **options)
    said = capsys.readouterr().err
    announced = r"The exact paths of 2 chains take up to .* on this cpu: [\d,]+ tokens at [\d,]+ per second\. .*greedy_rounds"
    assert bool(re.search(announced, said)) == is_said
    with Stages(show=True) as stages:
        measure(example_chains[:2], stages=stages, **options)
    assert "exact paths" not in capsys.readouterr().err  # nothing is left to do
