"""What every policy evicts, on moments worked out by hand; sources of the numbers stand at each test."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from reasoning_anatomy import plugins
from reasoning_anatomy.errors import PluginError
from reasoning_anatomy.eviction import Moment, Writing
from reasoning_anatomy.eviction.r_kv import RKv
from reasoning_anatomy.plugins import available, load

N_PROMPT = 3
BUDGETED = [key for key in available("policy") if key not in ("nothing", "clearthink", "traac_live")]


def moment(
    score: Sequence[float],
    steps: Sequence[int],
    *,
    index: Sequence[int] | None = None,
    closes: bool = False,
    seed: int = 0,
    n_events: int = 0,
    then: int = 0,
    **more: Any,
) -> Moment:
    """A moment after a prompt of 3 tokens: scores of the written tokens in the cache, and steps of all that are written.

    The last of ``steps`` is that of the newest token, which is not in the cache yet.
    """
    n_written = len(steps)
    held = list(range(N_PROMPT + n_written - 1)) if index is None else list(index)
    weights = torch.tensor([0.0] * (len(held) - len(score)) + list(score))
    writing = Writing(
        n_prompt=N_PROMPT, n_written=n_written, n_slots=len(held), closes_thinking=closes, n_events=n_events,
        n_written_then=then, seed=seed, cut=lambda: np.array(steps),
    )  # fmt: skip
    return Moment(writing, torch.tensor(held), attention=weights.expand(2, 4, -1), **more)


def gone(policy: str, at: Moment) -> list[int]:
    """Written tokens that are evicted, counted from 0."""
    rule = load("policy", policy)
    return [int(token) - N_PROMPT for token in at.index[rule.evict(at).gone]]


PLAIN = "n_sink=0,newest=1"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # by hand: means .2, .5, .1, .4 of steps 0, 1, 2, 3; 8 tokens in the cache
        ("budget=0.75", [4, 5]),  # 2 go: the lowest step
        ("budget=0.5", [0, 1, 4, 5]),  # 4 go: the two lowest
        ("budget=0.6", [4, 5, 0, 1]),  # int(4.8) stay, 4 go
        ("budget=0.63", [4, 5, 1]),  # int(5.04) stay: of step 0 only its lowest token
        ("budget=5", [4, 5, 1]),  # the same, as a number
        ("budget=0.5,counts=steps", [0, 1, 4, 5]),  # 2 of the 5 steps may stay, the newest of which is not in the cache
        ("budget=3,counts=steps", [4, 5]),
        ("budget=0.9,counts=mass", [4, 5]),  # mass 2.4; .2 of step 2 is within .24, with .4 of step 0 beyond
        ("budget=0.7,counts=mass", [0, 1, 4, 5]),  # .6 within .72
    ],
)
def test_think_clearly_evicts_the_steps_with_the_lowest_mean(options: str, expected: list[int]) -> None:
    at = moment([0.3, 0.1, 0.5, 0.5, 0.1, 0.1, 0.3, 0.5], [0, 0, 1, 1, 2, 2, 3, 3, 4])
    assert gone(f"think_clearly:{options},{PLAIN}", at) == sorted(expected)


def test_think_clearly_says_what_every_step_scored() -> None:
    at = moment([0.25, 0.75, 0.5], [0, 0, 1, 2], index=[0, 1, 2, 3, 4, 5])
    assert load("policy", f"think_clearly:{PLAIN}").evict(at).step_score == pytest.approx([0.5, 0.5, np.nan], nan_ok=True)


def test_steps_whose_tokens_went_before_are_neither_scored_nor_counted() -> None:
    at = moment([0.9, 0.1, 0.2, 0.3], [0, 0, 1, 1, 2, 3], index=[0, 1, 2, 3, 4, 6, 7])
    eviction = load("policy", f"think_clearly:budget=0.4,{PLAIN}").evict(at)
    assert eviction.gone.tolist() == [False] * 5 + [True, True]  # 5 were read, 2 stay, 4 are there
    assert eviction.step_score == pytest.approx([0.5, 0.2, 0.3, np.nan], nan_ok=True)


def test_layers_are_chosen_before_the_mean() -> None:
    weights = torch.zeros(4, 2, 6)
    weights[3, :, 3:] = torch.tensor([0.1, 0.9, 0.5])
    weights[:2, :, 3:] = torch.tensor([0.9, 0.1, 0.5])
    at = dataclasses.replace(moment([0, 0, 0], [0, 1, 2, 3]), attention=weights)
    assert gone(f"think_clearly:budget=2,layers=last,{PLAIN}", at) == [0]
    assert gone(f"think_clearly:budget=2,layers=first_half,{PLAIN}", at) == [1]
    assert gone(f"think_clearly:budget=2,{PLAIN}", at) == [1]  # the mean over the layers: .475, .275, .375


def test_every_head_can_lose_its_own_steps() -> None:
    weights = torch.zeros(2, 4, 6)
    low = torch.tensor([[0, 1], [2, 0]])  # by layer and KV head, which two heads share
    for layer in range(2):
        for head in range(4):
            weights[layer, head, 3:] = 0.5
            weights[layer, head, 3 + low[layer, head // 2]] = 0.1
    at = moment([0, 0, 0], [0, 1, 2, 3])
    at = dataclasses.replace(at, attention=weights, index=at.index.expand(2, 2, -1))
    per_head = load("policy", f"think_clearly:budget=2,scope=per_head,{PLAIN}").evict(at).gone
    assert per_head.nonzero().tolist() == [[0, 0, 3], [0, 1, 4], [1, 0, 5], [1, 1, 3]]
    weights[0, 2:, 4] = 0.4
    per_layer = load("policy", f"think_clearly:budget=2,scope=per_layer,{PLAIN}").evict(at).gone
    assert per_layer.nonzero().tolist() == [[0, 0, 3], [0, 1, 3], [1, 0, 3], [1, 1, 3]]


@pytest.mark.parametrize(("ratio", "expected"), [(0.25, []), (0.40, [1])])
def test_clearthink_evicts_the_lowest_chunk_but_the_newest_if_it_is_below_a_share_of_the_best(
    ratio: float, expected: list[int]
) -> None:
    """Of the method sheet: scores 8, 2, 5 and the newest 6; 2 < .25 x 8 is false, 2 < .40 x 8 is true."""
    at = moment([0.008, 0.002, 0.005, 0.006], [0, 1, 2, 3, 4])
    policy = f"clearthink:ratio={ratio},{PLAIN}"
    assert load("policy", policy).is_due(at.writing)
    assert gone(policy, at) == expected


def test_clearthink_compares_with_the_best_chunk_but_the_newest() -> None:
    """As in the released code at 2a78511, whose candidates leave out the newest: 3 < .35 x 8 is false, 3 < .35 x 9 is true."""
    at = moment([0.008, 0.003, 0.005, 0.009], [0, 1, 2, 3, 4])
    assert gone(f"clearthink:ratio=0.35,{PLAIN}", at) == []
    assert gone(f"clearthink:ratio=0.38,{PLAIN}", at) == [1]


def test_clearthink_waits_for_four_chunks_that_ended_since_the_last_eviction() -> None:
    def is_due(steps: list[int], **options: Any) -> bool:
        return load("policy", "clearthink").is_due(moment([], steps, **options).writing)

    assert not is_due([0, 1, 2, 3])
    assert is_due([0, 1, 2, 3, 4])
    assert not is_due([0, 1, 2, 3, 4, 4])  # no chunk has just ended
    assert not is_due([0, 1, 2, 3, 4, 4, 5, 6, 7], then=5)
    assert is_due([0, 1, 2, 3, 4, 4, 5, 6, 7, 8], then=5)  # chunk 4 begins with the token before which was evicted
    assert not is_due([0, 1, 2, 3, 3, 4, 5, 6, 7], then=5)  # chunk 3 was begun before
    assert load("policy", "clearthink:tracks=all").is_due(moment([], [0, 1, 2, 3, 4, 4, 5], then=5).writing)


def test_clearthink_never_evicts_the_newest_chunk_nor_what_counts_as_prompt() -> None:
    at = moment([0.001, 0.002, 0.8, 0.7, 0.6, 0.5, 0.0001], [0, 1, 2, 3, 4, 5, 6, 7], then=3)
    assert gone(f"clearthink:{PLAIN}", at) == []
    assert gone(f"clearthink:tracks=all,{PLAIN}", at) == [0]


@pytest.mark.parametrize(("rate", "n_gone"), [(0.6, 4), (0.4, 3), (0.2, 1)])
def test_traac_evicts_fewer_steps_if_their_scores_are_alike(rate: float, n_gone: int) -> None:
    """Of the method sheet: one step of .9 and nine of .01 have U = .2191; f = .4686, .3124, .1562 of 10 steps."""
    at = moment([0.9, *[0.01] * 9], [*range(10), 10], closes=True)
    policy = load("policy", f"traac_live:rate={rate},{PLAIN}")
    assert policy.is_due(at.writing)
    assert gone(plugins.label(policy), at) == list(range(1, 1 + n_gone))


def test_traac_evicts_nothing_above_a_uniformity_of_08_and_waits_for_the_end_of_thinking() -> None:
    assert gone(f"traac_live:rate=1,{PLAIN}", moment([5, 4, 4, 3], [0, 1, 2, 3, 4], closes=True)) == []
    assert gone(f"traac_live:rate=0.6,{PLAIN}", moment([0.2, 0.03, 0.02, 0.05], [0, 1, 2, 3, 4], closes=True)) == []  # f = .176
    policy = load("policy", "traac_live")
    assert not policy.is_due(moment([1] * 399, [0] * 400).writing)
    assert load("policy", "traac_live:every=200").is_due(moment([1] * 399, [0] * 400).writing)


def test_h2o_keeps_recent_tokens_and_heavy_hitters() -> None:
    """Of the method sheet: sums 3.6, 1, .8, .4, .15, .05; two heavy and two recent tokens: 0, 1, 4, 5 stay."""
    sums = torch.tensor([0, 0, 0, 3.6, 1.0, 0.8, 0.4, 0.15, 0.05])
    at = moment([0] * 6, [0, 1, 2, 3, 4, 5, 6], received=sums.expand(2, 2, -1))
    assert gone("h2o:budget=4,scope=shared,n_sink=0,newest=0", at) == [2, 3]
    of_heads = torch.stack([sums, sums.flip(0)]).expand(2, 2, -1)
    at = dataclasses.replace(at, received=of_heads, index=at.index.expand(2, 2, -1))
    found = load("policy", "h2o:budget=4,n_sink=0,newest=0").evict(at).gone[0]
    assert [(row.nonzero().flatten() - N_PROMPT).tolist() for row in found] == [
        [2, 3],
        [0, 3],
    ]  # .8, 1, 3.6, 0 before the recent two


def test_streaming_evicts_the_oldest_behind_the_sink() -> None:
    at = moment([0] * 9, [*range(9), 9])
    assert gone("streaming:budget=6,n_sink=2,newest=1", at) == [2, 3, 4]
    assert gone("streaming:budget=6,n_sink=2,newest=1,protect_prompt=false", at) == [-1, 0, 1, 2, 3, 4]


def test_r_kv_counts_the_last_similar_key_of_a_row_as_0() -> None:
    """Of the method sheet: keys (1, 0), (0, 1), (1, 0): 0 and 2 are alike, each the only one of the other: all is 0."""
    keys = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]])
    assert RKv().redundancy(keys)[0].tolist() == pytest.approx([1 / 3] * 3)


def test_r_kv_as_released_spares_the_first_key_where_none_is_alike() -> None:
    """By hand: cosines of (1, 0), (.4, √.84), (-.4, √.84) are .4, -.4 and .68; row 0 has none above .5."""
    keys = torch.tensor([[[1.0, 0.0], [0.4, 0.84**0.5], [-0.4, 0.84**0.5]]])
    cosine = np.array([[0, 0.4, -0.4], [0.4, 0, 0.68], [-0.4, 0.68, 0]])

    def expected(rows: np.ndarray) -> list[float]:
        weights = np.exp(rows.mean(axis=0))
        return (weights / weights.sum()).tolist()

    spared = cosine.copy()
    spared[1, 2] = spared[2, 1] = 0
    assert RKv(variant="clean").redundancy(keys)[0].tolist() == pytest.approx(expected(spared), abs=1e-6)
    assert RKv().redundancy(keys)[0].tolist() == pytest.approx(expected(spared), abs=1e-6)  # the first key with itself is 0
    swapped = keys[:, [1, 2, 0]]
    in_order = cosine[np.ix_([1, 2, 0], [1, 2, 0])].copy()
    in_order[0, 1] = in_order[1, 0] = 0
    assert RKv(variant="clean").redundancy(swapped)[0].tolist() == pytest.approx(expected(in_order), abs=1e-6)
    in_order[2, 0] = 0
    assert RKv().redundancy(swapped)[0].tolist() == pytest.approx(expected(in_order), abs=1e-6)


def test_r_kv_weighs_importance_and_redundancy_in_every_head() -> None:
    """Against the formula in loops: two KV heads of two heads each, 12 keys before a window of 2."""
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(1, 4, 2, 4, generator=generator)
    keys = torch.randn(2, 14, 4, generator=generator)
    at = moment([0] * 11, [*range(11), 11], queries=queries, keys=[keys])
    at = dataclasses.replace(at, index=at.index.expand(1, 2, -1))
    policy = RKv(budget=6, window=2, mix=0.3, kernel=3, every=8, n_sink=0, newest=0)
    found = policy.evict(at).gone
    for head in range(2):
        scores = np.zeros(12)
        for query in range(2):
            logits = [max(float(queries[0, 2 * head + g, query] @ keys[head, k]) for g in range(2)) for k in range(12)]
            weights = np.exp(logits) / np.exp(logits).sum()
            scores += weights / 2
        pooled = [scores[max(0, k - 1) : k + 2].max() for k in range(12)]
        total = 0.3 * np.array(pooled) - 0.7 * policy.redundancy(keys)[head, :12].numpy()
        order = [k for k in np.argsort(total) if k >= N_PROMPT]
        assert found[0, head].nonzero().flatten().tolist() == sorted(order[:5])


@pytest.mark.parametrize("units", ["tokens", "steps"])
def test_random_eviction_is_uniform_and_differs_from_sample_to_sample(units: str) -> None:
    counts = np.zeros(8)
    for seed in range(1500):
        for token in gone(f"random:budget=6,units={units},{PLAIN}", moment([0] * 8, [0, 0, 1, 1, 2, 2, 3, 3, 4], seed=seed)):
            counts[token] += 1
    assert counts.sum() == 3000
    assert counts == pytest.approx(375, abs=5 * (375 * 0.75) ** 0.5)
    at = [moment([0] * 8, [*range(8), 8], n_events=number) for number in range(8)]
    assert len({tuple(gone(f"random:budget=4,units={units},{PLAIN}", each)) for each in at}) > 4
    assert gone(f"random:budget=6,units={units},{PLAIN}", at[3]) == gone(f"random:budget=6,units={units},{PLAIN}", at[3])


@pytest.mark.parametrize("key", BUDGETED)
def test_every_policy_protects_prompt_sink_and_newest_step(key: str) -> None:
    """With no room at all: of 20 tokens, 4 are the sink and the last 5 are of the newest step, one not in the cache."""
    steps = [*np.repeat(np.arange(3), 5), 3, 3, 3, 3, 3]
    at = moment(
        [0.5] * 19, steps, received=torch.rand(2, 2, 22), queries=torch.rand(2, 4, 2, 4), keys=[torch.rand(2, 22, 4)] * 2
    )
    policy = load("policy", f"{key}:budget=0")
    if policy.per_head:
        at = dataclasses.replace(at, index=at.index.expand(2, 2, -1))
    evicted = policy.evict(at).gone.reshape(-1, 22)
    assert all((row.nonzero().flatten() - N_PROMPT).tolist() == list(range(4, 15)) for row in evicted)


@pytest.mark.parametrize("key", BUDGETED)
def test_a_threshold_is_the_share_that_goes(key: str) -> None:
    assert load("policy", key).at(0.25).budget == 0.75
    assert repr(load("policy", key).at(0.25)) == repr(load("policy", f"{key}:budget=0.75"))


def test_a_threshold_of_the_others_is_what_their_authors_call_so() -> None:
    assert load("policy", "traac_live").at(0.25).rate == 0.25
    assert load("policy", "clearthink").at(0.25).ratio == 0.25
    assert load("policy", "none").at(0.25) == load("policy", "nothing")


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ("think_clearly:budget=-1", "budget is -1.0, expected a share from 0 to 1, or a number of tokens above 1"),
        ("think_clearly:budget=nan", "budget is nan"),
        ("think_clearly:every=0", "every is 0, expected 1 or more"),
        ("think_clearly:budget=2,counts=mass", "expected a share from 0 to 1 of the importance"),
        ("think_clearly:scope=per_head,counts=steps", "needs counts=tokens and layers=all"),
        ("h2o:positions=reprefill", "heads hold different tokens; add scope=shared"),
        ("r_kv:kernel=4", "expected an odd number"),
        ("r_kv:every=4", "at least the window of 8 tokens"),
        ("clearthink:ratio=2", "ratio is 2.0, expected 0..1"),
        ("random:steps=nope", "unknown segmenter 'nope'"),
        ("random:seed=-1", "seed is -1, expected 0 or more"),
    ],
)
def test_options_out_of_range_are_refused(policy: str, reason: str) -> None:
    with pytest.raises(PluginError, match=reason):
        load("policy", policy)
