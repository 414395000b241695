"""Recorded attention against eager attention with the whole matrix."""

import copy
import itertools
import math
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoConfig, AutoModelForCausalLM

from reasoning_anatomy.attention import recorder, recording, weights
from reasoning_anatomy.attention.observation import OF_QUERIES, ROW_MEASURES, Observation
from reasoning_anatomy.attention.own_weights import own_weights
from reasoning_anatomy.attention.projection import expect_plain_projections, output_matrix
from reasoning_anatomy.attention.recorder import Recorder
from reasoning_anatomy.attention.recording import longest_chunk, record
from reasoning_anatomy.attention.rows import RowWeights
from reasoning_anatomy.errors import ModelError
from reasoning_anatomy.importance.answer_attention import AnswerAttention
from reasoning_anatomy.importance.attention_sparsity import AttentionSparsity
from reasoning_anatomy.importance.contribution import Contribution
from reasoning_anatomy.models import attention_interface
from reasoning_anatomy.models.capabilities import can_be_chunked
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import LoadedModel, ModelSpec, load_model
from reasoning_anatomy.pipeline import recorded_weights
from reasoning_anatomy.pipeline.checks import largest_chunking_change, largest_logit_change
from reasoning_anatomy.pipeline.recorded_weights import largest_weight_difference

FAMILIES = (
    "llama", "qwen2", "qwen3", "mistral", "phi", "phi3", "gemma2", "gemma3_text", "gpt_oss", "llama4_text", "gpt2", "gpt_neox",
    "opt",
)  # fmt: skip
IN_CHUNKS = pytest.mark.parametrize("token_budget", [None, 8, 5])  # of 31 tokens; the windows are 6, 7 and 9
IDS = np.random.default_rng(0).integers(3, 97, 31)
QUERIES, KEYS = np.arange(6, 29), range(4, 20)
TOLERANCE = 1e-5  # float32, as promised


def eager_weights(loaded: LoadedModel, ids: np.ndarray = IDS) -> Tensor:
    """(layers, heads, T, T) of the model's own eager attention."""
    before = loaded.model.config._attn_implementation
    loaded.model.set_attn_implementation("eager")
    try:
        with torch.inference_mode():
            attentions = loaded.model(input_ids=torch.from_numpy(ids)[None], output_attentions=True, use_cache=False).attentions
    finally:
        loaded.model.set_attn_implementation(before)
    return torch.cat(attentions).float()


def visible(loaded: LoadedModel, n_tokens: int) -> np.ndarray:
    """(layers, T, T) who sees whom by the model's configuration."""
    config, i, j = loaded.text_config, *np.ogrid[:n_tokens, :n_tokens]
    window, chunk = getattr(config, "sliding_window", None), getattr(config, "attention_chunk_size", None)
    by_kind = {
        "full_attention": j <= i,
        "sliding_attention": (j <= i) & (i - j < (window or n_tokens)),
        "chunked_attention": (j <= i) & (i // (chunk or n_tokens) == j // (chunk or n_tokens)),
    }
    kinds = getattr(config, "layer_types", None) or ["sliding_attention"] * loaded.n_layers
    return np.stack([by_kind[kind] for kind in kinds])


def observe(reduction: str, **options: object) -> Observation:
    return Observation(**{"reduction": reduction, "queries": QUERIES, "keys": KEYS} | options)


def mean(queries: np.ndarray = QUERIES) -> np.ndarray:
    return np.full(len(queries), 1 / len(queries))


@IN_CHUNKS
@pytest.mark.parametrize("family", FAMILIES)
def test_recorded_attention_equals_eager(make_random_model, family, token_budget):
    loaded = make_random_model(family)
    observations = [observe("sum", weight=mean()), observe("rows")]
    received, rows = record(loaded, IDS, observations, token_budget=token_budget)
    weights = eager_weights(loaded)[:, :, 6:29]
    assert rows.shape == (3, 4, 23, 16)
    np.testing.assert_allclose(rows, weights[..., 4:20], atol=TOLERANCE)
    np.testing.assert_allclose(received, weights[..., 4:20].mean(dim=2), atol=TOLERANCE)


def gini(shares: np.ndarray) -> float:
    """Half of the mean absolute difference of two shares, by their mean."""
    return np.abs(shares[:, None] - shares).mean() / (2 * shares.mean())


def top_decile(shares: np.ndarray) -> float:
    """What the Lorenz curve has left at nine tenths."""
    curve = np.concatenate([[0], np.cumsum(np.sort(shares))]) / shares.sum()
    return 1 - np.interp(0.9, np.linspace(0, 1, len(curve)), curve)


@pytest.mark.parametrize(
    ("shares", "measures"),
    [
        ([1], (0, 0, 0.1)),
        ([0.25] * 4, (math.log(4), 0, 0.1)),
        ([0.1] * 10, (math.log(10), 0, 0.1)),
        ([0, 0, 0, 1], (0, 0.75, 0.4)),
        ([0.1, 0.2, 0.3, 0.4], (1.279854, 0.25, 0.16)),
        ([0.5, *[0.02] * 25], (0.5 * math.log(2) + 0.5 * math.log(50), 0.5 - 1 / 26, 0.5 + 1.6 * 0.02)),
        ([0, 1, *[0] * 18], (0, 0.95, 1)),
    ],
)
def test_measures_of_a_row_by_hand(shares, measures):
    row = torch.tensor([0.0, *shares, 0.0])[None, None]  # two keys that are not seen
    rows = RowWeights(row, torch.tensor([float(len(shares))]))
    found = [float(getattr(rows, measure)) for measure in ROW_MEASURES]
    np.testing.assert_allclose(found, measures, atol=1e-6)
    with_sink = RowWeights(0.3 * row, rows.n_visible)  # the rest is a learned sink's
    np.testing.assert_allclose([float(getattr(with_sink, measure)) for measure in ROW_MEASURES], measures, atol=1e-6)


@IN_CHUNKS
@pytest.mark.parametrize("exclude_sink", [0, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_measures_of_rows_are_those_of_eager_weights_over_what_a_query_sees(
    make_random_model, family, exclude_sink, token_budget
):
    loaded = make_random_model(family)
    eager, seen = eager_weights(loaded).double().numpy()[:, :, 6:29], visible(loaded, 31)[:, 6:29].copy()
    seen[..., :exclude_sink] = False
    observations = [observe(reduction, exclude_sink=exclude_sink) for reduction in OF_QUERIES]
    *found, n_visible = record(loaded, IDS, observations, token_budget=token_budget)
    assert n_visible[:, 0].tolist() == seen.sum(axis=2).tolist()
    for measure, values in zip((stats.entropy, gini, top_decile), found, strict=True):
        expected = [
            [[measure(row[keys]) for row, keys in zip(head, seen[layer], strict=True)] for head in heads]
            for layer, heads in enumerate(eager)
        ]
        np.testing.assert_allclose(values, expected, atol=TOLERANCE)


def test_a_query_that_sees_nothing_has_no_measure(make_random_model):
    found = record(make_random_model("llama"), IDS, [observe(each, exclude_sink=12) for each in OF_QUERIES])
    assert all((values[:, :, :6] == 0).all() for values in found)  # the queries 6 to 11
    assert all((values[:, :, 7:] > 0).all() for values in found)


@pytest.mark.parametrize("index", [0, 30])
def test_recorded_attention_equals_eager_on_a_real_model(smollm2, example_chains, index):
    ids = ChainEncoder(smollm2.tokenizer).encode(example_chains[index]).ids
    everything = {"queries": np.arange(len(ids)), "keys": range(len(ids)), "weight": mean(ids)}
    whole = record(smollm2, ids, [observe("sum", **everything)])[0]
    in_chunks = record(smollm2, ids, [observe("sum", **everything)], token_budget=32)[0]
    expected = eager_weights(smollm2, ids).mean(dim=2)
    assert whole.shape == (30, 9, len(ids))
    np.testing.assert_allclose(whole, expected, atol=TOLERANCE)
    np.testing.assert_allclose(in_chunks, expected, atol=TOLERANCE)


@IN_CHUNKS
@pytest.mark.parametrize("family", FAMILIES)
def test_exposure_counts_the_queries_that_see_a_token(make_random_model, family, token_budget):
    loaded = make_random_model(family)
    counts = visible(loaded, len(IDS))[:, QUERIES][:, :, KEYS]
    found = record(loaded, IDS, [observe("exposure"), observe("exposure", weight=mean())], token_budget=token_budget)
    assert found[0].tolist() == counts.sum(axis=1)[:, None].tolist()
    np.testing.assert_allclose(found[1], counts.mean(axis=1)[:, None], rtol=1e-6)


VALUES = {
    "phi3": ("qkv_proj", slice(48, 64)), "gpt2": ("c_attn", slice(64, 96)), "gpt_neox": ("query_key_value", None),
}  # fmt: skip


def values_and_outputs(loaded: LoadedModel, family: str) -> tuple[list[Tensor], list[Tensor], list[torch.nn.Module]]:
    """What hooks on the model's own layers see: values (T, kv_heads, head_dim), attention outputs, output projections."""
    layers = [module for module in loaded.model.modules() if hasattr(module, "layer_idx") and hasattr(module, "is_causal")]
    name, part = VALUES.get(family, ("v_proj", slice(None)))
    projections = [
        next(module for child, module in layer.named_children() if child in ("o_proj", "out_proj", "dense", "c_proj"))
        for layer in layers
    ]
    values, outputs = [], []
    hooks = [getattr(layer, name).register_forward_hook(lambda *call: values.append(call[2][0])) for layer in layers]
    hooks += [projection.register_forward_hook(lambda *call: outputs.append(call[2][0])) for projection in projections]
    with torch.inference_mode():
        loaded.model(input_ids=torch.from_numpy(IDS)[None], use_cache=False)
    for hook in hooks:
        hook.remove()
    if family == "gpt_neox":  # per head: query, key, value
        return [value.view(len(IDS), 4, 3, -1)[:, :, 2] for value in values], outputs, projections
    return [value[:, part].reshape(len(IDS), -1, 8) for value in values], outputs, projections


@IN_CHUNKS
@pytest.mark.parametrize("family", FAMILIES)
def test_contribution_is_the_length_of_weighted_projected_values(make_random_model, family, token_budget):
    loaded = make_random_model(family)
    weights = eager_weights(loaded)
    expected = []
    for of_layer, value, output, projection in zip(weights, *values_and_outputs(loaded, family), strict=True):
        matrix = projection.weight if isinstance(projection, torch.nn.Linear) else projection.weight.T
        by_head = matrix.detach().view(matrix.shape[0], 4, 8)
        value = value.repeat_interleave(4 // value.shape[1], dim=1)
        added = torch.einsum("hij,jhd,ohd->hijo", of_layer, value, by_head)
        bias = 0 if projection.bias is None else projection.bias.detach()
        np.testing.assert_allclose(added.sum(dim=(0, 2)) + bias, output.reshape(len(IDS), -1), atol=1e-3)  # all is there
        expected.append(added.norm(dim=3)[:, QUERIES][:, :, KEYS].sum(dim=1))
    (found,) = record(loaded, IDS, [observe("contribution")], token_budget=token_budget)
    np.testing.assert_allclose(found, torch.stack(expected), rtol=1e-4, atol=TOLERANCE)


@IN_CHUNKS
@pytest.mark.parametrize("exclude_sink", [1, 5, 12])
@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2", "gpt_oss", "llama4_text"])
def test_without_sink_the_rest_of_each_row_is_renormalised(make_random_model, family, exclude_sink, token_budget):
    loaded = make_random_model(family)
    weights = eager_weights(loaded).double()
    weights[..., :exclude_sink] = 0
    total = weights.sum(dim=3, keepdim=True)
    rest = torch.where(total > 1e-6, weights / total, torch.nan)[:, :, 6:29, 4:20].numpy()  # else eager has rounded it away
    seen = visible(loaded, 31)[:, None, 6:29, exclude_sink:].any(axis=3)
    rows, received, exposure = record(
        loaded, IDS, [observe(reduction, exclude_sink=exclude_sink) for reduction in ("rows", "sum", "exposure")],
        token_budget=token_budget,
    )  # fmt: skip
    known = np.isfinite(rest)
    assert known.mean() > 0.5
    np.testing.assert_allclose(rows[known], rest[known], atol=TOLERANCE)
    assert (rows[~np.broadcast_to(seen, rows.shape[:3])] == 0).all()
    assert (rows[..., : max(0, exclude_sink - 4)] == 0).all()
    np.testing.assert_allclose(received, rows.sum(axis=2), atol=TOLERANCE)
    expected = visible(loaded, 31)[:, 6:29, 4:20] & (np.arange(4, 20) >= exclude_sink)
    assert exposure[:, 0].tolist() == expected.sum(axis=1).tolist()


@IN_CHUNKS
@pytest.mark.parametrize("family", ["llama", "mistral", "llama4_text"])
def test_a_query_counts_for_keys_before_its_limit(make_random_model, family, token_budget):
    loaded = make_random_model(family)
    key_stop = np.maximum(0, QUERIES // 3 * 3 - 4)
    weight = np.random.default_rng(1).random(len(QUERIES))
    limited = np.arange(31) < key_stop[:, None]
    expected = np.einsum("i,lhij->lhj", weight, eager_weights(loaded)[:, :, 6:29].numpy() * limited)[..., 4:20]
    counts = np.einsum("i,lij->lj", weight, visible(loaded, 31)[:, 6:29] * limited)[:, None, 4:20]
    observations = [observe(reduction, weight=weight, key_stop=key_stop) for reduction in ("sum", "exposure")]
    received, exposure = record(loaded, IDS, observations, token_budget=token_budget)
    np.testing.assert_allclose(received, expected, atol=TOLERANCE)
    np.testing.assert_allclose(exposure, counts, atol=TOLERANCE)


def some_observations() -> Iterator[Observation]:
    few = np.array([7, 11, 12, 30])
    for reduction, exclude_sink in itertools.product(("sum", "contribution", "exposure", "rows", *OF_QUERIES), (0, 2)):
        yield observe(reduction, exclude_sink=exclude_sink)
        yield observe(reduction, exclude_sink=exclude_sink, queries=few, keys=range(31))


@pytest.mark.parametrize("token_budget", [None, 8])
def test_observations_of_one_pass_do_not_disturb_each_other(make_random_model, token_budget):
    loaded, observations = make_random_model("mistral"), list(some_observations())
    together = record(loaded, IDS, observations, token_budget=token_budget)
    for observation, found in zip(observations, together, strict=True):
        np.testing.assert_allclose(found, record(loaded, IDS, [observation])[0], atol=TOLERANCE, rtol=TOLERANCE)


def test_what_several_observations_ask_for_is_recorded_once(make_random_model):
    once, again = record(make_random_model("llama"), IDS, [observe("sum"), observe("sum")])
    assert again is once


@pytest.mark.parametrize(
    "other",
    [
        {"queries": QUERIES[1:]}, {"keys": KEYS[1:]}, {"weight": np.full(len(QUERIES), 2.0)}, {"key_stop": QUERIES - 5},
        {"exclude_sink": 1}, {"reduction": "contribution"},
    ],
    ids=lambda other: next(iter(other)),
)  # fmt: skip
def test_observations_that_differ_in_one_thing_are_recorded_apart(make_random_model, other):
    loaded = make_random_model("llama")
    changed = observe(**{"reduction": "sum"} | other)
    one, two = record(loaded, IDS, [observe("sum"), changed])
    np.testing.assert_allclose(two, record(loaded, IDS, [changed])[0], atol=TOLERANCE)
    assert one.shape != two.shape or not np.allclose(one, two, atol=0.01)


@pytest.mark.parametrize("elements", [1, 150, 1000])
def test_the_size_of_a_block_changes_nothing(make_random_model, monkeypatch, elements):
    loaded, observations = make_random_model("gemma3_text"), list(some_observations())
    expected = record(loaded, IDS, observations)
    monkeypatch.setitem(recorder._BLOCK_ELEMENTS, "cpu", elements)
    for found, whole in zip(record(loaded, IDS, observations), expected, strict=True):
        np.testing.assert_allclose(found, whole, atol=TOLERANCE, rtol=TOLERANCE)


class Largest(TorchDispatchMode):
    """Largest tensor that any operation returns."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **kwargs or {})
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                self.numel = max(self.numel, tensor.numel())
        return result


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_memory_grows_with_the_length_and_not_with_its_square(make_random_model, monkeypatch, family):
    monkeypatch.setitem(recorder._BLOCK_ELEMENTS, "cpu", 1)
    loaded, largest = make_random_model(family), []
    for n_tokens in (160, 320):
        ids = np.random.default_rng(0).integers(3, 97, n_tokens)
        everything = {"queries": np.arange(n_tokens), "keys": range(n_tokens)}
        with Largest() as mode:
            record(loaded, ids, [observe(each, **everything) for each in ("sum", "contribution", *OF_QUERIES)], token_budget=32)
        largest.append(mode.numel)
    assert largest[1] <= 2 * largest[0]
    assert largest[1] < 320 * 320 / 2


def test_recording_continues_in_smaller_chunks_if_memory_runs_out(make_random_model):
    loaded, lengths, most = make_random_model("llama"), [], 100

    def run_out(module, args, kwargs):
        lengths.append(kwargs["input_ids"].shape[1])
        if lengths[-1] > most:
            raise torch.OutOfMemoryError("out of memory")

    ids = np.random.default_rng(0).integers(3, 97, 300)
    observation = observe("sum", queries=np.array([299]), keys=range(300))
    expected = record(loaded, ids, [observation])
    hook = loaded.model.register_forward_pre_hook(run_out, with_kwargs=True)
    try:
        found = record(loaded, ids, [observation])
        assert lengths == [300, 150, 75, 75, 75, 75]
        np.testing.assert_allclose(found, expected, atol=TOLERANCE)
        most = 0
        with pytest.raises(torch.OutOfMemoryError):
            record(loaded, ids, [observation])
    finally:
        hook.remove()


@pytest.mark.parametrize("family", ["llama", "gemma3_text"])
def test_weights_are_float32_in_a_model_of_half_precision(make_random_model, family):
    loaded = make_random_model(family)
    half = LoadedModel(copy.deepcopy(loaded.model).bfloat16(), None, family)
    rows = record(half, IDS, [observe("rows", keys=range(31))])[0]
    assert rows.dtype == np.float32
    assert np.abs(rows.sum(axis=3) - 1).max() < 1e-6
    in_half = eager_weights(half)[:, :, 6:29].numpy()
    assert np.abs(in_half.sum(axis=3) - 1).max() > 1e-4  # which is why
    assert np.abs(rows - in_half)[0].max() < 1e-2  # the first layer has the same inputs


def in_dtype(loaded: LoadedModel, dtype: torch.dtype, **options: str) -> LoadedModel:
    model = copy.deepcopy(loaded.model).to(dtype)
    if options:
        model.set_attn_implementation(**options)
    return LoadedModel(model, None, loaded.id)


@pytest.mark.parametrize("elements", [1, 500])
@pytest.mark.parametrize("family", ["gemma2", "gpt_oss"])
def test_eager_attention_in_blocks_changes_the_logits_by_rounding(
    make_random_model, make_random_chain, monkeypatch, family, elements
):
    monkeypatch.setitem(attention_interface._BLOCK_ELEMENTS, "cpu", elements)
    assert 0 < largest_logit_change(make_random_model(family), make_random_chain(6, 60, 4)) <= 1e-5


@pytest.mark.parametrize("check", [largest_logit_change, largest_chunking_change])
def test_if_memory_runs_out_the_beginning_of_the_chain_is_checked(make_random_model, make_random_chain, check):
    loaded, lengths = make_random_model("llama"), []

    def run_out(module, args, kwargs):
        lengths.append(kwargs["input_ids"].shape[1])
        if lengths[-1] > 100:
            raise torch.OutOfMemoryError("out of memory")

    hook = loaded.model.register_forward_pre_hook(run_out, with_kwargs=True)
    try:
        assert check(loaded, make_random_chain(6, 300, 4)) <= 1e-5
        assert lengths[:4] == [310, 155, 77, 77] if check is largest_logit_change else [310, 155, 77, 39]
    finally:
        hook.remove()


def test_chunks_of_a_model_in_8_bits_may_differ_by_its_rounding(tiny_model_folder, make_random_chain):
    loaded = load_model(ModelSpec(str(tiny_model_folder), device="cpu", quantize="8bit", dtype="float32"))
    assert largest_chunking_change(loaded, make_random_chain(6, 11, 4)) <= 0.1


@pytest.mark.parametrize("budget", [4096, 8], ids=["whole", "in chunks"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_recording_does_not_change_one_bit_of_the_logits(
    make_random_model, make_random_chain, monkeypatch, family, dtype, budget
):
    monkeypatch.setattr(recording, "_TOKEN_BUDGET", budget)
    assert largest_logit_change(in_dtype(make_random_model(family), dtype), make_random_chain(6, 11, 4)) == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_running_in_chunks_changes_the_logits_by_rounding(make_random_model, make_random_chain, family):
    assert largest_chunking_change(make_random_model(family), make_random_chain(6, 11, 4)) <= 1e-5


@pytest.mark.parametrize(
    ("dtype", "factor", "at_most"),
    [(torch.float32, 1 + 1e-5, "1e-06"), (torch.bfloat16, 1.01, "0"), (torch.float16, 1.01, "0")],
)
def test_recording_that_changes_the_logits_is_refused(
    make_random_model, make_random_chain, monkeypatch, dtype, factor, at_most
):
    plain = recorder.model_attention
    monkeypatch.setattr(recorder, "model_attention", lambda *args, **options: (plain(*args, **options)[0] * factor, None))
    words = rf"recording its attention changes the logits by .* of the largest, but rounding explains at most {at_most}; .*sdpa"
    with pytest.raises(ModelError, match=words):
        largest_logit_change(in_dtype(make_random_model("llama"), dtype), make_random_chain(6, 11, 4))


@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float32, 1e-6), (torch.bfloat16, 0.1)])
def test_a_model_with_another_attention_function_may_differ_by_rounding(make_random_model, make_random_chain, dtype, rounding):
    eager = in_dtype(make_random_model("llama"), dtype, attn_implementation="eager")
    assert 0 < largest_logit_change(eager, make_random_chain(6, 11, 4)) <= rounding


def test_a_model_that_rotates_by_the_length_is_not_run_in_chunks(make_random_model):
    config = AutoConfig.for_model(**make_random_model("phi3").model.config.to_dict() | {
        "original_max_position_embeddings": 20,
        "rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [8.0] * 4},
    })  # fmt: skip
    loaded = LoadedModel(AutoModelForCausalLM.from_config(config).eval(), None, "longrope")
    assert (can_be_chunked(loaded, 20), longest_chunk(loaded, 20, 8)) == (True, 8)
    assert (can_be_chunked(loaded, 21), longest_chunk(loaded, 21, 8)) == (False, 21)
    rows = record(loaded, IDS, [observe("rows")], token_budget=8)[0]
    np.testing.assert_allclose(rows, eager_weights(loaded)[:, :, 6:29, 4:20], atol=TOLERANCE)


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_stands_between_attention_and_projection(make_random_model, family):
    loaded = make_random_model(family)
    expect_plain_projections(loaded, IDS)
    assert not any(module._forward_pre_hooks for module in loaded.model.modules())


@pytest.mark.parametrize("family", ["bitnet", "afmoe"])
def test_contributions_behind_a_norm_or_a_gate_are_refused(make_random_model, make_random_chain, family):
    loaded, chain = make_random_model(family), make_random_chain(6, 11, 4)
    with pytest.raises(
        ModelError, match=r"Attention changes what its attention gives before the output projection .*contribution"
    ):
        Contribution().score(chain, loaded=loaded)
    assert not any(module._forward_pre_hooks for module in loaded.model.modules())
    assert len(AnswerAttention().score(chain, loaded=loaded).score) == 11


@pytest.mark.parametrize("quantize", [None, "4bit", "8bit"])
def test_the_output_projection_is_read_however_it_is_held(tiny_model_folder, quantize):
    loaded = load_model(ModelSpec(str(tiny_model_folder), device="cpu", quantize=quantize))
    layer = loaded.model.model.layers[0].self_attn
    matrix = output_matrix(layer, 64, torch.empty(0))
    inputs = torch.randn(5, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = layer.o_proj(inputs)
    rounding = 0.02 if quantize else 1e-5  # a quantised layer computes in fewer digits than its weights would allow
    np.testing.assert_allclose(inputs @ matrix.detach(), expected, atol=rounding * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("family", "shape"),
    [
        ("bloom", {"hidden_size": 16, "n_layer": 2, "n_head": 2, "vocab_size": 97}),
        ("mamba", {"hidden_size": 16, "num_hidden_layers": 2, "vocab_size": 97}),
    ],
)
def test_model_outside_the_attention_interface_is_refused(family, shape):
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **shape)).eval()
    with pytest.raises(ModelError, match=r"the attention interface|through the interface"):
        record(LoadedModel(model, None, family), IDS, [observe("sum")])


HYBRIDS = {
    "lfm2": [1],
    "qwen3_5_text": [3],
    "qwen3_next": [3],
    "granitemoehybrid": [1],
    "nemotron_h": [1],
    "jamba": [1],
    "falcon_h1": [0, 1, 2],
    "stablelm": [0, 1, 2],
    "gemma3n_text": [0, 1, 2, 3],
    "gemma4_text": [0, 1, 2, 3],
}
"""Layers that attend. By the files of transformers: every fourth of Qwen3.5 and Qwen3-Next, all of Falcon-H1, beside Mamba."""


@pytest.mark.parametrize("token_budget", [None, 8])
@pytest.mark.parametrize("family", HYBRIDS)
def test_layers_that_attend_are_recorded_and_the_others_are_nan(make_random_model, family, token_budget):
    loaded = make_random_model(family)
    rows = Observation(reduction="rows", queries=QUERIES, keys=KEYS)
    (recorded,) = record(loaded, IDS, [rows], token_budget=token_budget)
    expected = own_weights(loaded, IDS)
    assert np.flatnonzero(~np.isnan(recorded).any(axis=(1, 2, 3))).tolist() == HYBRIDS[family] == sorted(expected)
    assert np.isnan(recorded).all(axis=(1, 2, 3)).sum() == loaded.n_layers - len(HYBRIDS[family])
    for layer, own in expected.items():
        np.testing.assert_allclose(recorded[layer], own[:, QUERIES][:, :, list(KEYS)], atol=TOLERANCE)


@pytest.mark.parametrize("family", ["lfm2", "qwen3_5_text", "jamba"])
def test_a_score_is_the_mean_over_the_layers_that_attend(make_random_model, make_random_chain, family):
    loaded, chain = make_random_model(family), make_random_chain(6, 14, 5)
    scores = AnswerAttention().score(chain, loaded=loaded)
    assert scores.profile.attending_layers.tolist() == HYBRIDS[family]
    assert scores.profile.is_finite
    own = np.stack([of_layer.numpy() for _, of_layer in sorted(own_weights(loaded, chain.ids).items())])
    np.testing.assert_allclose(scores.score, own[:, :, 20:, 6:20].mean(axis=(0, 1, 2)), atol=TOLERANCE)


@pytest.mark.parametrize("measure", ["entropy", "effective_tokens", "gini", "top_decile"])
def test_layers_without_attention_have_no_sparsity(make_random_model, make_random_chain, measure):
    family, attending = next(iter(HYBRIDS.items()))
    scores = AttentionSparsity(measure=measure).score(make_random_chain(6, 14, 5), loaded=make_random_model(family))
    assert scores.profile.attending_layers.tolist() == attending
    assert scores.profile.is_finite
    np.testing.assert_allclose(scores.score, scores.profile.received[attending].mean(axis=(0, 1)), rtol=1e-6)


def test_weights_of_eager_attention_are_those_that_transformers_gives(make_random_model):
    loaded = make_random_model("gemma3_text")
    own = own_weights(loaded, IDS)
    np.testing.assert_array_equal(torch.stack([own[layer] for layer in range(3)]), eager_weights(loaded))
    assert loaded.model.config._attn_implementation == "sdpa"


@pytest.mark.filterwarnings("ignore:.* can be recorded:UserWarning")
@pytest.mark.parametrize("family", [*FAMILIES, *HYBRIDS])
def test_recorded_weights_are_compared_with_eager_ones(make_random_model, make_random_chain, family):
    assert largest_weight_difference(make_random_model(family), make_random_chain(8, 20, 9), in_pieces=True) < TOLERANCE


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_in_half_precision_recorded_weights_differ_by_rounding(make_random_model, make_random_chain, dtype):
    loaded = in_dtype(make_random_model("qwen3"), dtype)
    assert 0 < largest_weight_difference(loaded, make_random_chain(8, 20, 9)) < 0.05


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_weights_that_are_recorded_wrongly_are_refused(make_random_model, make_random_chain, monkeypatch, dtype):
    # as if every layer looked one key too far back, which no logit shows
    loaded, of_block = in_dtype(make_random_model("llama"), dtype), weights.QueryBlock.weights
    monkeypatch.setattr(weights.QueryBlock, "weights", lambda *arguments: of_block(*arguments).roll(-1, dims=2))
    assert largest_logit_change(loaded, make_random_chain(8, 20, 9)) <= 1e-6
    with pytest.raises(ModelError, match=r"llama: recorded attention differs from eager attention by (0\.\d+|1) in layer 0"):
        largest_weight_difference(loaded, make_random_chain(8, 20, 9))


def test_a_layer_that_runs_only_some_tokens_is_refused(make_random_model, monkeypatch):
    # given the integer 1, Gemma 4 runs the layers that share keys for the last token only
    monkeypatch.setattr(recording, "LAST_LOGITS", 1)
    with pytest.raises(ModelError, match="layer 2 of Gemma4TextAttention attends once for 1 of 31 tokens"):
        record(make_random_model("gemma4_text"), IDS, [observe("sum")])


def test_a_layer_that_attends_twice_is_refused(make_random_model, monkeypatch):
    loaded = make_random_model("llama")
    monkeypatch.setattr(loaded.model.model.layers[2].self_attn, "layer_idx", 1)
    with pytest.raises(ModelError, match="layer 1 of LlamaAttention attends more than once for 31 of 31 tokens"):
        record(loaded, IDS, [observe("sum")])


def test_eager_attention_that_gives_no_weights_is_refused(make_random_model, make_random_chain, monkeypatch):
    loaded = make_random_model("llama")
    own = {0: own_weights(loaded, (chain := make_random_chain(8, 20, 9)).ids)[0]}
    monkeypatch.setattr(recorded_weights, "own_weights", lambda *_: own)
    with pytest.raises(ModelError, match="the eager attention of layer 1 gives no weights"):
        largest_weight_difference(loaded, chain)


def test_a_layer_without_a_number_is_refused(make_random_model, monkeypatch):
    loaded = make_random_model("llama")
    monkeypatch.setattr(loaded.model.model.layers[1].self_attn, "layer_idx", None)
    with pytest.raises(ModelError, match="LlamaAttention has no layer_idx"):
        record(loaded, IDS, [observe("sum")])


def test_layers_that_differ_in_heads_are_refused():
    recorder = Recorder([observe("sum")], n_layers=2)
    recorder.begin_chunk(0, len(IDS))
    for layer, n_heads in enumerate((4, 2)):
        vectors = torch.ones(1, n_heads, len(IDS), 8)
        with pytest.raises(ModelError, match="have 2, 4 heads") if layer else nullcontext():
            recorder.attend(SimpleNamespace(layer_idx=layer, is_causal=True), vectors, vectors, vectors, None)


@pytest.mark.parametrize("family", ["qwen2", "gemma2"])
def test_attention_of_the_model_is_back_after_recording(make_random_model, family):
    loaded = make_random_model(family)
    before = loaded.model.config._attn_implementation
    record(loaded, IDS, [observe("sum")], token_budget=8)
    assert loaded.model.config._attn_implementation == before != "reasoning_anatomy"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"queries": np.array([], dtype=int)}, "expected one or more ascending indices"),
        ({"queries": np.array([3, 3])}, "expected one or more ascending indices"),
        ({"keys": range(4, 4)}, "expected one or more consecutive indices"),
        ({"keys": range(4, 9, 2)}, "expected one or more consecutive indices"),
        ({"weight": np.ones(2)}, r"weight has shape \(2,\), expected one for each of 23 queries"),
        ({"key_stop": QUERIES[::-1]}, "key_stop is .*, expected ascending indices"),
    ],
)
def test_an_observation_that_cannot_be_made_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        observe("sum", **options)
