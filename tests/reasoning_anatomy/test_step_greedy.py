"""Exact greedy pruning of steps against brute force: every step of every round by a full forward pass."""

import numpy as np
import pytest
import torch

from reasoning_anatomy.errors import MeasurementError, PluginError
from reasoning_anatomy.likelihood.pieces import FullPieces, SharedPieces, open_pieces
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.pruning import ForeseesCost, PruningJob
from reasoning_anatomy.pruning.greedy import Greedy
from reasoning_anatomy.pruning.step_greedy import StepGreedy
from reasoning_anatomy.types import EncodedChain, FloatArray, PruningPath, ReasoningChain

NATS = 1e-5  # float32 rounding of a mean nll
FAMILIES = ("llama", "qwen3", "mistral", "phi3", "gemma2", "gemma3_text", "gpt_oss")
WITHOUT_SHARING = ("lfm2", "mamba", "bloom", "llama4_text")
OBJECTIVES = ("answer", "joint", "influence")


@pytest.fixture
def make_chain(make_random_chain):
    """Draw a chain of p prompt and m answer tokens, and steps of these lengths, two or more."""

    def make(p: int, lengths: tuple[int, ...], m: int) -> EncodedChain:
        chain = make_random_chain(p, sum(lengths), m)
        text = "\n".join("x" * (length - 1) for length in lengths) + "\n"
        reasoning = ReasoningChain(chain_id="random", question_id="random", question="?", reasoning=text, answer="x" * m)
        return EncodedChain(reasoning, chain.prompt_ids, chain.reasoning_ids, chain.answer_ids, chain.spans)

    return make


def brute_force_logp(loaded: LoadedModel, chain: EncodedChain, kept: list[int]) -> FloatArray:
    """Log-likelihood of kept reasoning and answer, by one full forward pass without any cache."""
    ids = torch.from_numpy(np.concatenate([chain.prompt_ids, chain.reasoning_ids[kept], chain.answer_ids]))
    with torch.inference_mode():
        logp = loaded.model(input_ids=ids[None], use_cache=False).logits[0].float().log_softmax(-1)
    first = len(chain.prompt_ids)
    return logp[torch.arange(first - 1, len(ids) - 1), ids[first:]].double().numpy()


def brute_force_path(
    loaded: LoadedModel, chain: EncodedChain, steps: list[list[int]], objective: str
) -> tuple[list[int], list[float], FloatArray]:
    """Steps in the order of deletion, by how much each raised the objective, and the nll after each, from the definition."""
    m = len(chain.answer_ids)

    def nlls(logp: FloatArray) -> tuple[float, float]:
        return -logp[-m:].mean(), -logp.mean()

    left, order, raised = list(range(len(steps))), [], []
    now = brute_force_logp(loaded, chain, [position for step in steps for position in step])
    curve = [nlls(now)]
    while left:
        objectives, after = [], []
        for step in left:
            after.append(brute_force_logp(loaded, chain, [k for other in left if other != step for k in steps[other]]))
            if objective == "influence":
                begin = sum(len(steps[other]) for other in left if other < step)
                survivors_before = now[begin + len(steps[step]) :].sum()
                objectives.append((survivors_before - after[-1][begin:].sum()) / len(after[-1]))
            else:
                column = ("answer", "joint").index(objective)
                objectives.append(nlls(after[-1])[column])
        best = int(np.argmin(objectives))
        raised.append(objectives[best] - (0 if objective == "influence" else curve[-1][("answer", "joint").index(objective)]))
        now = after[best]
        curve.append(nlls(now))
        order.append(left.pop(best))
    return order, raised, np.array(curve)


def positions_of(lengths: tuple[int, ...]) -> list[list[int]]:
    ends = np.cumsum(lengths)
    return [list(range(end - length, end)) for end, length in zip(ends, lengths, strict=True)]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("family", [*FAMILIES, *WITHOUT_SHARING])
def test_order_scores_and_curves_are_those_of_brute_force(make_random_model, make_chain, family, objective):
    lengths = (3, 2, 5, 2, 4)
    loaded, chain, steps = make_random_model(family), make_chain(4, lengths, 3), positions_of(lengths)
    order, raised, curve = brute_force_path(loaded, chain, steps, objective)
    path = StepGreedy(objective=objective, token_budget=7).prune(chain, loaded=loaded)
    assert path.deleted.tolist() == [position for step in order for position in steps[step]]
    assert path.unit.tolist() == [unit for unit, step in enumerate(order) for _ in steps[step]]
    np.testing.assert_allclose(path.unit_score, raised, atol=NATS)
    ends = np.cumsum([0, *(len(steps[step]) for step in order)])
    np.testing.assert_allclose(path.nll_answer[ends], curve[:, 0], atol=NATS)
    np.testing.assert_allclose(path.nll_joint[ends], curve[:, 1], atol=NATS)
    assert np.isnan(np.delete(path.nll_answer, ends)).all()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_steps_of_one_token_are_pruned_as_greedy_prunes_tokens(make_random_model, make_random_chain, monkeypatch, objective):
    loaded, chain = make_random_model("llama"), make_random_chain(4, 9, 3)
    monkeypatch.setattr(
        "reasoning_anatomy.steps.sentences.Sentences.segment", lambda _self, _chain, spans: np.arange(len(spans))
    )
    tokens, steps = (
        strategy.prune(chain, loaded=loaded) for strategy in (Greedy(objective=objective), StepGreedy(objective=objective))
    )
    assert steps.deleted.tolist() == tokens.deleted.tolist()
    np.testing.assert_allclose(steps.margin, tokens.margin, atol=NATS)
    np.testing.assert_allclose(steps.nll_joint, tokens.nll_joint, atol=NATS)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("p", "token_budget"), [(1, 64), (4, 9), (1, 2)])
def test_score_of_a_piece_is_the_likelihood_without_it(make_random_model, make_random_chain, family, p, token_budget):
    loaded, chain = make_random_model(family), make_random_chain(p, 8, 3)
    kept = np.array([0, 1, 3, 4, 5, 7])
    likelihood = open_pieces(loaded, chain, kept, token_budget=token_budget)
    assert isinstance(likelihood, SharedPieces)
    pieces = [np.array(piece) for piece in ([0], [0, 1, 2], [2, 3], [4], [5], [0, 1, 2, 3, 4, 5])]
    without = [brute_force_logp(loaded, chain, np.delete(kept, piece).tolist()) for piece in pieces]
    scores = likelihood.score_pieces(pieces, reasoning=True)
    assert scores.positions.tolist() == [0, 0, 2, 4, 5, 0]
    np.testing.assert_allclose(scores.answer, [logp[-3:].sum() for logp in without], atol=1e-4)
    np.testing.assert_allclose(scores.reasoning, [logp[:-3].sum() for logp in without], atol=1e-4)
    of_answer = likelihood.score_pieces(pieces, reasoning=False)
    np.testing.assert_allclose(of_answer.answer, scores.answer, atol=1e-4)
    assert of_answer.reasoning is None


def test_several_tokens_are_deleted_at_once(make_random_model, make_random_chain):
    for family in ("llama", "lfm2"):
        loaded, chain = make_random_model(family), make_random_chain(4, 8, 3)
        likelihood = open_pieces(loaded, chain, np.arange(8))
        likelihood.score_pieces([np.array([5])], reasoning=True)
        likelihood.delete(np.array([6, 2, 3]))
        likelihood.delete(np.empty(0, dtype=np.int64))
        assert likelihood.kept.tolist() == [0, 1, 4, 5, 7]
        np.testing.assert_allclose(likelihood.token_logp(), brute_force_logp(loaded, chain, [0, 1, 4, 5, 7]), atol=1e-4)
        with pytest.raises(ValueError, match="random: position 2 is not among the 5 tokens that are left"):
            likelihood.delete(np.array([1, 2]))


@pytest.mark.parametrize("family", ["llama", "lfm2"])
@pytest.mark.parametrize("lengths", [(3, 3, 3, 3), (2, 6, 3, 2), (7,)])
@pytest.mark.parametrize("keep_ratio", [0.0, 0.4, 1.0])
def test_no_path_runs_more_tokens_than_was_foreseen(make_random_model, make_chain, family, lengths, keep_ratio):
    loaded, chain, strategy = make_random_model(family), make_chain(5, lengths, 3), StepGreedy(keep_ratio=keep_ratio)
    assert isinstance(strategy, ForeseesCost)
    foreseen = strategy.token_forwards(chain, shares_prefixes=family == "llama")
    path = strategy.prune(chain, loaded=loaded)
    assert path.token_forwards <= foreseen
    if len(set(lengths)) == 1:
        assert path.token_forwards == foreseen


@pytest.mark.parametrize(("keep_ratio", "n_left"), [(0.0, 0), (0.25, 2), (0.5, 4), (0.6, 6), (0.99, 8), (1.0, 10)])
def test_keep_ratio_ends_with_the_first_step_that_reaches_it(make_random_model, make_chain, keep_ratio, n_left):
    chain, loaded = make_chain(3, (2,) * 5, 2), make_random_model("llama")
    path, whole = (StepGreedy(keep_ratio=ratio).prune(chain, loaded=loaded) for ratio in (keep_ratio, 0))
    assert path.deleted.tolist() == whole.deleted[: 10 - n_left].tolist()
    assert path.unit_score.tolist() == whole.unit_score[: (10 - n_left) // 2].tolist()


def same_bytes(first: PruningPath, second: PruningPath) -> bool:
    names = ("deleted", "margin", "nll_answer", "nll_joint", "nll_reasoning", "unit", "unit_score")
    equal = all(getattr(first, name).tobytes() == getattr(second, name).tobytes() for name in names)
    facts = [(path.n_ties, path.token_forwards, path.token_budget) for path in (first, second)]
    return equal and facts[0] == facts[1]


@pytest.mark.parametrize("family", ["llama", "mistral", "lfm2"])
def test_an_interrupted_path_continues_to_the_same_bytes(make_random_model, make_chain, family):
    loaded, chain, saved, calls = make_random_model(family), make_chain(4, (3, 2, 5, 2), 3), [], []
    strategy = StepGreedy(objective="joint")
    whole = strategy.prune(chain, loaded=loaded, job=PruningJob(save=saved.append, advance=lambda: calls.append(1)))
    assert [len(path.unit_score) for path in saved] == [1, 2, 3, 4]
    assert len(calls) == 12
    for begun in saved:
        assert same_bytes(strategy.prune(chain, loaded=loaded, job=PruningJob(begun=begun)), whole)


def test_equal_steps_go_in_the_order_of_the_text_and_count_as_ties(make_bigram_model, make_chain):
    # q predicts a and x alike, a predicts a and x alike: no step matters to the answer
    loaded = make_bigram_model({(3, 4): -1.0, (4, 4): -1.0, (3, 5): -2.0, (4, 5): -2.0})
    chain = make_chain(1, (2, 2, 2), 1)
    chain = EncodedChain(chain.chain, np.array([3]), np.full(6, 4), np.array([5]), chain.spans)
    path = StepGreedy().prune(chain, loaded=loaded)
    assert path.deleted.tolist() == [0, 1, 2, 3, 4, 5]
    assert path.n_ties == 2  # the last step has no other to tie with
    assert np.isnan(path.margin[-2:]).all()
    np.testing.assert_allclose(path.unit_score, 0, atol=NATS)


def test_one_step_is_deleted_whole(make_random_model, make_chain):
    loaded, chain = make_random_model("llama"), make_chain(1, (4,), 2)
    path = StepGreedy().prune(chain, loaded=loaded)
    assert path.deleted.tolist() == [0, 1, 2, 3]
    assert path.nll_answer[-1] == pytest.approx(-brute_force_logp(loaded, chain, []).mean(), abs=NATS)


@pytest.mark.parametrize("family", ["llama", "lfm2"])
def test_likelihood_that_is_not_finite_stops_the_chain_with_its_reason(make_random_model, make_chain, family):
    loaded, chain = make_random_model(family), make_chain(3, (2, 2), 2)
    likelihood = open_pieces(loaded, chain, np.arange(4))
    weights = loaded.model.lm_head.weight
    original = weights.detach().clone()
    try:
        with torch.no_grad():
            weights.fill_(torch.nan)
        with pytest.raises(MeasurementError, match=r"random: .* not a finite number"):
            StepGreedy().prune(chain, loaded=loaded)
        with pytest.raises(MeasurementError, match=r"random: the model gives the .* not a finite number"):
            likelihood.score_pieces([np.array([0, 1])], reasoning=True)
    finally:
        with torch.no_grad():
            weights.copy_(original)


@pytest.fixture
def limit_tokens(monkeypatch):
    """Let memory run out on passes of more tokens than this, when pieces are scored."""

    def limit(n_tokens: int) -> None:
        for engine, name, size in (
            (SharedPieces, "_forward", lambda args: len(args[1])),
            (FullPieces, "_forward", lambda args: args[0].size),
        ):
            whole = getattr(engine, name)

            def limited(self, *args, whole=whole, size=size):
                if size(args) > n_tokens:
                    raise torch.OutOfMemoryError("CUDA out of memory")
                return whole(self, *args)

            monkeypatch.setattr(engine, name, limited)

    return limit


@pytest.mark.parametrize(("family", "n_tokens"), [("llama", 6), ("llama", 1), ("lfm2", 25)])
def test_passes_are_halved_when_memory_runs_out(make_random_model, make_chain, limit_tokens, family, n_tokens):
    loaded, chain = make_random_model(family), make_chain(4, (3, 2, 5, 2), 3)
    unlimited = StepGreedy(objective="joint").prune(chain, loaded=loaded)
    limit_tokens(n_tokens)
    limited = StepGreedy(objective="joint").prune(chain, loaded=loaded)
    assert limited.deleted.tolist() == unlimited.deleted.tolist()
    np.testing.assert_allclose(limited.unit_score, unlimited.unit_score, atol=NATS)
    assert limited.token_budget <= n_tokens < unlimited.token_budget


@pytest.mark.parametrize(("family", "n_tokens"), [("llama", 0), ("lfm2", 5)])
def test_too_little_memory_for_a_single_pass_fails_the_chain(make_random_model, make_chain, limit_tokens, family, n_tokens):
    limit_tokens(n_tokens)
    with pytest.raises(MeasurementError, match="random: there is too little memory for a single forward pass"):
        StepGreedy().prune(make_chain(4, (3, 2), 3), loaded=make_random_model(family))


@pytest.mark.parametrize("options", [{"keep_ratio": 1.1}, {"token_budget": 0}, {"tie_tolerance": -1.0}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        StepGreedy(**options)


def test_an_unknown_segmenter_is_refused_when_the_strategy_is_made():
    with pytest.raises(PluginError, match="unknown segmenter 'nope'; available: "):
        StepGreedy(steps="nope")
