"""Exact greedy pruning against brute force: every candidate of every step by a full forward pass."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from reasoning_anatomy.errors import MeasurementError, SharingError
from reasoning_anatomy.likelihood import packed_attention
from reasoning_anatomy.likelihood.full import FullLikelihood
from reasoning_anatomy.likelihood.opening import open_likelihood
from reasoning_anatomy.likelihood.shared import SharedLikelihood
from reasoning_anatomy.models.capabilities import can_share_prefixes, shares_prefixes
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.pipeline.checks import largest_likelihood_change
from reasoning_anatomy.pruning import PruningJob
from reasoning_anatomy.pruning.greedy import Greedy
from reasoning_anatomy.types import EncodedChain, FloatArray, ReasoningChain

FAMILIES = ("llama", "qwen2", "qwen3", "mistral", "phi", "phi3", "gemma2", "gemma3_text", "gpt2", "gpt_oss", "qwen3_moe")
BYTES_OF_A_SLOT = 3 * 2 * 2 * 8 * 4  # 3 layers, keys and values, 2 heads of 8 float32
SOME_SLOTS = 12 * BYTES_OF_A_SLOT / 2**30  # GiB
NATS = 1e-5  # float32 rounding of a mean nll; larger differences would be errors of the method


def brute_force_logp(loaded: LoadedModel, chain: EncodedChain, kept: list[int]) -> FloatArray:
    """Log-likelihood of kept reasoning and answer, by one full forward pass without any cache."""
    ids = torch.from_numpy(np.concatenate([chain.prompt_ids, chain.reasoning_ids[kept], chain.answer_ids]))
    with torch.inference_mode():
        logp = loaded.model(input_ids=ids[None], use_cache=False).logits[0].float().log_softmax(-1)
    first = len(chain.prompt_ids)
    return logp[torch.arange(first - 1, len(ids) - 1), ids[first:]].double().numpy()


def brute_force_nll(loaded: LoadedModel, chain: EncodedChain, kept: list[int]) -> tuple[float, float]:
    """Nll of the answer, and of kept reasoning and answer."""
    token_logp = brute_force_logp(loaded, chain, kept)
    return -token_logp[len(kept) :].mean(), -token_logp.mean()


def brute_force_scores(loaded: LoadedModel, chain: EncodedChain, kept: list[int], objective: str) -> FloatArray:
    """Nats per remaining token of every single deletion, from the definition."""
    without = [kept[:i] + kept[i + 1 :] for i in range(len(kept))]
    if objective != "influence":
        column = ("answer", "joint").index(objective)
        return np.array([brute_force_nll(loaded, chain, left)[column] for left in without])
    now = brute_force_logp(loaded, chain, kept)
    after = [brute_force_logp(loaded, chain, left) for left in without]
    survivors = [now[i + 1 :].sum() - after[i][i:].sum() for i in range(len(kept))]
    return np.array(survivors) / (len(now) - 1)


def brute_force_path(
    loaded: LoadedModel, chain: EncodedChain, objective: str, *, reverse: bool = False
) -> tuple[list[int], FloatArray]:
    kept, deleted = list(range(chain.n_reasoning)), []
    curve = [brute_force_nll(loaded, chain, kept)]
    while kept:
        scores = brute_force_scores(loaded, chain, kept, objective)
        deleted.append(kept.pop(int(np.argmax(scores) if reverse else np.argmin(scores))))
        curve.append(brute_force_nll(loaded, chain, kept))
    return deleted, np.array(curve)


@pytest.mark.parametrize("objective", ["answer", "joint", "influence"])
@pytest.mark.parametrize("family", FAMILIES)
def test_order_and_curves_are_those_of_brute_force(make_random_model, make_random_chain, family, objective):
    loaded, chain = make_random_model(family), make_random_chain(4, 9, 3)
    deleted, curve = brute_force_path(loaded, chain, objective)
    for options in ({}, {"store_gib": 0.0}, {"token_budget": 5}, {"checkpoint_every": 4}, {"store_gib": SOME_SLOTS}):
        path = Greedy(objective=objective, **options).prune(chain, loaded=loaded)
        assert path.deleted.tolist() == deleted
        np.testing.assert_allclose(path.nll_answer, curve[:, 0], atol=NATS)
        np.testing.assert_allclose(path.nll_joint, curve[:, 1], atol=NATS)


@pytest.mark.parametrize("objective", ["answer", "joint", "influence"])
def test_reverse_path_deletes_the_most_important_token_first(make_random_model, make_random_chain, objective):
    loaded, chain = make_random_model("llama"), make_random_chain(4, 8, 3)
    deleted, curve = brute_force_path(loaded, chain, objective, reverse=True)
    path = Greedy(objective=objective, most_important_first=True).prune(chain, loaded=loaded)
    assert path.deleted.tolist() == deleted
    np.testing.assert_allclose(path.nll_answer, curve[:, 0], atol=NATS)
    assert (path.margin[:-1] >= 0).all()


# Log-probabilities of the next token given the last one. The first table is worked in the literature's own terms; in the
# second the objectives diverge.
BIGRAM = {"qA": -1.0, "qB": -2.0, "AB": -0.5, "Bx": -0.1, "Ax": -3.0}
DIVERGING = {"qA": -5.0, "qB": -0.2, "AB": -0.7, "Bx": -0.9, "Ax": -0.7}


@pytest.mark.parametrize(
    ("table", "objective", "deleted", "joint", "answer"),
    [
        # exp(1.6 / 3) unpruned; without A exp(2.1 / 2) and exp(0.1), without B exp(4 / 2) and exp(3)
        (BIGRAM, "joint", [0, 1], [1.7046, 2.8577], [1.1052, 1.1052]),
        (BIGRAM, "answer", [0, 1], [1.7046, 2.8577], [1.1052, 1.1052]),
        # what B and x lose without A: (2 - 0.5) + 0; what x loses without B: 3 - 0.1
        (BIGRAM, "influence", [0, 1], [1.7046, 2.8577], [1.1052, 1.1052]),
        # exp(6.6 / 3) unpruned; without A exp(1.1 / 2) and exp(0.9), without B exp(5.7 / 2) and exp(0.7)
        (DIVERGING, "joint", [0, 1], [9.0250, 1.7333], [2.4596, 2.4596]),
        (DIVERGING, "answer", [1, 0], [9.0250, 17.2878], [2.4596, 2.0138]),
        # what B and x lose without A: (0.2 - 0.7) + 0; what x loses without B: 0.7 - 0.9
        (DIVERGING, "influence", [0, 1], [9.0250, 1.7333], [2.4596, 2.4596]),
    ],
)
def test_chain_worked_by_hand(make_bigram_model, table, objective, deleted, joint, answer):
    loaded = make_bigram_model({("*qABx".index(before), "*qABx".index(after)): logp for (before, after), logp in table.items()})
    text = ReasoningChain(chain_id="bigrams", question_id="q", question="?", reasoning="AB", answer="x")
    chain = EncodedChain(text, np.array([1]), np.array([2, 3]), np.array([4]), np.array([[0, 1], [1, 2]]))
    path = Greedy(objective=objective).prune(chain, loaded=loaded)
    assert path.deleted.tolist() == deleted
    np.testing.assert_allclose(np.exp(path.nll_joint[:2]), joint, rtol=1e-4)
    np.testing.assert_allclose(np.exp(path.nll_answer[:2]), answer, rtol=1e-4)


@pytest.mark.parametrize(("p", "n", "m"), [(1, 1, 1), (1, 2, 1), (5, 1, 3), (1, 5, 1), (2, 6, 2)])
@pytest.mark.parametrize("objective", ["answer", "joint", "influence"])
def test_shortest_chains_are_pruned_like_by_brute_force(make_random_model, make_random_chain, p, n, m, objective):
    loaded, chain = make_random_model("llama"), make_random_chain(p, n, m)
    path = Greedy(objective=objective).prune(chain, loaded=loaded)
    assert path.deleted.tolist() == brute_force_path(loaded, chain, objective)[0]
    assert np.isnan(path.nll_reasoning[-1])


def test_every_score_on_a_real_model_is_that_of_a_whole_pass(smollm2, example_chains):
    chain = ChainEncoder(smollm2.tokenizer).encode(example_chains[0])
    kept = list(range(chain.n_reasoning))
    without = [brute_force_logp(smollm2, chain, kept[:i] + kept[i + 1 :]) for i in kept]
    m = len(chain.answer_ids)
    scores = open_likelihood(smollm2, chain).score_deletions(reasoning=True)
    rounding = 2e-3  # nats, of sums over 45 tokens at 2.4 nats through 30 layers of float32
    np.testing.assert_allclose(scores.answer, [logp[-m:].sum() for logp in without], atol=rounding)
    np.testing.assert_allclose(scores.reasoning, [logp[:-m].sum() for logp in without], atol=rounding)
    path = Greedy(keep_ratio=1 - 2 / chain.n_reasoning).prune(chain, loaded=smollm2)
    assert path.deleted[0] == np.argmax([logp[-m:].sum() for logp in without])
    assert path.nll_answer[1] == pytest.approx(-max(logp[-m:].mean() for logp in without), abs=1e-4)
    left = [k for k in kept if k not in path.deleted[:2]]
    assert path.nll_answer[2] == pytest.approx(brute_force_nll(smollm2, chain, left)[0], abs=1e-4)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    family=st.sampled_from(["llama", "mistral", "gemma3_text", "gpt2"]),
    sizes=st.tuples(st.integers(1, 6), st.integers(1, 7), st.integers(1, 4)),
    objective=st.sampled_from(["answer", "joint", "influence"]),
    token_budget=st.integers(1, 40),
    n_slots=st.integers(0, 25),
    checkpoint_every=st.integers(1, 8),
)
def test_every_deletion_is_the_best_whatever_the_memory(
    make_random_model, make_random_chain, family, sizes, objective, token_budget, n_slots, checkpoint_every
):
    loaded, chain = make_random_model(family), make_random_chain(*sizes)
    path = Greedy(
        objective=objective, token_budget=token_budget, store_gib=n_slots * BYTES_OF_A_SLOT / 2**30,
        checkpoint_every=checkpoint_every,
    ).prune(chain, loaded=loaded)  # fmt: skip
    kept = list(range(chain.n_reasoning))
    for step, position in enumerate(path.deleted.tolist(), 1):
        objectives = brute_force_scores(loaded, chain, kept, objective)
        assert objectives[kept.index(position)] <= objectives.min() + 2 * NATS  # ties go to the lowest position
        kept.remove(position)
        nll_answer, nll_joint = brute_force_nll(loaded, chain, kept)
        assert path.nll_answer[step] == pytest.approx(nll_answer, abs=NATS)
        assert path.nll_joint[step] == pytest.approx(nll_joint, abs=NATS)


@pytest.mark.parametrize(("dtype", "nats"), [(torch.bfloat16, 0.1), (torch.float16, 0.02)])
@pytest.mark.parametrize("objective", ["answer", "influence"])
def test_half_precision_is_pruned_by_the_likelihoods_of_that_precision(make_random_chain, dtype, nats, objective):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2
    )
    loaded = LoadedModel(LlamaForCausalLM(config).to(dtype).eval(), None, "half")
    chain = make_random_chain(4, 8, 3)
    path = Greedy(objective=objective).prune(chain, loaded=loaded)
    assert sorted(path.deleted.tolist()) == list(range(8))
    kept = list(range(8))
    for step, position in enumerate(path.deleted.tolist(), 1):
        kept.remove(position)
        assert path.nll_joint[step] == pytest.approx(brute_force_nll(loaded, chain, kept)[1], abs=nats)


def test_margin_is_the_distance_to_the_second_best_candidate(make_random_model, make_random_chain):
    loaded, chain = make_random_model("qwen2"), make_random_chain(3, 6, 2)
    path = Greedy().prune(chain, loaded=loaded)
    kept = list(range(6))
    for position, margin in zip(path.deleted[:-1], path.margin[:-1], strict=True):
        best, second = sorted(brute_force_nll(loaded, chain, [k for k in kept if k != i])[0] for i in kept)[:2]
        assert margin == pytest.approx(second - best, abs=2 * NATS)
        kept.remove(position)
    assert np.isnan(path.margin[-1])


def test_ties_go_to_the_lowest_position_and_are_counted(make_random_model):
    loaded = make_random_model("llama")
    same = np.full(4, 11)
    text = ReasoningChain(chain_id="ties", question_id="q", question="?", reasoning="xxxx", answer="y")
    chain = EncodedChain(text, np.array([5, 6]), same, np.array([7, 8]), np.tile([0, 1], (4, 1)))
    path = Greedy().prune(chain, loaded=loaded)
    assert path.deleted.tolist() == [0, 1, 2, 3]  # deleting any of equal neighbours leaves the same text
    assert path.n_ties == 3


@pytest.mark.parametrize(("keep_ratio", "n_deleted"), [(0.0, 10), (0.45, 6), (0.5, 5), (1.0, 0)])
def test_keep_ratio_leaves_its_share_of_tokens_rounded_down(make_random_model, make_random_chain, keep_ratio, n_deleted):
    path = Greedy(keep_ratio=keep_ratio).prune(make_random_chain(3, 10, 2), loaded=make_random_model("llama"))
    assert len(path.deleted) == n_deleted
    assert np.isnan(path.deletion_step).sum() == 10 - n_deleted


@pytest.mark.parametrize("options", [{"keep_ratio": 1.1}, {"token_budget": 0}, {"tie_tolerance": -1.0}, {"store_gib": -1.0}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Greedy(**options)


def tokens_to_score_all_deletions(deleted: list[int], n: int, m: int, *, stored: bool) -> int:
    """Count by the rule (what lies after a deletion and was not stored is run), written down apart from the engine."""
    kept, total, previous = list(range(n)), 0, None
    for position in deleted:
        for index, candidate in enumerate(kept):
            first = index + 1
            if stored and previous is not None and candidate < previous:
                first = next((i for i, k in enumerate(kept) if k > previous), len(kept))
                first = min(first, max(index + 1, len(kept) - 1))
            total += len(kept) - first + m - 1
        kept.remove(position)
        previous = position
    return total


@pytest.mark.parametrize("stored", [True, False])
def test_only_tokens_after_a_deletion_are_run(make_random_model, make_random_chain, stored):
    loaded, chain = make_random_model("llama"), make_random_chain(20, 12, 3)
    deleted = Greedy().prune(chain, loaded=loaded).deleted.tolist()
    likelihood = SharedLikelihood(loaded, chain, token_budget=512, store_bytes=2**30 if stored else 0)
    scoring = 0
    for position in deleted:
        before = likelihood.token_forwards
        likelihood.score_deletions(reasoning=False)
        scoring += likelihood.token_forwards - before
        likelihood.delete(position)
    assert scoring == tokens_to_score_all_deletions(deleted, 12, 3, stored=stored)


ENGINES = {
    "shared": lambda loaded, chain: SharedLikelihood(loaded, chain, token_budget=64, store_bytes=2**20),
    "full": lambda loaded, chain: FullLikelihood(loaded, chain, token_budget=64),
}


@pytest.mark.parametrize("engine", ENGINES)
def test_score_of_a_deletion_is_the_likelihood_after_it(make_random_model, make_random_chain, engine):
    loaded, chain = make_random_model("qwen3"), make_random_chain(4, 8, 3)
    likelihood = ENGINES[engine](loaded, chain)
    for position in (5, 0, 7, 3):
        scores = likelihood.score_deletions(reasoning=True)
        row = scores.positions.tolist().index(position)
        likelihood.delete(position)
        logp = likelihood.token_logp()
        assert scores.answer[row] == pytest.approx(logp[-3:].sum(), abs=1e-4)
        assert scores.reasoning[row] == pytest.approx(logp[:-3].sum(), abs=1e-4)


def test_likelihoods_of_the_reasoning_take_four_bytes_for_each_pair_of_its_tokens(make_random_model, make_random_chain):
    likelihood = ENGINES["shared"](make_random_model("llama"), make_random_chain(4, 8, 3))

    def held_bytes() -> int:
        return sum(value.nbytes for value in vars(likelihood).values() if isinstance(value, np.ndarray))

    likelihood.score_deletions(reasoning=False)
    before = held_bytes()
    likelihood.score_deletions(reasoning=True)
    assert held_bytes() - before == 4 * 8 * 7 // 2


@pytest.mark.parametrize("family", FAMILIES)
def test_masks_too_large_for_all_rows_change_no_score(make_random_model, make_random_chain, monkeypatch, family):
    loaded, chain = make_random_model(family), make_random_chain(4, 8, 3)
    whole = ENGINES["shared"](loaded, chain).score_deletions(reasoning=True)
    monkeypatch.setattr(packed_attention, "_MASK_ELEMENTS", 1)
    in_parts = ENGINES["shared"](loaded, chain).score_deletions(reasoning=True)
    np.testing.assert_allclose(in_parts.answer, whole.answer, atol=1e-4)
    np.testing.assert_allclose(in_parts.reasoning, whole.reasoning, atol=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
def test_position_that_is_gone_cannot_be_deleted_again(make_random_model, make_random_chain, engine):
    likelihood = ENGINES[engine](make_random_model("llama"), make_random_chain(4, 8, 3))
    likelihood.delete(5)
    for position in (5, 8, -1):
        with pytest.raises(ValueError, match=f"random: position {position} is not among the 7 tokens that are left"):
            likelihood.delete(position)


def test_likelihood_that_is_not_finite_stops_the_chain_with_its_reason(make_random_model, make_random_chain):
    loaded = make_random_model("llama")
    weights = loaded.model.lm_head.weight
    original = weights.detach().clone()
    try:
        with torch.no_grad():
            weights.fill_(torch.nan)
        with pytest.raises(MeasurementError, match=r"random: .* not a finite number"):
            Greedy().prune(make_random_chain(3, 4, 2), loaded=loaded)
    finally:
        with torch.no_grad():
            weights.copy_(original)


@pytest.mark.parametrize("family", FAMILIES)
def test_prefix_sharing_changes_no_likelihood_by_more_than_rounding(make_random_model, make_random_chain, family):
    assert largest_likelihood_change(make_random_model(family), make_random_chain(5, 12, 3)) < 1e-4


def test_model_whose_attention_differs_is_noticed_before_it_is_pruned(make_random_model, make_random_chain):
    loaded = make_random_model("llama")
    hook = loaded.model.model.layers[0].self_attn.register_forward_hook(_mix_tokens)
    try:
        with pytest.raises(SharingError, match="this version does not know the attention of "):
            largest_likelihood_change(loaded, make_random_chain(5, 12, 3))
    finally:
        hook.remove()


def _mix_tokens(_module, _args, output):
    """Mix tokens outside the attention function, as a recurrent layer would."""
    return output[0] + output[0].cumsum(dim=1), output[1]


def test_attention_of_the_model_is_back_after_pruning(make_random_model, make_random_chain):
    loaded = make_random_model("gemma2")
    Greedy().prune(make_random_chain(2, 2, 1), loaded=loaded)
    assert loaded.model.config._attn_implementation == "eager"


def test_every_deletion_is_announced(make_random_model, make_random_chain):
    calls = []
    job = PruningJob(advance=lambda: calls.append(1))
    Greedy().prune(make_random_chain(2, 5, 1), loaded=make_random_model("llama"), job=job)
    assert len(calls) == 5


def test_same_chain_gives_the_same_bytes(make_random_model, make_random_chain):
    loaded, chain = make_random_model("llama"), make_random_chain(4, 9, 3)
    first, second = (Greedy().prune(chain, loaded=loaded) for _ in range(2))
    assert first.nll_joint.tobytes() == second.nll_joint.tobytes()
    assert first.deleted.tobytes() == second.deleted.tobytes()


@pytest.mark.parametrize("family", ["lfm2", "mamba", "bloom", "llama4_text"])
@pytest.mark.parametrize("objective", ["answer", "influence"])
def test_models_that_cannot_share_prefixes_are_pruned_by_whole_passes(make_random_model, make_random_chain, family, objective):
    loaded, chain = make_random_model(family), make_random_chain(4, 6, 2)
    assert not can_share_prefixes(loaded)
    assert isinstance(open_likelihood(loaded, chain), FullLikelihood)
    deleted, curve = brute_force_path(loaded, chain, objective)
    path = Greedy(objective=objective).prune(chain, loaded=loaded)
    assert path.deleted.tolist() == deleted
    np.testing.assert_allclose(path.nll_answer, curve[:, 0], atol=NATS)


@pytest.mark.parametrize("family", FAMILIES)
def test_models_that_only_attend_share_prefixes(make_random_model, family):
    assert shares_prefixes(make_random_model(family), 100)


@pytest.mark.parametrize("engine", ENGINES)
def test_scores_are_right_in_whatever_order_they_are_asked_for(make_random_model, make_random_chain, engine):
    loaded, chain = make_random_model("llama"), make_random_chain(4, 8, 3)
    likelihood = ENGINES[engine](loaded, chain)
    kept = list(range(8))
    for position, reasoning in ((3, True), (6, False), (1, True), (0, False), (7, True)):
        scores = likelihood.score_deletions(reasoning=reasoning)
        without = [brute_force_logp(loaded, chain, kept[:i] + kept[i + 1 :]) for i in range(len(kept))]
        np.testing.assert_allclose(scores.answer, [logp[-3:].sum() for logp in without], atol=1e-4)
        if scores.reasoning is not None:
            np.testing.assert_allclose(scores.reasoning, [logp[:-3].sum() for logp in without], atol=1e-4)
        likelihood.delete(position)
        kept.remove(position)
        some = np.array(kept[::2])
        scores = likelihood.score_deletions(reasoning=True, candidates=some)
        assert scores.positions.tolist() == some.tolist()
        expected = [brute_force_logp(loaded, chain, [k for k in kept if k != position])[-3:].sum() for position in some]
        np.testing.assert_allclose(scores.answer, expected, atol=1e-4)


@pytest.mark.parametrize(("rope_type", "longest"), [("longrope", 16), ("dynamic", 16), ("linear", None)])
def test_keys_that_depend_on_the_length_are_not_shared_beyond_it(make_random_chain, rope_type, longest):
    rope = {"rope_type": rope_type, "rope_theta": 10000.0, "factor": 2.0, "original_max_position_embeddings": 16}
    if rope_type == "longrope":
        rope |= {"short_factor": [1.0] * 4, "long_factor": [1.5, 2.0, 3.0, 4.0]}
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=16 if rope_type == "dynamic" else 32,
        rope_parameters=rope, initializer_range=0.3,
    )  # fmt: skip
    loaded = LoadedModel(LlamaForCausalLM(config).eval(), None, rope_type)
    assert can_share_prefixes(loaded)
    assert shares_prefixes(loaded, 16)
    assert shares_prefixes(loaded, 17) == (longest is None)
    chain = make_random_chain(9, 6, 3)  # shortened past the limit
    path = Greedy().prune(chain, loaded=loaded)
    kept = list(range(6))
    for step, position in enumerate(path.deleted.tolist(), 1):
        kept.remove(position)
        if rope_type != "dynamic":  # whose rotation depends on the longest sequence that the model has seen, too
            assert path.nll_answer[step] == pytest.approx(brute_force_nll(loaded, chain, kept)[0], abs=NATS)
