"""Scorers: by place, by chance, by surprise."""

import ast
import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from reasoning_anatomy.importance import NeedsNoModel
from reasoning_anatomy.importance.random import Random
from reasoning_anatomy.importance.recency import Recency
from reasoning_anatomy.importance.sink_recency import SinkRecency
from reasoning_anatomy.importance.surprisal import Surprisal
from reasoning_anatomy.models.loading import load_model
from reasoning_anatomy.plugins import available, load
from reasoning_anatomy.types import EncodedChain, ReasoningChain

NATS = 1e-4  # float32 rounding of one token's nll


def renamed(chain: EncodedChain, chain_id: str) -> EncodedChain:
    return dataclasses.replace(chain, chain=chain.chain.model_copy(update={"chain_id": chain_id}))


def test_recency_rises_with_the_position(make_random_chain, deviation):
    score = Recency().score(make_random_chain(2, 5, 1), loaded=None).score
    assert deviation("recency", score, [0, 1, 2, 3, 4]) == 0


def test_sinks_come_before_the_latest_tokens(make_random_chain, deviation):
    # n = 7 with two sinks: 7 7 2 3 4 5 6
    score = SinkRecency(n_sink=2).score(make_random_chain(2, 7, 1), loaded=None).score
    assert deviation("sink_recency", score, [7, 7, 2, 3, 4, 5, 6]) == 0
    assert SinkRecency(n_sink=0).score(make_random_chain(2, 3, 1), loaded=None).score.tolist() == [0, 1, 2]
    assert SinkRecency().score(make_random_chain(2, 3, 1), loaded=None).score.tolist() == [3, 3, 3]
    with pytest.raises(ValueError, match="n_sink is -1, expected 0 or more"):
        SinkRecency(n_sink=-1)


@pytest.mark.parametrize("size", range(4, 13))
def test_the_highest_scores_are_what_a_streaming_cache_of_any_size_keeps(make_random_chain, size):
    score = SinkRecency().score(make_random_chain(2, 12, 1), loaded=None).score
    kept = set(np.argsort(-score, kind="stable")[:size])
    assert kept == {*range(4), *range(12 - (size - 4), 12)}


@pytest.fixture(scope="module")
def tiny(tiny_model_folder):
    return load_model(str(tiny_model_folder))


@pytest.mark.parametrize("key", [key for key, info in available("scorer").items() if not info.needs])
def test_every_scorer_gives_one_finite_number_per_token_and_the_same_twice(tiny, make_random_chain, key):
    loaded, chain = tiny, make_random_chain(6, 9, 3)
    one, two = (load("scorer", key).score(chain, loaded=loaded) for _ in range(2))
    assert one.score.shape == (9,)
    assert np.isfinite(one.score).all()
    np.testing.assert_array_equal(one.score, two.score)
    if one.profile is not None:
        assert one.profile.scorer == key
        assert one.profile.received.shape in {(2, 4, 9), (2, 2, 9)}
        assert one.profile.queries
        assert one.profile.normalisation


def test_random_scores_depend_on_chain_and_seed_alone(make_random_chain):
    chain = make_random_chain(2, 8, 1)
    score = Random().score(chain, loaded=None).score
    assert ((score >= 0) & (score < 1)).all()
    assert len(set(score)) == 8
    other = Random().score(renamed(chain, "other"), loaded=None).score
    assert score.tolist() == Random(seed=0).score(chain, loaded=None).score.tolist()
    for different in (other, Random(seed=1).score(chain, loaded=None).score, Random(seed=-1).score(chain, loaded=None).score):
        assert set(score).isdisjoint(different)


def test_random_scores_are_uniform(make_random_chain):
    chain = make_random_chain(1, 2000, 1)
    counts, _ = np.histogram(Random().score(chain, loaded=None).score, bins=10, range=(0, 1))
    assert ((counts - 200) ** 2 / 200).sum() < 27.9  # 0.999 quantile of chi-squared with 9 degrees of freedom


NEEDING_NO_MODEL = [key for key, info in available("scorer").items() if info.needs_no_model]


def test_what_a_listing_says_of_models_is_what_the_scorer_says():
    assert {"recency", "random", "sink_recency"} <= set(NEEDING_NO_MODEL)
    assert [key for key in available("scorer") if isinstance(load("scorer", key), NeedsNoModel)] == NEEDING_NO_MODEL


def test_scorers_that_ask_no_model_need_no_torch_and_agree_between_processes(make_random_chain):
    script = (
        "import sys; import numpy as np\n"
        "from reasoning_anatomy.plugins import load\n"
        "from reasoning_anatomy.types import EncodedChain, ReasoningChain\n"
        "text = ReasoningChain(chain_id='random', question_id='q', question='?', reasoning='xxx', answer='x')\n"
        "one, spans = np.array([1]), np.array([[0, 1], [1, 2], [2, 3]])\n"
        "chain = EncodedChain(text, one, np.array([5, 6, 7]), one, spans)\n"
        f"keys = {NEEDING_NO_MODEL}\n"
        "print([load('scorer', key).score(chain, loaded=None).score.tolist() for key in keys])\n"
        "assert 'torch' not in sys.modules"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 0, done.stderr
    chain = make_random_chain(1, 3, 1)
    assert ast.literal_eval(done.stdout) == [
        load("scorer", key).score(chain, loaded=None).score.tolist() for key in NEEDING_NO_MODEL
    ]


@pytest.mark.parametrize("token_budget", [3, 512])
@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_surprisal_is_the_nll_of_each_token_in_the_plain_model(
    make_random_model, make_random_chain, deviation, family, token_budget
):
    loaded, chain = make_random_model(family), make_random_chain(4, 12, 3)
    ids = torch.from_numpy(chain.ids)
    with torch.inference_mode():
        logp = loaded.model(input_ids=ids[None], use_cache=False).logits[0].log_softmax(-1)
    expected = -logp[torch.arange(3, 15), ids[4:16]].numpy()
    scores = Surprisal(token_budget=token_budget).score(chain, loaded=loaded)
    assert deviation("surprisal", scores.score, expected) < NATS
    assert scores.profile is None


def test_surprisal_of_a_bigram_model_is_the_worked_one(make_bigram_model):
    logp = {(3, 4): -0.1, (4, 5): -2.0, (5, 6): -0.1, (6, 7): -0.5, (7, 8): -1.0}
    text = ReasoningChain(chain_id="bigrams", question_id="q", question="?", reasoning="abcd", answer="x")
    spans = np.stack([np.arange(4), np.arange(1, 5)], axis=1)
    chain = EncodedChain(text, np.array([3]), np.array([4, 5, 6, 7]), np.array([8]), spans)
    score = Surprisal().score(chain, loaded=make_bigram_model(logp)).score
    np.testing.assert_allclose(score, [0.1, 2, 0.1, 0.5], atol=NATS)


def test_a_budget_of_no_token_is_refused():
    with pytest.raises(ValueError, match="token_budget is 0, expected 1 or more"):
        Surprisal(token_budget=0)
