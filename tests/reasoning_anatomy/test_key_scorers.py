"""Scorers by the keys of the cache, and the rank that they share."""

import sys

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from torch.testing import assert_close
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

from reasoning_anatomy.errors import ModelError, UndefinedScoreError
from reasoning_anatomy.importance._ranks import rank_mean
from reasoning_anatomy.importance.expected_attention import ExpectedAttention
from reasoning_anatomy.importance.key_diff import KeyDiff
from reasoning_anatomy.importance.key_norm import KeyNorm
from reasoning_anatomy.models.attention_interface import installed
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.models.passes import by_layer
from reasoning_anatomy.models.rotation import open_rotation
from reasoning_anatomy.run.scores import read_scores, write_scores

FAMILIES = ("llama", "qwen2", "qwen3", "mistral", "phi3", "gemma2", "gemma3_text")
WITH_KEYS = (*FAMILIES, "gpt_oss", "gpt2")
REUSING_KEYS = ("gemma3n_text", "gemma4_text")  # their rotation takes one tensor, their scores are not scaled
ROTATION_BY_HALVES = (*FAMILIES, "smollm3", *REUSING_KEYS)
P, N = 6, 11  # prompt and reasoning, longer together than the sliding windows


@torch.inference_mode()
def cached(loaded, chain):
    """Keys and values (layers, kv_heads, T, d) of the model's own cache, in float64, and the queries before rotation."""
    queries = {}
    handles = []
    for layer, block in enumerate(getattr(loaded.model.get_decoder(), "layers", [])):
        attention = block.self_attn
        last = getattr(attention, "q_norm", None) or getattr(attention, "q_proj", None) or attention.qkv_proj
        handles.append(last.register_forward_hook(lambda _, __, output, layer=layer: queries.update({layer: output})))
    cache = DynamicCache()  # every layer keeps every token
    loaded.model(input_ids=torch.from_numpy(chain.ids[: P + N])[None], past_key_values=cache, use_cache=True)
    for handle in handles:
        handle.remove()
    n_layers, n_own = loaded.n_layers, len(cache.layers)
    types = getattr(loaded.model.config, "layer_types", None) or [""] * n_layers
    own = [*range(n_own), *(max(i for i in range(n_own) if types[i] == types[layer]) for layer in range(n_own, n_layers))]
    keys, values = (
        np.stack([getattr(cache.layers[layer], name)[0].double().numpy() for layer in own]) for name in ("keys", "values")
    )
    return keys, values, [queries[layer].double().numpy() for layer in range(len(queries))]


def ranks(values):
    return (rankdata(values, axis=-1) - 0.5) / values.shape[-1]


def test_mean_of_normalised_ranks_by_hand():
    # ranks 1 2 3 4 and 4 3 1.5 1.5, less one half, divided by 4
    values = np.array([[[1.0, 20, 300, 4000]], [[9, 8, 7, 7]]])
    found = rank_mean("key_norm", values, queries="none", normalisation="none")
    assert found.score.tolist() == [0.5, 0.5, 0.4375, 0.5625]
    assert found.profile.received.tolist() == values.tolist()


def test_a_single_token_has_the_middle_rank():
    assert rank_mean("key_norm", np.ones((2, 3, 1)), queries="none", normalisation="none").score.tolist() == [0.5]


@pytest.mark.parametrize("family", WITH_KEYS)
def test_norms_and_cosines_are_those_of_the_cached_keys(make_random_model, make_random_chain, deviation, family):
    loaded, chain = make_random_model(family), make_random_chain(P, N, 3)
    keys = cached(loaded, chain)[0]
    unit = keys / np.linalg.norm(keys, axis=-1, keepdims=True)
    anchor = unit.mean(axis=2, keepdims=True)
    cosine = (unit * anchor).sum(axis=-1) / np.linalg.norm(anchor, axis=-1)
    for name, scorer, expected in (
        ("key_norm", KeyNorm(), -np.linalg.norm(keys, axis=-1)[..., P:]),
        ("key_diff", KeyDiff(), -cosine[..., P:]),
    ):
        found = scorer.score(chain, loaded=loaded)
        assert found.profile.received.shape == expected.shape
        assert deviation(name, found.profile.received, expected) < 2e-5
        np.testing.assert_allclose(found.score, ranks(found.profile.received).mean(axis=(0, 1)), atol=1e-12)


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt_oss"])
def test_scores_are_the_same_while_attention_is_installed(make_random_model, make_random_chain, family):
    loaded, chain = make_random_model(family), make_random_chain(P, N, 3)
    before = KeyNorm().score(chain, loaded=loaded).profile.received
    with installed(loaded.model):
        np.testing.assert_array_equal(KeyNorm().score(chain, loaded=loaded).profile.received, before)


def rotations(config, layer, positions, d):
    """(positions, d, d) rotation matrices that pair dimension i with i + d/2, from the definition."""
    parameters = config.rope_parameters
    if "rope_theta" not in parameters:
        parameters = parameters[config.layer_types[layer]]
    if not getattr(config, "no_rope_layers", [1] * 99)[layer]:
        return np.broadcast_to(np.eye(d), (len(positions), d, d))
    angle = np.array(positions)[:, None] * parameters["rope_theta"] ** (-np.arange(0, d, 2) / d)
    angle[:, int(parameters.get("partial_rotary_factor", 1) * d / 2) :] = 0
    matrices = np.zeros((len(positions), d, d))
    for i in range(d // 2):
        j = i + d // 2
        matrices[:, i, i] = matrices[:, j, j] = np.cos(angle[:, i])
        matrices[:, i, j], matrices[:, j, i] = -np.sin(angle[:, i]), np.sin(angle[:, i])
    return matrices


def expected_by_definition(loaded, chain, *, n_future, n_sink):
    """(layers, kv_heads, n), head by head, with one rotation matrix for each of the next positions."""
    config = loaded.model.config
    keys, values, queries = cached(loaded, chain)
    layers, kv_heads, length, d = keys.shape
    heads = config.num_attention_heads
    scaling = 1 if config.model_type in REUSING_KEYS else getattr(config, "query_pre_attn_scalar", d) ** -0.5
    found = np.zeros((layers, kv_heads, length))
    for layer in range(layers):
        ahead = rotations(config, layer, range(length, length + n_future), d).mean(axis=0)
        query = queries[layer].reshape(length, -1, d)[:, :heads] if queries[layer].ndim == 3 else queries[layer][0]
        query = query if query.shape[:2] == (length, heads) else query.transpose(1, 0, 2)
        for head in range(heads):
            mean = query[n_sink:, head].mean(axis=0)
            covariance = np.cov(query[n_sink:, head].T, bias=True)
            mu, cov = ahead @ mean, ahead @ covariance @ ahead.T
            k = keys[layer, head * kv_heads // heads, n_sink:]
            logits = scaling * k @ mu + scaling**2 / 2 * np.einsum("td,de,te->t", k, cov, k)
            weights = np.exp(logits - logits.max())
            found[layer, head * kv_heads // heads, n_sink:] += weights / weights.sum() / (heads / kv_heads)
        found[layer, :, n_sink:] *= np.linalg.norm(values[layer, :, n_sink:], axis=-1)
        found[layer, :, :n_sink] = found[layer].max(axis=-1, keepdims=True)
    return found[..., P:]


@pytest.fixture(scope="module")
def make_rotating_model(make_random_model):
    """The random models, and one of a family whose second layer does not rotate."""

    def make(family):
        if family != "smollm3":
            return make_random_model(family)
        torch.manual_seed(0)
        config = AutoConfig.for_model(
            "smollm3", vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2, no_rope_layers=[1, 0, 1], initializer_range=0.3, pad_token_id=0,
        )  # fmt: skip
        return LoadedModel(AutoModelForCausalLM.from_config(config).eval(), None, family)

    return make


@pytest.mark.parametrize("options", [{}, {"n_future": 3, "n_sink": 0}, {"n_sink": 8}])
@pytest.mark.parametrize("family", ROTATION_BY_HALVES)
def test_expected_attention_equals_its_definition(make_rotating_model, make_random_chain, deviation, family, options):
    loaded, chain = make_rotating_model(family), make_random_chain(P, N, 3)
    expected = expected_by_definition(loaded, chain, **{"n_future": 512, "n_sink": 4} | options)
    found = ExpectedAttention(**options).score(chain, loaded=loaded)
    assert found.profile.received.shape == (loaded.n_layers, 2, N)
    assert deviation("expected_attention", found.profile.received, expected) < 2e-5
    np.testing.assert_allclose(found.score, ranks(found.profile.received).mean(axis=(0, 1)), atol=1e-12)


def test_sinks_within_the_reasoning_share_the_highest_score(make_random_model, make_random_chain):
    received = (
        ExpectedAttention(n_sink=P + 2).score(make_random_chain(P, N, 3), loaded=make_random_model("llama")).profile.received
    )
    np.testing.assert_array_equal(received[..., :2], np.repeat(received.max(axis=-1, keepdims=True), 2, axis=-1))


@pytest.mark.parametrize("family", ["gpt_oss", "phi", "glm4", "gpt_neox", "cohere2"])
def test_other_rotations_are_undone_too(make_random_chain, family):
    """Interleaved, partial, stretched: undone at two places, queries are the same, and one position ahead is that position."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        family, vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, initializer_range=0.3, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    loaded = LoadedModel(AutoModelForCausalLM.from_config(config).eval(), None, family)
    rotation = open_rotation(loaded, 64, remedy="")
    ids = make_random_chain(P, N, 3).ids
    here, there = (by_layer(loaded, ids, lambda layer: (layer.module, layer.query), first_position=at) for at in (0, 30))
    for (module, query), (_, moved) in zip(here, there, strict=True):
        before = rotation.undo(module, query, range(len(ids)))
        assert_close(rotation.undo(module, moved, range(30, 30 + len(ids))), before, atol=1e-4, rtol=1e-4)
        last = before[:, -1:]
        ahead = rotation.apply_mean(module, last, range(29 + len(ids), 30 + len(ids)))
        assert_close(ahead, moved[:, -1:], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("family", "words"),
    [
        ("gpt2", "GPT2LMHeadModel has no rotary position embedding"),
        ("bloom", "BloomForCausalLM has no rotary position embedding"),
        ("lfm2", "only 1 of 3 layers have keys"),
    ],
)
def test_a_model_whose_queries_are_not_rotated_is_refused(make_random_model, make_random_chain, family, words):
    with pytest.raises(ModelError, match=words):
        ExpectedAttention().score(make_random_chain(P, N, 3), loaded=make_random_model(family))


@pytest.mark.parametrize("scorer", [KeyNorm(), KeyDiff()])
@pytest.mark.parametrize(
    ("family", "words"), [("bloom", "does not call its attention through"), ("lfm2", "only 1 of 3 layers have keys")]
)
def test_a_model_whose_keys_cannot_be_read_is_refused(make_random_model, make_random_chain, scorer, family, words):
    with pytest.raises(ModelError, match=words):
        scorer.score(make_random_chain(P, N, 3), loaded=make_random_model(family))


def test_a_rotation_by_length_is_refused_where_it_changes(make_random_chain):
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "llama", vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=64, rope_parameters={"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0},
    )  # fmt: skip
    loaded = LoadedModel(AutoModelForCausalLM.from_config(config).eval(), None, "dynamic")
    chain = make_random_chain(P, N, 3)
    with pytest.raises(ModelError, match="beyond 64 of 529 positions; leave the scorer expected_attention out"):
        ExpectedAttention().score(chain, loaded=loaded)
    assert np.isfinite(ExpectedAttention(n_future=32).score(chain, loaded=loaded).score).all()


def test_a_rotation_of_its_own_is_refused(make_random_chain):
    """A model that rotates its queries by twice the angle that it says is noticed."""
    torch.manual_seed(0)
    shape = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **shape)).eval()
    decoder = model.get_decoder()
    truth = decoder.rotary_emb.forward
    calls = []

    def twice_at_first(x, position_ids):
        calls.append(position_ids)
        return truth(x, position_ids * (2 if len(calls) <= 2 else 1))

    decoder.rotary_emb.forward = twice_at_first
    with pytest.raises(ModelError, match="rotates its queries in a way that this version cannot undo"):
        ExpectedAttention().score(make_random_chain(P, N, 3), loaded=LoadedModel(model, None, "own"))


def test_a_rotation_function_of_another_signature_is_refused(make_random_chain, monkeypatch):
    config = AutoConfig.for_model("llama", vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=2)
    model = AutoModelForCausalLM.from_config(config).eval()
    modeling = sys.modules[type(model.get_decoder().layers[0].self_attn).__module__]
    truth = modeling.apply_rotary_pos_emb
    monkeypatch.setattr(modeling, "apply_rotary_pos_emb", lambda one, other, cos, sin: truth(one, other, cos, sin))
    with pytest.raises(ModelError, match="rotates its queries in a way that this version cannot undo"):
        ExpectedAttention().score(make_random_chain(P, N, 3), loaded=LoadedModel(model, None, "own"))


def test_a_sequence_no_longer_than_the_sinks_has_no_score(make_random_model, make_random_chain):
    with pytest.raises(UndefinedScoreError, match="prompt and reasoning have 4 tokens, expected_attention needs more than 4"):
        ExpectedAttention().score(make_random_chain(1, 3, 1), loaded=make_random_model("llama"))


@pytest.mark.parametrize(("options", "words"), [({"n_future": 0}, "n_future is 0"), ({"n_sink": -1}, "n_sink is -1")])
def test_wrong_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        ExpectedAttention(**options)


def test_keys_of_a_real_model_are_scored(smollm2, example_chains, tmp_path):
    chain = ChainEncoder(smollm2.tokenizer).encode(example_chains[0])
    for scorer in (KeyNorm(), KeyDiff(), ExpectedAttention()):
        found = scorer.score(chain, loaded=smollm2)
        assert found.profile.received.shape == (30, 3, chain.n_reasoning)  # 30 layers, 3 KV heads: the model card
        assert ((found.score > 0) & (found.score < 1)).all()
        write_scores(tmp_path / "scores", found, chain_id=chain.chain_id, origin={})
        again = read_scores(tmp_path / "scores", origin={}, run_folder=tmp_path).profile
        np.testing.assert_allclose(ranks(again.received).mean(axis=(0, 1)), found.score, atol=1e-12)
