"""Eviction while writing, against the model itself: its own generate, its eager weights, and full passes under a mask."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch

from benchmarks.eviction_fidelity import (
    FAMILIES,
    SCRIPT,
    Scripted,
    Written,
    change,
    evicted_in_turn,
    expected_if_kept,
    expected_if_read_anew,
    full_pass,
    generated,
    written,
)
from reasoning_anatomy import plugins
from reasoning_anatomy.errors import ModelError, PluginError
from reasoning_anatomy.eviction import Eviction, Moment, Writing
from reasoning_anatomy.eviction.nothing import Nothing
from reasoning_anatomy.generation.completion import Sampling
from reasoning_anatomy.generation.contexts import Context, ContextReader, keys_and_values
from reasoning_anatomy.generation.evicting import Evictor
from reasoning_anatomy.generation.text import text_behind
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import LoadedModel

TOLERANCE = 1e-5
"""Of the largest logit, in float32."""

Make = Callable[..., LoadedModel]


def draw(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(100, 8_000, n)


@pytest.fixture
def make(make_random_model: Make, small_tokenizer: Any) -> Make:
    return lambda family: make_random_model(family, small_tokenizer)


@dataclass(frozen=True, kw_only=True)
class Watching(Scripted):
    """Sees all that a policy can see, and keeps it."""

    probe: str = " Stop here."
    window: int = 3
    accumulates_attention: ClassVar[Literal[True]] = True
    moments: list[Moment] = field(default_factory=list)

    def evict(self, moment: Moment) -> Eviction:
        self.moments.append(moment)
        return super().evict(moment)


@pytest.mark.parametrize("n_rows", [2, 8])
@pytest.mark.parametrize("family", [*FAMILIES, "gpt2"])
def test_evicting_nothing_is_generate_token_by_token(make: Make, family: str, n_rows: int) -> None:
    loaded, contexts = make(family), [draw(14), draw(5, 1), draw(9, 2)]
    found = written(loaded, Nothing(), contexts, n_rows=n_rows)
    assert found.ids == {number: generated(loaded, ids)[0] for number, ids in enumerate(contexts)}
    assert [found.transcripts[number].peak_tokens for number in range(3)] == [14 + 23, 5 + 23, 9 + 23]


@pytest.mark.parametrize("family", FAMILIES)
def test_keeping_positions_is_a_full_pass_in_which_later_tokens_do_not_see_what_is_gone(make: Make, family: str) -> None:
    """Tokens that were read before an eviction saw what is gone; windows count positions of the whole text."""
    loaded, contexts = make(family), [draw(14), draw(5, 1), draw(9, 2)]
    found = written(loaded, Scripted(script=SCRIPT), contexts)
    for number, context in enumerate(contexts):
        assert change(found.logits[number], expected_if_kept(loaded, context, found.ids[number])) < TOLERANCE
        assert [event.n_before - event.n_after for event in found.transcripts[number].events] == [3 if number == 1 else 4, 5]


@pytest.mark.parametrize("family", FAMILIES)
def test_reading_anew_is_a_new_pass_over_the_ids_that_are_left(make: Make, family: str) -> None:
    loaded, contexts = make(family), [draw(14), draw(5, 1), draw(9, 2)]
    found = written(loaded, Scripted(script={6: SCRIPT[6]}, positions="reprefill"), contexts)
    for number, context in enumerate(contexts):
        expected = expected_if_read_anew(loaded, context, found.ids[number], SCRIPT[6], 6)
        assert change(found.logits[number][6:], expected) < TOLERANCE


@pytest.mark.parametrize("family", FAMILIES)
def test_two_evictions_with_rotation_are_one_of_both(make: Make, family: str) -> None:
    loaded, contexts = make(family), [draw(14), draw(8, 1)]
    twice = evicted_in_turn(loaded, [(1, 4), (2, 6, 7)], positions="rerotate", contexts=contexts)
    once = evicted_in_turn(loaded, [(1, 2, 4, 6, 7)], positions="rerotate", contexts=contexts)
    assert torch.equal(twice.positions, once.positions)
    assert torch.equal(twice.index, once.index)
    for found, expected in zip(keys_and_values(twice.cache), keys_and_values(once.cache), strict=True):
        for row in range(2):
            is_token = once.mask[row]
            torch.testing.assert_close(found[0][row][:, is_token], expected[0][row][:, is_token], atol=1e-5, rtol=1e-5)
            assert torch.equal(found[1][row][:, is_token], expected[1][row][:, is_token])


def test_rotated_keys_are_those_of_the_textbook(make: Make) -> None:
    """In float64, by the formula of RoFormer (Su et al., 2021) in the form of Llama: halves, base 10,000."""
    loaded, ids, gone = make("llama"), draw(14), (1, 4, 5)
    moved = evicted_in_turn(loaded, [gone], positions="rerotate", contexts=[ids])
    kept = evicted_in_turn(loaded, [gone], positions="keep", contexts=[ids])
    before = kept.index[0].double()
    after = torch.arange(len(before)).double()
    assert moved.positions.tolist() == [len(before)]
    assert kept.positions.tolist() == [15]
    frequency = 10_000.0 ** (-torch.arange(0, 8, 2).double() / 8)
    angle = (after - before)[:, None] * frequency
    cosine, sine = angle.cos().repeat(1, 2), angle.sin().repeat(1, 2)
    for found, expected in zip(keys_and_values(moved.cache), keys_and_values(kept.cache), strict=True):
        keys = expected[0][0].double()
        halves = torch.cat([-keys[..., 4:], keys[..., :4]], dim=-1)
        torch.testing.assert_close(found[0][0].double(), keys * cosine + halves * sine, atol=1e-5, rtol=1e-5)


POLICIES = (
    "think_clearly:budget=0.5,every=8,newest=2",
    "think_clearly:budget=0.5,every=8,newest=2,scope=per_layer",
    "think_clearly:budget=0.5,every=8,newest=2,positions=rerotate",
    "think_clearly:budget=0.5,every=8,newest=2,positions=reprefill",
    "random:budget=0.5,every=8,newest=2",
    "random:budget=0.5,every=8,newest=2,units=steps",
    "h2o:budget=0.5,newest=2",
    "h2o:budget=0.5,newest=2,positions=rerotate",
    "streaming:budget=10,newest=2",
    "r_kv:budget=0.5,every=8,newest=2,window=4",
    "clearthink:newest=2,steps=sentences",
)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_sample_does_not_depend_on_its_batch(make: Make, policy: str) -> None:
    loaded, contexts = make("llama"), [draw(14), draw(5, 1), draw(9, 2)]
    lengths, sampling = [40, 33, 21], Sampling(temperature=1.0, top_p=0.02)
    rule = plugins.load("policy", policy)
    together = written(loaded, rule, contexts, lengths, sampling=sampling)
    in_twos = written(loaded, rule, contexts, lengths, sampling=sampling, n_rows=2)
    assert (in_twos.ids, _gone(in_twos)) == (together.ids, _gone(together))
    is_evicting = [bool(event.n_after < event.n_before) for each in together.transcripts.values() for event in each.events]
    assert any(is_evicting) or policy.startswith("clearthink")
    for number in range(3):
        alone = written(loaded, rule, contexts, lengths, sampling=sampling, only=[number])
        assert (alone.ids[number], _gone(alone)[number]) == (together.ids[number], _gone(together)[number])


def _gone(found: Written) -> dict[int, list[tuple[int, ...]]]:
    return {number: [event.evicted for event in each.events] for number, each in found.transcripts.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_probe_leaves_no_trace(make: Make, family: str) -> None:
    loaded, contexts = make(family), [draw(14), draw(5, 1), draw(9, 2)]
    watching = Watching(script={n: () for n in (4, 9, 10)})
    found = written(loaded, watching, contexts)
    assert len(watching.moments) == 9
    assert found.ids == {number: generated(loaded, ids)[0] for number, ids in enumerate(contexts)}
    plain = written(loaded, Nothing(), contexts)
    assert all(torch.equal(found.logits[number], plain.logits[number]) for number in range(3))


@pytest.mark.parametrize("family", [*FAMILIES, "gemma2", "gpt_oss"])
def test_a_policy_sees_the_weights_of_the_models_own_eager_attention(make: Make, family: str) -> None:
    """Probe and sums, in a batch of several lengths: within 1e-5 of the weights that eager attention returns."""
    loaded, contexts, n_written = make(family), [draw(14), draw(5, 1)], 9
    watching = Watching(script={n_written: ()})
    found = written(loaded, watching, contexts, 12)
    encoder = ChainEncoder(loaded.tokenizer)
    probe = [*encoder.text_ids(watching.probe), *encoder.tag_ids("</think>")]
    for number, context in enumerate(contexts):
        moment = next(each for each in watching.moments if each.writing.n_prompt == len(context))
        text = np.concatenate([context, found.ids[number][:n_written], probe])
        weights = eager_weights(loaded, text)
        n_read = len(context) + n_written - 1
        torch.testing.assert_close(moment.attention, weights[:, :, -1, :n_read], atol=1e-5, rtol=0)
        summed = weights[:, :, len(context) : n_read, :n_read].sum(dim=2)
        torch.testing.assert_close(moment.received, summed.unflatten(1, (2, -1)).sum(dim=2), atol=1e-5, rtol=0)
        assert moment.queries.shape[2] == 3
        assert [keys.shape[1] for keys in moment.keys] == [n_read] * len(weights)


def eager_weights(loaded: LoadedModel, ids: np.ndarray) -> torch.Tensor:
    """(layers, heads, T, T) of one pass."""
    before = loaded.model.config._attn_implementation
    loaded.model.set_attn_implementation("eager")
    try:
        with torch.inference_mode():
            output = loaded.model(torch.tensor(ids)[None], output_attentions=True, use_cache=False)
    finally:
        loaded.model.set_attn_implementation(before)
    return torch.cat(output.attentions).float()


@pytest.mark.parametrize(
    ("family", "policy", "reason"),
    [
        ("bloom", "streaming", "tokens can be evicted only from layers that attend, through the interface"),
        ("jamba", "streaming", "tokens can be evicted only from layers that attend"),
        ("gemma3n_text", "streaming", "keys of their own"),
        ("mistral", "h2o", "sliding window, in which the heads cannot hold different tokens; add scope=shared"),
        ("llama4_text", "streaming", "tokens can be evicted only from layers that attend"),
        ("phimoe", "streaming", "has a sliding window of 6 that it does not pass to its attention"),
        ("gpt2", "streaming:positions=rerotate", "has no rotary position embedding; write positions=keep"),
    ],
)
def test_what_cannot_be_evicted_right_is_refused(make: Make, family: str, policy: str, reason: str) -> None:
    loaded = make(family)
    with pytest.raises(ModelError, match=reason):
        Evictor(loaded, plugins.load("policy", policy), ChainEncoder(loaded.tokenizer), n_positions=64)


def test_a_segmenter_that_needs_more_than_text_is_refused(make: Make) -> None:
    with pytest.raises(PluginError, match=r"policy 'streaming:steps=given': given cannot cut what is being written"):
        Evictor(
            make("llama"),
            plugins.load("policy", "streaming:steps=given"),
            ChainEncoder(make("llama").tokenizer),
            n_positions=64,
        )


def test_a_transcript_has_the_text_that_its_tokens_end_in(make: Make) -> None:
    loaded, context = make("llama"), draw(14)
    found = written(loaded, plugins.load("policy", "streaming:budget=12,newest=2"), [context], 30)
    transcript = found.transcripts[0]
    assert transcript.text == text_behind(loaded.tokenizer, context, found.ids[0])
    assert transcript.token_ends[-1] == len(transcript.text)
    assert len(transcript.token_ends) == transcript.n_written == 30
    assert transcript.finish_reason == "length"


def test_the_cache_stays_within_its_budget(make: Make) -> None:
    loaded, contexts = make("llama"), [draw(14), draw(5, 1)]
    for policy in ("streaming:budget=12,newest=2", "h2o:budget=12,newest=2"):
        found = written(loaded, plugins.load("policy", policy), contexts, 60)
        for number, context in enumerate(contexts):
            transcript = found.transcripts[number]
            assert transcript.peak_tokens == len(context) + 13  # the newest token is read before the oldest goes
            assert transcript.peak_bytes == transcript.peak_tokens * 2 * 3 * 2 * 8 * 4
    half = written(loaded, plugins.load("policy", "random:budget=0.5,every=10,newest=2"), contexts, 60).transcripts[0]
    assert [(event.n_written, event.n_after - 14) for event in half.events] == [
        (10, 5),  # 4 of the sink and 1 of the newest step are protected
        *((n, math.floor((n - 1) / 2)) for n in (20, 30, 40, 50)),
    ]


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma3_text"])
def test_a_context_read_in_chunks_is_the_same_if_all_of_it_is_remembered(make: Make, family: str) -> None:
    loaded, ids = make(family), draw(40)
    opened = ContextReader(loaded, token_budget=7, keeps_all=True).open(Context(ids))
    expected = full_pass(loaded, ids, torch.ones(40, 40).tril().bool())
    assert change(opened.logits, expected[-1]) < TOLERANCE
    assert [parts[0].shape[2] for parts in keys_and_values(opened.cache) if parts is not None] == [40] * 3


def test_a_first_token_can_be_evicted_with_rotation(make: Make) -> None:
    """StreamingLLM as published: before the first token that was written is read, the prompt is beyond the budget."""
    policy = plugins.load("policy", "streaming:budget=8,protect_prompt=false,newest=0,positions=rerotate")
    found = written(make("llama"), policy, [draw(20)], 12)
    assert found.transcripts[0].events[0].n_written == 1
    assert {event.n_after for event in found.transcripts[0].events} == {8}


def test_rotation_at_every_token_is_refused_where_rounding_adds_up(make: Make) -> None:
    loaded = make("llama")
    half = LoadedModel(copy.deepcopy(loaded.model).to(torch.bfloat16), loaded.tokenizer, "half")
    with pytest.raises(ModelError, match="rounded at every eviction, which adds up in bfloat16; write positions=keep"):
        Evictor(half, plugins.load("policy", "streaming:positions=rerotate"), ChainEncoder(half.tokenizer), n_positions=64)


def test_a_probe_that_is_not_finite_ends_its_sample_alone(make: Make) -> None:
    """A key that is not a number, in the cache of one of two texts."""
    loaded, contexts = make("llama"), [draw(14), draw(9, 2)]

    @dataclass(frozen=True, kw_only=True)
    class Breaking(Watching):
        def is_due(self, writing: Writing) -> bool:
            return super().is_due(writing)

        def evict(self, moment: Moment) -> Eviction:
            if moment.writing.n_prompt == 14 and moment.writing.n_written == 4:
                assert moment.keys is not None
                moment.keys[0][:, 3] = torch.nan
            return super().evict(moment)

    found = written(loaded, Breaking(script={4: (), 8: ()}), contexts, 12)
    assert (found.transcripts[0].finish_reason, found.transcripts[1].finish_reason) == ("not_finite", "length")
    assert len(found.ids[1]) == 12


@pytest.mark.parametrize(
    ("gone", "reason"),
    [
        (lambda index: torch.zeros(3, dtype=torch.bool), r"gave \(3,\) torch.bool, expected \(3, 2, 12\) of torch.bool"),
        (lambda index: torch.zeros_like(index), "gave .* torch.int64"),
        (lambda index: (index == 3) & (torch.arange(2)[:, None] > 0), r"evicts \[0, 1\] tokens; as many must go in every head"),
    ],
)
def test_what_a_policy_gives_is_checked(make: Make, gone: Callable[[torch.Tensor], torch.Tensor], reason: str) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Wrong(Scripted):
        per_head: ClassVar[bool] = True

        def evict(self, moment: Moment) -> Eviction:
            return Eviction(gone(moment.index))

    with pytest.raises(PluginError, match=reason):
        written(make("llama"), Wrong(script={4: ()}), [draw(9)], 6)


@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_heads_and_rows_that_lost_different_tokens_are_written_on_as_they_would_be_alone(make: Make, family: str) -> None:
    """Contexts join a batch from which was evicted already; logits within 1e-5."""
    loaded, contexts = make(family), [draw(14), draw(5, 1), draw(9, 2), draw(20, 3)]
    policy = plugins.load("policy", f"h2o:budget=8,newest=2,scope={'per_head' if family == 'llama' else 'shared'}")
    together = written(loaded, policy, contexts, [30, 12, 40, 30], n_rows=2)
    for number in range(4):
        alone = written(loaded, policy, contexts, [30, 12, 40, 30], only=[number])
        assert together.ids[number] == alone.ids[number]
        assert change(together.logits[number], alone.logits[number]) < TOLERANCE
