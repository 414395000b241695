"""Writing many samples at a time, against `generate` of transformers for each of them alone."""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from reasoning_anatomy.errors import ModelError
from reasoning_anatomy.generation.batch import Sample
from reasoning_anatomy.generation.check import check_decoding, largest_decoding_change
from reasoning_anatomy.generation.completion import Sampling
from reasoning_anatomy.generation.contexts import Context, ContextReader
from reasoning_anatomy.generation.decoding import Decoder, ends_of_turn, sampler
from reasoning_anatomy.generation.rows import rows_that_fit
from reasoning_anatomy.generation.stopping import StopRules
from reasoning_anatomy.models.loading import LoadedModel

FULL_ATTENTION = ("llama", "gpt2", "bloom")
OTHERS = ("mistral", "gemma3_text", "gemma4_text", "qwen3_next", "jamba", "lfm2")
GREEDY = Sampling(temperature=0)
DRAWN = Sampling(temperature=1.0, top_p=0.95)
NO_END = StopRules(ends_of_turn=frozenset(), loop_tokens=0)

Make = Callable[[str], LoadedModel]


def draw(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(3, 97, n)


def written(
    loaded: LoadedModel,
    contexts: Sequence[np.ndarray],
    lengths: Sequence[Sequence[int]],
    *,
    sampling: Sampling = GREEDY,
    n_rows: int = 8,
    rules: StopRules = NO_END,
) -> tuple[dict[tuple[int, int], Sample[Any]], Decoder[Any]]:
    """Samples by (context, number), each with its own largest length; its seed follows from both."""
    decoder = Decoder[Any](loaded, choose=sampler(sampling), rules=rules, n_rows=n_rows)
    reader = ContextReader(loaded)
    together = (
        (
            reader.open(Context(ids)),
            [Sample((number, row), 100 * number + row, most) for row, most in enumerate(lengths[number])],
        )
        for number, ids in enumerate(contexts)
    )
    return {sample.key: sample for sample in decoder.write(together)}, decoder


def generated(loaded: LoadedModel, ids: np.ndarray, n: int) -> list[int]:
    """What ``generate`` writes greedily behind ids (T,), alone."""
    return _generated(loaded, tuple(ids.tolist()), n)


@cache
def _generated(loaded: LoadedModel, ids: tuple[int, ...], n: int) -> list[int]:
    config = GenerationConfig(do_sample=False, max_new_tokens=n)
    config.eos_token_id = config.pad_token_id = None
    batch = torch.tensor(ids)[None]
    before, loaded.model.generation_config.eos_token_id = loaded.model.generation_config.eos_token_id, None
    try:
        output = loaded.model.generate(batch, attention_mask=torch.ones_like(batch), generation_config=config)
    finally:
        loaded.model.generation_config.eos_token_id = before
    return output[0, len(ids) :].tolist()


@pytest.mark.parametrize("n_rows", [3, 8])
@pytest.mark.parametrize("family", [*FULL_ATTENTION, *OTHERS])
def test_every_row_is_what_generate_writes_alone(make_random_model: Make, family: str, n_rows: int) -> None:
    """Contexts of several lengths; rows that end at different times; more rows than there is room for."""
    loaded = make_random_model(family)
    contexts = [draw(14), draw(5, 1), draw(9, 2), draw(14, 3)]
    lengths = [(3, 12), (12,), (1, 7, 2), (9, 9, 4, 4, 11)]
    samples, _ = written(loaded, contexts, lengths, n_rows=n_rows)
    assert set(samples) == {(number, row) for number, of_context in enumerate(lengths) for row in range(len(of_context))}
    for (number, row), sample in samples.items():
        assert sample.ids == generated(loaded, contexts[number], 12)[: lengths[number][row]]
        assert sample.finish_reason == "length"


@pytest.mark.parametrize("family", ["llama", "mistral", "jamba"])
def test_a_sample_is_the_same_alone_and_in_any_batch(make_random_model: Make, family: str) -> None:
    loaded = make_random_model(family)
    contexts, lengths = [draw(14), draw(5, 1), draw(9, 2)], [(12, 12, 5), (12, 3), (12,)]
    together, _ = written(loaded, contexts, lengths, sampling=DRAWN)
    in_twos, _ = written(loaded, contexts, lengths, sampling=DRAWN, n_rows=2)
    assert {key: sample.ids for key, sample in in_twos.items()} == {key: sample.ids for key, sample in together.items()}
    for number in range(3):
        for row in range(len(lengths[number])):
            only = [(), (), ()]
            only[number] = lengths[number]
            alone, _ = written(loaded, contexts, only, sampling=DRAWN, n_rows=1)
            assert alone[number, row].ids == together[number, row].ids
    assert len({tuple(sample.ids[:3]) for sample in together.values()}) > 3


def test_no_more_rows_are_run_at_a_time_than_allowed_and_not_many_in_vain(make_random_model: Make) -> None:
    loaded, widths = make_random_model("llama"), []
    forward = loaded.model.forward

    def watched(input_ids: torch.Tensor, **options: Any) -> Any:
        widths.append(len(input_ids))
        return forward(input_ids=input_ids, **options)

    model = _Changed(loaded, watched)
    lengths = [(20, 1, 5), (9, 9, 9, 9, 9, 9, 9, 9, 9), (3,), (15, 2)]
    samples, decoder = written(model, [draw(9, seed) for seed in range(4)], lengths, n_rows=4)
    assert max(widths) <= 4
    n_needed = sum(length - 1 for of_context in lengths for length in of_context)  # the first comes with the context
    assert {key: len(sample.ids) for key, sample in samples.items()} == {
        (number, row): length for number, of_context in enumerate(lengths) for row, length in enumerate(of_context)
    }
    assert n_needed <= decoder.row_forwards <= 1.25 * n_needed


def test_rows_that_have_ended_stay_within_the_context(make_random_model: Make) -> None:
    """With learned positions, a row that ended at the end of the context could not be run at the positions behind it."""
    loaded = make_random_model("gpt2")
    assert loaded.context_length == 128
    full, short = draw(126), draw(5, 1)
    samples, _ = written(loaded, [full, short], [(2,), (20, 20, 20, 20)])
    assert samples[0, 0].ids == generated(loaded, full, 2)
    assert samples[1, 3].ids == generated(loaded, short, 20)


def test_each_of_several_ends_of_turn_ends_a_row_which_is_cut_there(make_random_model: Make) -> None:
    loaded, contexts = make_random_model("llama"), [draw(9, seed) for seed in range(6)]
    texts = [generated(loaded, ids, 16) for ids in contexts]
    ends = frozenset({texts[0][4], texts[1][9]})
    samples, _ = written(loaded, contexts, [(16,)] * 6, rules=StopRules(ends_of_turn=ends, loop_tokens=0))
    for number, text in enumerate(texts):
        end = next((place for place, token in enumerate(text) if token in ends), None)
        sample = samples[number, 0]
        assert sample.finish_reason == ("length" if end is None else "eos")
        assert sample.ids == (text if end is None else text[: end + 1])
        assert sample.written == (text if end is None else text[:end])
    assert {sample.finish_reason for sample in samples.values()} == {"eos", "length"}


def test_ends_of_turn_are_all_that_the_files_of_a_model_name(make_random_model: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = make_random_model("llama")
    monkeypatch.setattr(loaded.model.generation_config, "eos_token_id", [7, 9])
    assert ends_of_turn(loaded) == {7, 9, 2}  # 2 is that of config.json
    monkeypatch.setattr(loaded.model.generation_config, "eos_token_id", None)
    assert ends_of_turn(loaded) == {2}


class _Changed:
    """A model with another forward pass."""

    def __new__(cls, loaded: LoadedModel, forward: Callable[..., Any]) -> Any:
        self = super().__new__(cls)
        self._model, self._forward = loaded.model, forward
        return LoadedModel(self, None, loaded.id)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._forward(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("sampling", [GREEDY, DRAWN])
def test_logits_that_are_not_numbers_end_the_sample_and_no_other(
    make_random_model: Make, value: float, sampling: Sampling
) -> None:
    """Those of the longer context are broken from position 11 on, as soon as it is read in the third."""
    loaded = make_random_model("llama")

    def broken(input_ids: torch.Tensor, **options: Any) -> Any:
        output = loaded.model(input_ids=input_ids, **options)
        output.logits[options["position_ids"].expand(len(input_ids), -1).amax(dim=1) > 10, :, 5] = value
        return output

    contexts, lengths = [draw(9), draw(3), draw(14)], [(8, 8), (5, 3), (4,)]
    samples, _ = written(_Changed(loaded, broken), contexts, lengths, sampling=sampling)
    whole, _ = written(loaded, contexts, lengths, sampling=sampling)
    reasons = {key: sample.finish_reason for key, sample in samples.items()}
    assert reasons == {
        (0, 0): "not_finite", (0, 1): "not_finite", (1, 0): "length", (1, 1): "length", (2, 0): "not_finite",
    }  # fmt: skip
    assert [len(samples[key].ids) for key in sorted(samples)] == [3, 3, 5, 3, 0]
    for key, sample in samples.items():
        assert sample.ids == whole[key].ids[: len(sample.ids)]


def test_a_check_passes_over_what_the_model_cannot_read(make_random_model: Make) -> None:
    loaded = make_random_model("llama")

    def broken(input_ids: torch.Tensor, **options: Any) -> Any:
        output = loaded.model(input_ids=input_ids, **options)
        output.logits = output.logits + torch.where((input_ids == 2).any(), math.nan, 0.0)
        return output

    changed, bad = _Changed(loaded, broken), np.full(4, 2)
    assert largest_decoding_change(changed, bad) is None
    assert 0 <= check_decoding(changed, [draw(20), bad])["decoding_changes_logits_by"] < 1e-5
    unread = "^llama: how it writes could be checked on none of 1 contexts; the model gives logits that are not finite numbers"
    with pytest.warns(UserWarning, match=unread):
        assert check_decoding(changed, [bad]) == {}


@pytest.mark.parametrize("family", [*FULL_ATTENTION, *OTHERS, "qwen2", "gemma2", "granitemoehybrid"])
def test_writing_together_changes_the_logits_by_rounding_at_most(make_random_model: Make, family: str) -> None:
    assert largest_decoding_change(make_random_model(family), draw(20)) < 1e-5


def test_a_model_that_remembers_only_states_is_refused(make_random_model: Make) -> None:
    """Mamba takes what it remembers by another name, so that it would begin anew with every token."""
    with pytest.raises(ModelError, match=r"^mamba: writing samples from a shared cache"):
        largest_decoding_change(make_random_model("mamba"), draw(20))


def test_a_model_in_which_other_rows_change_the_logits_is_refused(make_random_model: Make) -> None:
    loaded = make_random_model("llama")

    def mixed(input_ids: torch.Tensor, **options: Any) -> Any:
        output = loaded.model(input_ids=input_ids, **options)
        output.logits = output.logits + 0.01 * output.logits.mean(dim=0, keepdim=True) * (len(input_ids) > 1)
        return output

    with pytest.raises(ModelError, match=r"^llama: writing samples from a shared cache changes the logits by .*: --url$"):
        largest_decoding_change(_Changed(loaded, mixed), draw(20))


def test_the_next_context_is_read_only_when_there_is_room(make_random_model: Make) -> None:
    loaded, opened, done = make_random_model("llama"), [], []
    decoder = Decoder[int](loaded, choose=sampler(GREEDY), rules=NO_END, n_rows=2)
    reader = ContextReader(loaded)

    def contexts() -> Any:
        for number in range(6):
            opened.append(number)
            yield reader.open(Context(draw(6, number))), [Sample(number, 0, 4)]

    for sample in decoder.write(contexts()):
        done.append(sample.key)
        assert len(opened) <= len(done) + 2
    assert sorted(done) == list(range(6))


def test_a_model_that_rotates_all_rows_by_the_longest_writes_one_at_a_time_where_it_would() -> None:
    """Longrope beyond its original length of 16: alone, each is what generate writes; in a batch the short one is not."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        head_dim=8, max_position_embeddings=64, initializer_range=0.3, original_max_position_embeddings=16,
        rope_parameters={
            "rope_type": "longrope", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16,
            "short_factor": [1.0] * 4, "long_factor": [4.0, 3.0, 2.0, 1.5],
        },
    )  # fmt: skip
    loaded = LoadedModel(AutoModelForCausalLM.from_config(config).eval(), None, "longrope")
    assert rows_that_fit(loaded, 16, asked=8) == 8
    assert rows_that_fit(loaded, 17, asked=8) == 1
    contexts = [draw(30), draw(5, 1)]
    samples, _ = written(loaded, contexts, [(6,), (6,)], n_rows=rows_that_fit(loaded, 36, asked=8))
    assert samples[0, 0].ids == generated(loaded, contexts[0], 6)
    assert samples[1, 0].ids == generated(loaded, contexts[1], 6)
