"""Eviction while writing, against the model itself: its own generate, its eager weights, and full passes under a mask."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from reasoning_anatomy import plugins
from reasoning_anatomy.errors import ModelError, PluginError
from reasoning_anatomy.eviction import Eviction, EvictionPolicy, Moment, Positions, Writing
from reasoning_anatomy.eviction.nothing import Nothing
from reasoning_anatomy.generation.batch import Batch, Sample, begun, joined
from reasoning_anatomy.generation.completion import Sampling
from reasoning_anatomy.generation.contexts import Context, ContextReader, keys_and_values
from reasoning_anatomy.generation.decoding import Decoder, sampler
from reasoning_anatomy.generation.evicting import Evictor
from reasoning_anatomy.generation.stopping import StopRules
from reasoning_anatomy.generation.text import text_behind
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.transcripts import EvictionTranscript

FAMILIES = ("llama", "qwen2", "qwen3", "mistral", "gemma3_text")
"""Mistral and Gemma 3 with windows of 7 and 6 tokens."""
TOLERANCE = 1e-5
"""Of the largest logit, in float32."""
NO_END = StopRules(ends_of_turn=frozenset(), loop_tokens=0)

Make = Callable[..., LoadedModel]


def draw(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(100, 40_000, n)


@pytest.fixture
def make(make_random_model: Make, tokenizer: Any) -> Make:
    return lambda family: make_random_model(family, tokenizer)


@dataclass(frozen=True, kw_only=True)
class Scripted:
    """Evicts given tokens of the sequence when so many tokens have been written."""

    script: dict[int, tuple[int, ...]]
    positions: Positions = "keep"
    steps: str = "cue_words"
    per_head: ClassVar[bool] = False

    def at(self, threshold: float) -> "Scripted":
        return self

    def is_due(self, writing: Writing) -> bool:
        return writing.n_written in self.script

    def evict(self, moment: Moment) -> Eviction:
        return Eviction(torch.isin(moment.index, torch.tensor(self.script[moment.writing.n_written])))


@dataclass(frozen=True, kw_only=True)
class Watching(Scripted):
    """Sees all that a policy can see, and keeps it."""

    probe: str = "Stop here."
    window: int = 3
    accumulates_attention: ClassVar[Literal[True]] = True
    moments: list[Moment] = field(default_factory=list)

    def evict(self, moment: Moment) -> Eviction:
        self.moments.append(moment)
        return super().evict(moment)


@dataclass
class Written:
    ids: dict[int, list[int]]
    logits: dict[int, torch.Tensor]
    transcripts: dict[int, EvictionTranscript]


def written(
    loaded: LoadedModel,
    policy: EvictionPolicy,
    contexts: Sequence[np.ndarray],
    n: int | Sequence[int] = 24,
    *,
    n_rows: int = 8,
    sampling: Sampling | None = None,
    only: Sequence[int] | None = None,
) -> Written:
    """Samples behind each context, or some of them, greedy unless said otherwise, all in one batch."""
    lengths = [n] * len(contexts) if isinstance(n, int) else list(n)
    most = max(len(ids) + length for ids, length in zip(contexts, lengths, strict=True))
    evictor = Evictor(loaded, policy, ChainEncoder(loaded.tokenizer), n_positions=most)
    choose = sampler(sampling or Sampling(temperature=0))
    seen: dict[int, list[torch.Tensor]] = {number: [] for number in range(len(contexts))}

    def watch(logits: torch.Tensor, samples: Sequence[Sample[int]]) -> np.ndarray:
        for row, sample in zip(logits, samples, strict=True):
            seen[sample.key].append(row.clone())
        return choose(logits, samples)

    decoder = Decoder[int](loaded, choose=watch, rules=NO_END, n_rows=n_rows, evictor=evictor)
    reader = ContextReader(loaded, keeps_all=True)
    opened = ((reader.open(Context(ids)), [Sample(number, 7 + number, lengths[number])]) for number, ids in enumerate(contexts))
    found = Written({}, {}, {})
    for sample in decoder.write(opened):
        found.ids[sample.key] = sample.ids
        found.logits[sample.key] = torch.stack(seen[sample.key])
        found.transcripts[sample.key] = evictor.transcript(sample)
    return found


def generated(loaded: LoadedModel, ids: np.ndarray, n: int) -> list[int]:
    config = GenerationConfig(do_sample=False, max_new_tokens=n)
    config.eos_token_id = config.pad_token_id = None
    batch = torch.tensor(ids)[None]
    before, loaded.model.generation_config.eos_token_id = loaded.model.generation_config.eos_token_id, None
    try:
        output = loaded.model.generate(batch, attention_mask=torch.ones_like(batch), generation_config=config)
    finally:
        loaded.model.generation_config.eos_token_id = before
    return output[0, len(ids) :].tolist()


def full_pass(loaded: LoadedModel, ids: np.ndarray, visible: torch.Tensor) -> torch.Tensor:
    """Logits (T, vocabulary) of one pass in which token i sees j if ``visible[i, j]`` and the layer's window allows it."""
    config = loaded.model.config
    seen = {"full_attention": visible}
    if window := getattr(config, "sliding_window", None):
        distance = torch.arange(len(ids))[:, None] - torch.arange(len(ids))
        seen["sliding_attention"] = visible & (distance < window)
    masks = {
        kind: torch.zeros(len(ids), len(ids)).masked_fill(~mask, torch.finfo(torch.float32).min)[None, None]
        for kind, mask in seen.items()
    }
    mask: Any = masks["sliding_attention"] if config.model_type == "mistral" else masks
    if config.model_type == "llama":
        mask = masks["full_attention"]
    with torch.inference_mode():
        return loaded.model(torch.tensor(ids)[None], attention_mask=mask, use_cache=False).logits[0].float()


def change(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("n_rows", [2, 8])
@pytest.mark.parametrize("family", [*FAMILIES, "gpt2"])
def test_evicting_nothing_is_generate_token_by_token(make: Make, family: str, n_rows: int) -> None:
    loaded, contexts = make(family), [draw(14), draw(5, 1), draw(9, 2)]
    found = written(loaded, Nothing(), contexts, n_rows=n_rows)
    assert found.ids == {number: generated(loaded, ids, 24) for number, ids in enumerate(contexts)}
    assert [found.transcripts[number].peak_tokens for number in range(3)] == [14 + 23, 5 + 23, 9 + 23]


@pytest.mark.parametrize("family", FAMILIES)
def test_keeping_positions_is_a_full_pass_in_which_later_tokens_do_not_see_what_is_gone(make: Make, family: str) -> None:
    """Tokens that were read before an eviction saw what is gone; windows count positions of the whole text."""
    loaded, contexts = make(family), [draw(14), draw(5, 1), draw(9, 2)]
    script = {6: (3, 5, 6, 10), 13: (2, 8, 11, 12, 16)}
    found = written(loaded, Scripted(script=script), contexts)
    for number, context in enumerate(contexts):
        ids = np.concatenate([context, found.ids[number]])
        visible = torch.ones(len(ids), len(ids)).tril().bool()
        for n_written, gone in script.items():
            visible[len(context) + n_written - 1 :, [token for token in gone if token < len(context) + n_written - 1]] = False
        expected = full_pass(loaded, ids, visible)[len(context) - 1 : -1]
        assert change(found.logits[number], expected) < TOLERANCE
        assert found.transcripts[number].events[0].n_after < found.transcripts[number].events[0].n_before


@pytest.mark.parametrize("family", FAMILIES)
def test_reading_anew_is_a_new_pass_over_the_ids_that_are_left(make: Make, family: str) -> None:
    loaded, contexts, gone = make(family), [draw(14), draw(5, 1), draw(9, 2)], (3, 5, 6, 8)
    found = written(loaded, Scripted(script={6: gone}, positions="reprefill"), contexts)
    for number, context in enumerate(contexts):
        ids = np.concatenate([context, found.ids[number]])
        left = np.setdiff1d(np.arange(len(ids)), gone)
        expected = full_pass(loaded, ids[left], torch.ones(len(left), len(left)).tril().bool())
        n_behind = 24 - 6
        assert change(found.logits[number][6:], expected[-n_behind - 1 : -1]) < TOLERANCE


def cached(
    loaded: LoadedModel, script: Sequence[tuple[int, ...]], *, positions: Positions, contexts: Sequence[np.ndarray]
) -> Batch[int]:
    """A batch behind contexts, from which is evicted several times in a row before the next token is read."""
    policy = _InTurn(script=list(script), positions=positions, n_rows=len(contexts))
    evictor = Evictor(loaded, policy, ChainEncoder(loaded.tokenizer), n_positions=64)
    parts = []
    for number, ids in enumerate(contexts):
        opened = ContextReader(loaded, keeps_all=True).open(Context(ids))
        sample = Sample(number, 0, 8, ids=[int(opened.logits.argmax())])
        evictor.follow(opened, [sample])
        parts.append(begun(opened, [sample]))
        evictor.begin(parts[-1])
    batch = joined(parts)
    with torch.inference_mode(), evictor.attending(_with_slot(batch)):
        loaded.model(
            input_ids=torch.tensor([[sample.ids[-1]] for sample in batch.samples]),
            position_ids=batch.positions[:, None],
            past_key_values=batch.cache,
            use_cache=True,
        )
    batch.go_on()
    for sample in batch.samples:
        sample.ids.append(5)
    for _ in script:
        evictor.evict(batch)
    return batch


def _with_slot(batch: Batch[int]) -> Batch[int]:
    batch.add_slot()
    return batch


@dataclass(frozen=True, kw_only=True)
class _InTurn:
    script: list[tuple[int, ...]]
    positions: Positions
    n_rows: int
    steps: str = "cue_words"
    per_head: ClassVar[bool] = False
    asked: list[int] = field(default_factory=list)

    def at(self, threshold: float) -> "_InTurn":
        return self

    def is_due(self, writing: Writing) -> bool:
        return True

    def evict(self, moment: Moment) -> Eviction:
        gone = self.script[len(self.asked) // self.n_rows]
        self.asked.append(0)
        return Eviction(torch.isin(moment.index, torch.tensor(gone)))


@pytest.mark.parametrize("family", FAMILIES)
def test_two_evictions_with_rotation_are_one_of_both(make: Make, family: str) -> None:
    loaded, contexts = make(family), [draw(14), draw(8, 1)]
    twice = cached(loaded, [(1, 4), (2, 6, 7)], positions="rerotate", contexts=contexts)
    once = cached(loaded, [(1, 2, 4, 6, 7)], positions="rerotate", contexts=contexts)
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
    moved = cached(loaded, [gone], positions="rerotate", contexts=[ids])
    kept = cached(loaded, [gone], positions="keep", contexts=[ids])
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
    assert found.ids == {number: generated(loaded, ids, 24) for number, ids in enumerate(contexts)}
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
