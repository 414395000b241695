"""Scorers by the model's likelihood: uncertainty, leave-one-out, gradient."""

import copy
import inspect
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaConfig, LlamaForCausalLM

from reasoning_anatomy.errors import MeasurementError, ModelError
from reasoning_anatomy.importance.conditional_surprisal import ConditionalSurprisal
from reasoning_anatomy.importance.gradient_x_input import GradientXInput
from reasoning_anatomy.importance.token_entropy import TokenEntropy
from reasoning_anatomy.models import passes
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import LoadedModel, ModelSpec, load_model
from reasoning_anatomy.pruning.greedy import Greedy
from reasoning_anatomy.types import EncodedChain, ReasoningChain

NATS = 1e-4  # float32 rounding of one token's nll
SHARING = ("llama", "qwen3", "mistral", "phi3", "gemma2", "gemma3_text", "gpt_oss")
WHOLE = ("bloom", "mamba")


def chain_of(prompt, reasoning, answer):
    text = ReasoningChain(chain_id="made", question_id="q", question="?", reasoning="x" * len(reasoning), answer="x")
    spans = np.stack([np.arange(len(reasoning)), np.arange(1, len(reasoning) + 1)], axis=1)
    return EncodedChain(text, np.array(prompt), np.array(reasoning), np.array(answer), spans)


@torch.inference_mode()
def probabilities(loaded, ids):
    """(T, vocabulary) in float64, from one plain pass."""
    logits = loaded.model(input_ids=torch.from_numpy(ids)[None], use_cache=False).logits[0].double().numpy()
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def answer_nll(loaded, prompt, reasoning, answer):
    p = probabilities(loaded, np.concatenate([prompt, reasoning, answer]))
    rows = len(prompt) + len(reasoning) - 1 + np.arange(len(answer))
    return float(-np.log(p[rows, answer]).mean())


@pytest.mark.parametrize("token_budget", [4, 512])
@pytest.mark.parametrize("family", [*SHARING, *WHOLE])
def test_entropy_is_that_of_the_plain_models_distribution(
    make_random_model, make_random_chain, deviation, family, token_budget
):
    loaded, chain = make_random_model(family), make_random_chain(6, 11, 3)
    p = probabilities(loaded, chain.ids)[5:16]
    score = TokenEntropy(token_budget=token_budget).score(chain, loaded=loaded).score
    assert deviation("token_entropy", score, -(p * np.log(p)).sum(axis=1)) < 1e-5
    best = np.sort(p, axis=1)[:, -20:]
    best /= best.sum(axis=1, keepdims=True)
    traac = 1 + (best * np.log(best)).sum(axis=1) / np.log(20)
    confident = TokenEntropy(top_k=20, as_confidence=True, token_budget=token_budget).score(chain, loaded=loaded).score
    assert deviation("token_entropy", confident, traac) < 1e-5


@pytest.fixture
def watched(make_random_model):
    """A Llama, the lengths of its passes, and the longest pass for which memory suffices."""
    loaded, lengths, most = make_random_model("llama"), [], [10**6]

    def look(module, args, kwargs):
        lengths.append(kwargs["input_ids"].shape[1])
        if lengths[-1] > most[0]:
            raise torch.OutOfMemoryError("out of memory")

    hook = loaded.model.register_forward_pre_hook(look, with_kwargs=True)
    yield loaded, lengths, most
    hook.remove()


def test_logits_of_a_large_vocabulary_are_held_some_rows_at_a_time(watched, make_random_chain, monkeypatch):
    (loaded, lengths, _), chain = watched, make_random_chain(6, 30, 3)
    whole = TokenEntropy().score(chain, loaded=loaded).score
    monkeypatch.setattr(passes, "_LOGIT_BYTES", 4 * 97 * 10)  # float32, a vocabulary of 97
    np.testing.assert_allclose(TokenEntropy().score(chain, loaded=loaded).score, whole, atol=NATS)
    assert lengths == [35, 10, 10, 10, 5]
    monkeypatch.setattr(passes, "_LOGIT_BYTES", 4)
    np.testing.assert_allclose(TokenEntropy().score(chain, loaded=loaded).score, whole, atol=NATS)
    assert lengths[5:] == [1] * 35


def test_entropy_goes_on_in_smaller_pieces_where_memory_runs_out(watched, make_random_chain):
    (loaded, lengths, most), chain = watched, make_random_chain(6, 30, 3)
    whole = TokenEntropy().score(chain, loaded=loaded).score
    most[0] = 10
    np.testing.assert_allclose(TokenEntropy().score(chain, loaded=loaded).score, whole, atol=NATS)
    assert lengths == [35, 35, 17, 8, 8, 8, 8, 3]
    most[0] = 0
    with pytest.raises(torch.OutOfMemoryError):
        TokenEntropy().score(chain, loaded=loaded)


def test_entropy_by_hand(make_bigram_model):
    # After 3: 1/2 for 4 and 1/2 for the rest, one token. After 4: 1/4, 1/4 and 1/2.
    half, quarter = float(np.log(0.5)), float(np.log(0.25))
    loaded = make_bigram_model({(3, 4): half, (4, 5): quarter, (4, 6): quarter, (5, 7): -0.1})
    chain = chain_of([3], [4, 5], [7])
    np.testing.assert_allclose(TokenEntropy().score(chain, loaded=loaded).score, [np.log(2), 1.5 * np.log(2)], atol=NATS)
    # The two most likely after 4 are 1/2 and 1/4, or 2/3 and 1/3 of both: entropy 0.6365, of ln 2.
    two = TokenEntropy(top_k=2).score(chain, loaded=loaded).score
    np.testing.assert_allclose(two, [np.log(2), np.log(3) - np.log(2) * 2 / 3], atol=NATS)
    confident = TokenEntropy(top_k=2, as_confidence=True).score(chain, loaded=loaded).score
    np.testing.assert_allclose(confident, [0, 1 - 0.6365142 / 0.6931472], atol=NATS)


def test_a_certain_and_an_even_distribution_are_the_ends_of_confidence(make_bigram_model):
    loaded = make_bigram_model({(3, 4): -1e-4, **{(4, token): -np.log(97) for token in range(1, 97)}})
    chain = chain_of([3], [4, 5], [6])
    np.testing.assert_allclose(TokenEntropy(as_confidence=True).score(chain, loaded=loaded).score, [1, 0], atol=2e-3)
    np.testing.assert_allclose(TokenEntropy().score(chain, loaded=loaded).score, [0, np.log(97)], atol=2e-3)


@pytest.mark.parametrize(
    ("options", "words"), [({"top_k": 1}, "top_k is 1, expected 2"), ({"token_budget": 0}, "token_budget")]
)
def test_wrong_options_of_entropy_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        TokenEntropy(**options)


@pytest.mark.parametrize("family", [*SHARING, *WHOLE])
def test_leaving_one_out_equals_brute_force(make_random_model, make_random_chain, deviation, family):
    loaded, chain = make_random_model(family), make_random_chain(5, 9, 3)
    parts = (chain.prompt_ids, chain.answer_ids)
    whole = answer_nll(loaded, parts[0], chain.reasoning_ids, parts[1])
    expected = [answer_nll(loaded, parts[0], np.delete(chain.reasoning_ids, index), parts[1]) - whole for index in range(9)]
    for token_budget in (7, 512):
        score = ConditionalSurprisal(token_budget=token_budget).score(chain, loaded=loaded).score
        assert deviation("conditional_surprisal", score, expected) < NATS


def test_leaving_one_out_by_hand(make_bigram_model):
    # q -> A -1, q -> B -2, A -> B -0.5, B -> x -0.1, A -> x -3: without A the answer keeps 0.1 nats, without B it has 3
    loaded = make_bigram_model({(3, 4): -1, (3, 5): -2, (4, 5): -0.5, (5, 6): -0.1, (4, 6): -3})
    score = ConditionalSurprisal().score(chain_of([3], [4, 5], [6]), loaded=loaded).score
    np.testing.assert_allclose(score, [0, 2.9], atol=NATS)


def test_greedy_deletes_the_lowest_leave_one_out_score_first(smollm2, example_chains):
    chain = ChainEncoder(smollm2.tokenizer).encode(example_chains[0])
    score = ConditionalSurprisal().score(chain, loaded=smollm2).score
    path = Greedy(keep_ratio=1 - 1.5 / chain.n_reasoning).prune(chain, loaded=smollm2)
    assert path.deleted[0] == score.argmin()
    assert path.nll_answer[1] - path.nll_answer[0] == pytest.approx(score.min(), abs=NATS)


def nll_of_embeddings(loaded, chain, embeddings):
    with torch.no_grad():
        logits = loaded.model(inputs_embeds=embeddings[None], use_cache=False).logits[0].double()
    rows = slice(-len(chain.answer_ids) - 1, -1)
    return torch.nn.functional.cross_entropy(logits[rows], torch.tensor(chain.answer_ids)).item()


def slope(loaded, chain, embeddings, direction, h):
    """Derivative of the nll along a direction, by the five-point rule."""
    at = {step: nll_of_embeddings(loaded, chain, embeddings + step * h * direction) for step in (-2, -1, 1, 2)}
    return (at[-2] - 8 * at[-1] + 8 * at[1] - at[2]) / (12 * h)


@pytest.fixture(scope="module")
def make_double_model(make_random_model):
    """A random model in float64. Only gpt2 computes in it throughout; RMS norms round to float32, so h must be larger."""

    def make(family):
        return LoadedModel(copy.deepcopy(make_random_model(family).model).double(), None, family)

    return make


@pytest.mark.parametrize(
    ("family", "h", "tolerance"),
    [("gpt2", 1e-3, 1e-6), *((family, 1e-2, 1e-3) for family in ("llama", "qwen3", "gemma2", "gemma3_text", "mamba"))],
)
def test_gradient_equals_finite_differences(make_double_model, make_random_chain, deviation, family, h, tolerance):
    loaded, chain = make_double_model(family), make_random_chain(4, 5, 3)
    embeddings = loaded.model.get_input_embeddings()(torch.tensor(chain.ids)).detach()
    expected = []
    for token in range(4, 9):
        direction = torch.zeros_like(embeddings)
        direction[token] = embeddings[token]
        expected.append(-slope(loaded, chain, embeddings, direction, h))
    signed = GradientXInput(reading="signed").score(chain, loaded=loaded).score
    assert deviation("gradient_x_input" + ("" if family == "gpt2" else " (float32 norms)"), signed, expected) < tolerance
    np.testing.assert_array_equal(GradientXInput().score(chain, loaded=loaded).score, np.abs(signed))


def test_norm_of_the_product_equals_finite_differences(make_double_model, make_random_chain, deviation):
    loaded, chain = make_double_model("gpt2"), make_random_chain(3, 2, 2)
    embeddings = loaded.model.get_input_embeddings()(torch.tensor(chain.ids)).detach()
    expected = []
    for token in (3, 4):
        slopes = []
        for column in range(embeddings.shape[1]):
            direction = torch.zeros_like(embeddings)
            direction[token, column] = 1
            slopes.append(slope(loaded, chain, embeddings, direction, 1e-3))
        expected.append(float(np.linalg.norm(np.array(slopes) * embeddings[token].numpy())))
    score = GradientXInput(reading="norm").score(chain, loaded=loaded).score
    assert deviation("gradient_x_input", score, expected) < 1e-6


class Peak(TorchDispatchMode):
    """Bytes of all tensors that live at once, at most."""

    def __init__(self):
        super().__init__()
        self.living, self.largest = {}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **kwargs or {})
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self.living[storage.data_ptr()] = StorageWeakRef(storage), storage.nbytes()
        self.living = {place: (kept, size) for place, (kept, size) in self.living.items() if not kept.expired()}
        self.largest = max(self.largest, sum(size for _, size in self.living.values()))
        return result


def whole_graph(loaded, chain):
    """Gradient times embedding (n, width), with all activations held."""
    ids = torch.from_numpy(chain.ids)
    embeddings = loaded.model.get_input_embeddings()(ids)[None].detach().requires_grad_()
    logits = loaded.model(inputs_embeds=embeddings, use_cache=False, logits_to_keep=len(chain.answer_ids) + 1).logits
    nll = torch.nn.functional.cross_entropy(logits[0, :-1].float(), torch.tensor(chain.answer_ids))
    (gradient,) = torch.autograd.grad(nll, embeddings)
    rows = slice(len(chain.prompt_ids), len(chain.prompt_ids) + chain.n_reasoning)
    return (embeddings.double() * gradient.double())[0, rows].sum(dim=1).detach().numpy()


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma2", "gpt2", "mamba", "opt"])
def test_gradient_is_that_of_the_whole_graph_to_the_last_bit(make_random_model, make_random_chain, family):
    loaded, chain = make_random_model(family), make_random_chain(4, 30, 3)
    before = [vars(module).get("forward") for module in loaded.model.modules()]
    score = GradientXInput(reading="signed").score(chain, loaded=loaded).score
    np.testing.assert_array_equal(score, -whole_graph(loaded, chain))
    assert [vars(module).get("forward") for module in loaded.model.modules()] == before


def test_gradient_holds_the_graph_of_one_layer_alone(make_random_chain):
    shape = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 96, "num_hidden_layers": 12, "num_attention_heads": 4}
    loaded, chain = LoadedModel(LlamaForCausalLM(LlamaConfig(**shape)).eval(), None, "llama"), make_random_chain(4, 200, 3)
    peaks = []
    for run in (lambda: whole_graph(loaded, chain), lambda: GradientXInput().score(chain, loaded=loaded)):
        with Peak() as peak:
            run()
        peaks.append(peak.largest)
    assert peaks[1] < peaks[0] / 4


def test_chains_side_by_side_have_the_gradients_that_they_have_alone(make_random_model, make_random_chain):
    loaded, chains = make_random_model("llama"), [make_random_chain(4, n, 3) for n in range(20, 28)]
    alone = [GradientXInput().score(chain, loaded=loaded).score for chain in chains]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda chain: GradientXInput().score(chain, loaded=loaded).score, chains))
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not any("forward" in vars(module) for module in loaded.model.modules())


def test_gradient_leaves_the_weights_alone_and_needs_no_gradient_of_theirs(make_random_chain):
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=2)).eval()
    loaded, chain = LoadedModel(model, None, "llama"), make_random_chain(4, 6, 3)
    before = GradientXInput().score(chain, loaded=loaded).score
    assert all(parameter.grad is None for parameter in model.parameters())
    model.requires_grad_(False)
    with torch.inference_mode():
        score = GradientXInput().score
        with torch.inference_mode(False):
            frozen = score(chain, loaded=loaded).score
    np.testing.assert_array_equal(frozen, before)


@pytest.mark.parametrize(("dtype", "quantize"), [("bfloat16", None), ("float32", "8bit")])
def test_gradient_of_a_coarser_model_resembles_that_of_the_whole_one(tiny_model_folder, example_chains, dtype, quantize):
    loaded, whole = (
        load_model(ModelSpec(str(tiny_model_folder), *how)) for how in ((dtype, "cpu", quantize), ("float32", "cpu"))
    )
    chain = ChainEncoder(loaded.tokenizer).encode(example_chains[0])
    score, expected = (GradientXInput(reading="signed").score(chain, loaded=model).score for model in (loaded, whole))
    assert np.corrcoef(score, expected)[0, 1] > 0.9


def test_gradient_of_a_4bit_model_is_right_or_refused(tiny_model_folder, example_chains):
    loaded = load_model(ModelSpec(str(tiny_model_folder), device="cpu", quantize="4bit"))
    chain = ChainEncoder(loaded.tokenizer).encode(example_chains[0])
    embeddings = loaded.model.get_input_embeddings()(torch.tensor(chain.ids)).detach()
    nll_of_embeddings(loaded, chain, embeddings)  # a pass packs the weights, where the processor multiplies them so
    quant_state = loaded.model.model.layers[0].mlp.up_proj.weight.quant_state
    if getattr(quant_state, "packing_format_for_cpu", False):  # processors without AVX-512 do not pack
        with pytest.raises(ModelError, match="passes no gradient through 4-bit weights on this CPU"):
            GradientXInput().score(chain, loaded=loaded)
        return
    score = GradientXInput(reading="signed").score(chain, loaded=loaded).score
    first = len(chain.prompt_ids)
    for token in np.argsort(-np.abs(score))[:3]:
        direction = torch.zeros_like(embeddings)
        direction[first + token] = embeddings[first + token]
        assert -slope(loaded, chain, embeddings, direction, 5e-3) == pytest.approx(score[token], rel=0.02)


def test_a_model_without_input_embeddings_is_refused(make_random_chain):
    class OnlyIds(LlamaForCausalLM):
        def forward(self, input_ids=None, **options):
            return super().forward(input_ids=input_ids, **options)

    assert "inputs_embeds" not in inspect.signature(OnlyIds.forward).parameters
    model = OnlyIds(LlamaConfig(vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=1)).eval()
    with pytest.raises(ModelError, match="ids: OnlyIds takes no input embeddings, so it has no gradient_x_input"):
        GradientXInput().score(make_random_chain(2, 3, 2), loaded=LoadedModel(model, None, "ids"))


def test_a_gradient_that_overflows_stops_the_chain(make_random_chain):
    model = LlamaForCausalLM(LlamaConfig(vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=1)).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(float("inf"))
    with pytest.raises(MeasurementError, match=r"gradient that is not a finite number in float32; check the weights"):
        GradientXInput().score(make_random_chain(2, 3, 2), loaded=LoadedModel(model, None, "inf"))
