"""Recorded attention against eager attention with the whole matrix."""

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from reasoning_anatomy.attention import largest_logit_change, received_from_answer
from reasoning_anatomy.encoding import ChainEncoder
from reasoning_anatomy.errors import ModelError
from reasoning_anatomy.importance.answer_attention import AnswerAttention
from reasoning_anatomy.models import LoadedModel
from reasoning_anatomy.types import EncodedChain, Float32Array

RECORDED = ("llama", "qwen2", "qwen3", "mistral", "phi3", "gemma3_text")


def eager_received(loaded: LoadedModel, chain: EncodedChain) -> Float32Array:
    """Mean weight from the answer rows of the T x T matrices of eager attention."""
    before = loaded.model.config._attn_implementation
    loaded.model.set_attn_implementation("eager")
    try:
        with torch.inference_mode():
            ids = torch.from_numpy(chain.ids)[None]
            attentions = loaded.model(input_ids=ids, output_attentions=True, use_cache=False).attentions
    finally:
        loaded.model.set_attn_implementation(before)
    start, end = len(chain.prompt_ids), len(chain.prompt_ids) + chain.n_reasoning
    return torch.stack([weights[0, :, end:, start:end].float().mean(dim=1) for weights in attentions]).numpy()


@pytest.mark.parametrize("family", RECORDED)
def test_recorded_attention_equals_eager(make_random_model, make_random_chain, family):
    loaded, chain = make_random_model(family), make_random_chain(6, 11, 4)  # longer than the sliding windows
    received = received_from_answer(loaded, chain)
    assert received.shape == (3, 4, 11)
    np.testing.assert_allclose(received, eager_received(loaded, chain), atol=1e-5)


@pytest.mark.parametrize("index", [0, 30])
def test_recorded_attention_equals_eager_on_a_real_model(smollm2, example_chains, index):
    chain = ChainEncoder(smollm2.tokenizer).encode(example_chains[index])
    received = received_from_answer(smollm2, chain)
    assert received.shape == (30, 9, chain.n_reasoning)
    np.testing.assert_allclose(received, eager_received(smollm2, chain), atol=1e-5)


def test_weights_on_the_whole_prefix_sum_to_one(make_random_model, make_random_chain):
    chain = make_random_chain(1, 9, 1)
    received = received_from_answer(make_random_model("llama"), chain)
    rest = received.sum(axis=2)  # a single answer token also looks at the one prompt token and at itself
    assert ((rest > 0) & (rest < 1)).all()


@pytest.mark.parametrize("family", RECORDED)
def test_recording_does_not_change_the_logits(make_random_model, make_random_chain, family):
    assert largest_logit_change(make_random_model(family), make_random_chain(6, 11, 4)) <= 1e-6


def test_soft_capped_attention_is_refused(make_random_model, make_random_chain):
    with pytest.raises(ModelError, match="softcap"):
        received_from_answer(make_random_model("gemma2"), make_random_chain(2, 3, 1))


@pytest.mark.parametrize(
    ("family", "shape"),
    [
        ("bloom", {"hidden_size": 16, "n_layer": 2, "n_head": 2, "vocab_size": 97}),
        ("mamba", {"hidden_size": 16, "num_hidden_layers": 2, "vocab_size": 97}),
    ],
)
def test_model_outside_the_attention_interface_is_refused(make_random_chain, family, shape):
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **shape)).eval()
    with pytest.raises(ModelError, match="attention interface"):
        received_from_answer(LoadedModel(model, None, family), make_random_chain(2, 3, 1))


def test_score_is_the_mean_over_layers_and_heads(make_random_model, make_random_chain):
    loaded, chain = make_random_model("llama"), make_random_chain(3, 7, 2)
    scores = AnswerAttention().score(chain, loaded=loaded)
    np.testing.assert_allclose(scores.score, eager_received(loaded, chain).mean(axis=(0, 1)), atol=1e-6)
    assert scores.profile.received.shape == (3, 4, 7)


def test_attention_of_the_model_is_back_after_recording(make_random_model, make_random_chain):
    loaded = make_random_model("qwen2")
    received_from_answer(loaded, make_random_chain(2, 3, 1))
    assert loaded.model.config._attn_implementation == "sdpa"
