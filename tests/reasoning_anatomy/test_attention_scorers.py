"""Scorers of recorded attention: against the worked numbers of the published methods, and against eager attention."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import entropy, kurtosis
from tokenizers import AddedToken

from analyses._attention_sparsity.evidence import RECOMMENDED
from analyses.attention_sparsity import AttentionSparsity as SparsityAnalysis
from benchmarks.attention_fidelity import eager_weights, value_lengths, vertical_scores
from reasoning_anatomy import plugins
from reasoning_anatomy.attention import recording
from reasoning_anatomy.attention.recorder import Recorder
from reasoning_anatomy.errors import EncodingError, PluginError, RunError, UndefinedScoreError
from reasoning_anatomy.importance import AttentionScorer, RecordsAttention, observe_together
from reasoning_anatomy.importance.accumulated_attention import AccumulatedAttention
from reasoning_anatomy.importance.answer_attention import AnswerAttention
from reasoning_anatomy.importance.attention_sparsity import AttentionSparsity
from reasoning_anatomy.importance.contribution import Contribution
from reasoning_anatomy.importance.end_of_thinking import EndOfThinking
from reasoning_anatomy.importance.exposure_normalised_attention import ExposureNormalisedAttention
from reasoning_anatomy.importance.last_token_attention import LastTokenAttention
from reasoning_anatomy.importance.receiver_heads import ReceiverHeads, excess_kurtosis, largest_heads
from reasoning_anatomy.models import text_tokenizer
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import LoadedModel, load_model
from reasoning_anatomy.pipeline.chain import ChainWork
from reasoning_anatomy.pipeline.measuring import measure
from reasoning_anatomy.pipeline.plan import Plan
from reasoning_anatomy.plugins import available, load, load_class
from reasoning_anatomy.run.fit import Fit, read_fit, write_fit
from reasoning_anatomy.run.folder import Run, open_run
from reasoning_anatomy.run.manifest import Configuration
from reasoning_anatomy.run.writer import Missing, begin_run
from reasoning_anatomy.types import EncodedChain, ReasoningChain

MATRIX = [[1], [0.5, 0.5], [0.6, 0.2, 0.2], [0.6, 0.1, 0.1, 0.2], [0.5, 0.1, 0.2, 0.1, 0.1], [0.4, 0.1, 0.3, 0.1, 0.05, 0.05]]
FROM_ANSWER = [0.3, 0.1, 0.1, 0.2, 0.05, 0.05]  # the rest goes to the prompt and to the answer itself
TOLERANCE = 1e-5
RECORDING = [key for key in available("scorer") if isinstance(load("scorer", key), RecordsAttention)]
OBSERVING = [
    key for key in RECORDING if isinstance(load("scorer", key), AttentionScorer) and not available("scorer")[key].needs
]


def steps_chain(text: str = "a. b. c. d. e. f.", question: str = "q") -> EncodedChain:
    """A chain of one token a step, one prompt token and one answer token."""
    words = text.split()
    starts = np.cumsum([0, *(len(word) + 1 for word in words[:-1])])
    spans = np.stack([starts, starts + [len(word) for word in words]], axis=1)
    chain = ReasoningChain(chain_id="steps", question_id=question, question="?", reasoning=text, answer="x")
    return EncodedChain(chain, np.array([3]), np.arange(10, 10 + len(words)), np.array([4]), spans)


def attend(scorer: Any) -> np.ndarray:
    """Score the steps in a layer whose attention among the reasoning tokens is the matrix; its queries and keys are made so."""
    weights = np.full((8, 8), 1e-30)
    weights[0, 0] = 1
    for row, given in enumerate(MATRIX, start=1):
        weights[row, 1 : 1 + len(given)] = given
    weights[7, 1:7], weights[7, [0, 7]] = FROM_ANSWER, 0.1
    chain, recorder = steps_chain(), Recorder(scorer.observe(steps_chain()), n_layers=1)
    query, key = torch.tensor(weights, dtype=torch.float32).log()[None, None], torch.eye(8)[None, None]
    recorder.begin_chunk(0, query.shape[2])
    recorder.attend(SimpleNamespace(layer_idx=0, is_causal=True), query, key, key, None, scaling=1.0)
    observed = [result.numpy() for result in recorder.results()]
    return scorer.score(chain, loaded=None, observed=observed).score


@pytest.mark.parametrize(
    ("scorer", "expected"),
    [
        (AccumulatedAttention(queries="reasoning"), [3.6, 1, 0.8, 0.4, 0.15, 0.05]),  # H2O
        (AccumulatedAttention(), [3.9, 1.1, 0.9, 0.6, 0.2, 0.1]),
        (ExposureNormalisedAttention(queries="reasoning"), [0.6, 0.2, 0.2, 0.4 / 3, 0.075, 0.05]),  # ObservedAttention
        (ExposureNormalisedAttention(queries="answer"), FROM_ANSWER),
        (LastTokenAttention(last_of="reasoning"), MATRIX[-1]),  # TOVA
        (LastTokenAttention(), FROM_ANSWER),
        (AnswerAttention(), FROM_ANSWER),
        (ReceiverHeads(proximity=2, heads="0.0"), [0.525, 0.1, 0.25, 0.1, *FROM_ANSWER[4:]]),  # Thought Anchors
        (ReceiverHeads(proximity=7, heads="0.0"), FROM_ANSWER),
        (AccumulatedAttention(queries="reasoning", exclude_sink=2), [0, 1 + 0.5 + 0.25 + 0.2 + 1 / 6, None, None, None, None]),
        (AnswerAttention(exclude_sink=1), [weight / 0.9 for weight in FROM_ANSWER]),
        (AnswerAttention(exclude_sink=3), [0, 0, *(weight / 0.5 for weight in FROM_ANSWER[2:])]),
        (AttentionSparsity(measure="gini"), [0.5, 1 / 3, 0.45, 0.52, 2.8 / 6, None]),  # the prompt is seen, with no weight
        (AttentionSparsity(measure="gini", exclude_sink=1), [0, 0, 0.8 / 3, 0.4, 0.36, None]),
        (AttentionSparsity(measure="top_decile"), [0.2, 0.15, 0.24, 0.3, 0.3, 0.28]),
        (AttentionSparsity(), [1, 1 - math.log(2) / math.log(3), None, None, None, None]),
        (AttentionSparsity(exclude_sink=1), [0, 0, 1 - 0.950271 / math.log(3), None, None, None]),
        (AttentionSparsity(measure="effective_tokens"), [0.5, 1 / 3, 1 - math.exp(0.950271) / 4, None, None, None]),
    ],
    ids=repr,
)
def test_scores_of_the_worked_matrix(scorer, expected):
    known = np.array([number is not None for number in expected])
    np.testing.assert_allclose(attend(scorer)[known], [number for number in expected if number is not None], atol=1e-6)


def test_kurtosis_of_the_worked_vertical_scores():
    assert excess_kurtosis(np.array([[0.525, 0.1, 0.25, 0.1]])).round(4).tolist() == [-1.04]
    assert excess_kurtosis(np.zeros((1, 4))).tolist() == [-3]


def test_the_largest_heads_come_first_and_ties_go_to_the_lowest():
    assert largest_heads(np.array([[1.0, 3.0], [3.0, 2.0]]), 3) == [(0, 1), (1, 0), (1, 1)]


def eager(loaded: LoadedModel, ids: np.ndarray) -> np.ndarray:
    """(layers, heads, T, T)."""
    return eager_weights(loaded, ids).astype(np.float64)


EXPECTED: dict[Any, Callable[[np.ndarray], np.ndarray]] = {  # of 6 prompt, 11 reasoning and 4 answer tokens
    AnswerAttention(): lambda weights: weights[:, :, 17:, 6:17].mean(axis=2),
    LastTokenAttention(): lambda weights: weights[:, :, 20, 6:17],
    LastTokenAttention(last_of="reasoning"): lambda weights: weights[:, :, 16, 6:17],
    AccumulatedAttention(): lambda weights: weights[:, :, 6:, 6:17].sum(axis=2),
    AccumulatedAttention(queries="reasoning"): lambda weights: weights[:, :, 6:17, 6:17].sum(axis=2),
    AccumulatedAttention(queries="answer"): lambda weights: weights[:, :, 17:, 6:17].sum(axis=2),
    ExposureNormalisedAttention(): lambda weights: weights[:, :, 6:, 6:17].sum(axis=2) / np.arange(15, 4, -1),
}


@pytest.mark.parametrize("exclude_sink", [0, 2])
@pytest.mark.parametrize("scorer", EXPECTED, ids=repr)
def test_scores_equal_eager_attention(make_random_model, make_random_chain, deviation, scorer, exclude_sink):
    loaded, chain = make_random_model("llama"), make_random_chain(6, 11, 4)
    weights = eager(loaded, chain.ids)
    weights[..., :exclude_sink] = 0
    with np.errstate(invalid="ignore"):
        expected = EXPECTED[scorer](weights / weights.sum(axis=3, keepdims=True))
    options = {name: getattr(scorer, name) for name in ("queries", "last_of") if hasattr(scorer, name)}
    scores = type(scorer)(exclude_sink=exclude_sink, **options).score(chain, loaded=loaded)
    assert deviation(scores.profile.scorer, scores.profile.received, expected) < TOLERANCE
    np.testing.assert_allclose(scores.score, expected.mean(axis=(0, 1)), atol=TOLERANCE)
    assert scores.profile.normalisation.startswith("first 2 tokens" if exclude_sink else "none")


FOCUS: dict[str, Callable[[np.ndarray], float]] = {  # of the shares of the tokens that a query sees
    "entropy": lambda shares: 1 - entropy(shares) / math.log(len(shares)),
    "effective_tokens": lambda shares: 1 - math.exp(entropy(shares)) / len(shares),
    "gini": lambda shares: np.abs(shares[:, None] - shares).mean() / (2 / len(shares)),
    "top_decile": lambda shares: np.sort(shares)[-1] * len(shares) / 10,  # at most ten of them
}


@pytest.mark.parametrize("token_budget", [None, 5])
@pytest.mark.parametrize("exclude_sink", [0, 2])
@pytest.mark.parametrize("measure", FOCUS)
@pytest.mark.parametrize("family", ["mistral", "gpt_oss"])  # a window of 7; a window, and learned sinks
def test_sparsity_is_that_of_the_rows_of_eager_attention(
    make_random_model, make_random_chain, deviation, family, measure, exclude_sink, token_budget
):
    loaded, chain = make_random_model(family), make_random_chain(4, 6, 4)
    scorer = AttentionSparsity(measure=measure, exclude_sink=exclude_sink, token_budget=token_budget)
    scores, expected = scorer.score(chain, loaded=loaded), np.empty((loaded.n_layers, 4, 6))
    weights = eager(loaded, chain.ids)
    kinds = getattr(loaded.text_config, "layer_types", None) or ["sliding_attention"] * loaded.n_layers
    for (layer, head, row), _ in np.ndenumerate(expected):
        window = loaded.text_config.sliding_window if kinds[layer] == "sliding_attention" else 99
        seen = weights[layer, head, 4 + row, max(exclude_sink, 5 + row - window) : 5 + row]
        expected[layer, head, row] = FOCUS[measure](seen / seen.sum())
    assert deviation("attention_sparsity", scores.profile.received, expected) < TOLERANCE
    np.testing.assert_allclose(scores.score, expected.mean(axis=(0, 1)), atol=TOLERANCE)
    assert measure in scores.profile.queries


def test_what_the_analysis_of_sparsity_asks_for_are_labels_and_a_run_has_what_it_reads(tiny, texts, tmp_path):
    assert [plugins.label(load("scorer", spec)) for spec in RECOMMENDED] == list(RECOMMENDED)
    verdicts = [True, True, True, False]  # the first and the last are on one question
    chains = [text.model_copy(update={"is_correct": verdict}) for text, verdict in zip(texts, verdicts, strict=True)]
    run = measure(chains, out=tmp_path / "run", model=tiny, scorers=list(RECOMMENDED), strategies=[], workers=1)
    result = SparsityAnalysis(draws=99).analyse(run)
    assert list(dict.fromkeys(result.table["scorer"])) == list(RECOMMENDED)
    raw = result.table[result.table["term"] == "wrong - correct"]
    means = [[run.token_scores(text.chain_id, spec).score.mean() for text in texts] for spec in RECOMMENDED]
    np.testing.assert_allclose(raw["estimate"], [wrong - correct for correct, _, _, wrong in means], atol=1e-12)


def test_in_a_window_attention_is_per_query_that_sees_the_token(make_random_model, make_random_chain, deviation):
    loaded, chain = make_random_model("mistral"), make_random_chain(6, 11, 9)  # a window of 7
    received = ExposureNormalisedAttention(queries="answer").score(chain, loaded=loaded).profile.received
    seen = np.array([min(9, max(0, j + 7 - 17)) for j in range(6, 17)])
    sums = eager(loaded, chain.ids)[:, :, 17:, 6:17].sum(axis=2)
    assert deviation("exposure_normalised_attention", received, sums / np.maximum(seen, 1)) < TOLERANCE
    assert (received[..., :5] == 0).all()  # no answer token sees them


def test_contribution_is_the_weight_times_the_length_of_the_projected_value(make_random_model, make_random_chain, deviation):
    loaded, chain = make_random_model("llama"), make_random_chain(6, 11, 4)
    weights = eager(loaded, chain.ids)[:, :, 17:, 6:17].mean(axis=2)
    expected = weights * value_lengths(loaded, chain)[..., 6:17]
    scores = Contribution().score(chain, loaded=loaded)
    assert deviation("contribution", scores.profile.received, expected) < TOLERANCE
    np.testing.assert_allclose(scores.score, np.mean(expected, axis=(0, 1)), rtol=1e-4)


@pytest.mark.parametrize("key", [key for key in RECORDING if hasattr(load("scorer", key), "exclude_sink")])
def test_a_negative_number_of_sinks_is_refused(key):
    with pytest.raises(ValueError, match="exclude_sink is -1, expected 0 or more"):
        load_class("scorer", key)(exclude_sink=-1)


def test_scorers_share_one_forward_pass(make_random_model, make_random_chain):
    loaded, chain = make_random_model("qwen2"), make_random_chain(6, 11, 4)
    scorers = {key: load("scorer", key) for key in [*OBSERVING, "end_of_thinking"]}
    passes = []
    hook = loaded.model.register_forward_hook(lambda *call: passes.append(1))
    observed = observe_together(scorers, chain, loaded=loaded)
    hook.remove()
    assert len(passes) == 1
    assert observed.keys() == scorers.keys() - {"end_of_thinking"}
    for label, known in observed.items():
        alone, shared = scorers[label].score(chain, loaded=loaded), scorers[label].score(chain, loaded=None, **known)
        np.testing.assert_allclose(shared.score, alone.score, rtol=1e-5)


def test_scorers_of_one_token_budget_share_their_passes(make_random_model, make_random_chain):
    loaded, chain = make_random_model("qwen2"), make_random_chain(6, 11, 4)
    specs = ("answer_attention:token_budget=8", "contribution:token_budget=8", "accumulated_attention", "end_of_thinking")
    scorers = {spec: load("scorer", spec) for spec in specs}
    lengths = []
    hook = loaded.model.register_forward_pre_hook(
        lambda module, args, kwargs: lengths.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    observed = observe_together(scorers, chain, loaded=loaded)
    alone = scorers[specs[0]].score(chain, loaded=loaded)
    hook.remove()
    assert lengths == [8, 8, 5, 21, 8, 8, 5]
    assert list(observed) == list(specs[:3])
    for label, known in observed.items():
        whole = load("scorer", label.partition(":")[0]).score(chain, loaded=loaded)
        np.testing.assert_allclose(scorers[label].score(chain, loaded=None, **known).score, whole.score, atol=TOLERANCE)
    np.testing.assert_array_equal(scorers[specs[0]].score(chain, loaded=None, **observed[specs[0]]).score, alone.score)


@pytest.mark.parametrize("key", RECORDING)
def test_every_scorer_of_attention_takes_a_token_budget(key):
    assert load("scorer", f"{key}:token_budget=64").token_budget == 64
    with pytest.raises(PluginError, match="token_budget is 0, expected 1 or more"):
        load("scorer", f"{key}:token_budget=0")


# --- end of thinking


@pytest.fixture(scope="module")
def tiny(tiny_model_folder):
    return load_model(str(tiny_model_folder))


@pytest.fixture(scope="module")
def encoded(tiny, example_chains):
    return ChainEncoder(tiny.tokenizer).encode(min(example_chains, key=lambda chain: len(chain.reasoning)))


@pytest.mark.parametrize("question", [True, False])
@pytest.mark.parametrize(("layers", "chosen"), [("all", slice(0, 2)), ("first_half", slice(0, 1)), ("last", slice(1, 2))])
def test_end_of_thinking_is_the_last_row_of_the_chain_and_the_probe(tiny, encoded, deviation, question, layers, chosen):
    read = tiny.tokenizer  # it has no think tags, so they are characters
    probe = read("Stop and sum up.", add_special_tokens=False)["input_ids"]
    tags = [read(tag, add_special_tokens=False)["input_ids"] for tag in ("<think>", "</think>")]
    before = encoded.prompt_ids if question else np.array(tags[0])
    ids = np.concatenate([before, encoded.reasoning_ids, probe, tags[1]])
    expected = eager(tiny, ids)[:, :, -1, len(before) : len(before) + encoded.n_reasoning]
    scores = EndOfThinking(probe="Stop and sum up.", question=question, layers=layers).score(encoded, loaded=tiny)
    assert deviation("end_of_thinking", scores.profile.received, expected) < TOLERANCE
    np.testing.assert_allclose(scores.score, expected[chosen].mean(axis=(0, 1)), atol=TOLERANCE)
    assert f"the last of its {len(tags[1])} tokens of text" in scores.profile.queries
    assert ("no prompt" in scores.profile.queries) == (not question)


def test_the_tag_is_one_token_where_the_tokenizer_has_it(tiny_model_folder, encoded, make_random_model):
    tiny = load_model(str(tiny_model_folder))
    tiny.tokenizer.add_tokens(["<think>", "</think>"], special_tokens=False)
    end = tiny.tokenizer.convert_tokens_to_ids("</think>")
    encoder = ChainEncoder(tiny.tokenizer)
    assert encoder.tag_ids("</think>").tolist() == [end]
    assert end not in encoder.text_ids("Stop.</think>")
    tiny.model.resize_token_embeddings(len(tiny.tokenizer), mean_resizing=False)
    profile = EndOfThinking().score(encoded, loaded=tiny).profile
    assert profile.queries == "</think> after the probe, one token; prompt in context"


def test_a_probe_cannot_hold_a_special_token(tiny, encoded):
    marker = tiny.tokenizer.eos_token
    injected = ChainEncoder(tiny.tokenizer).text_ids(f"Stop.{marker}")
    assert tiny.tokenizer.eos_token_id not in injected
    assert tiny.tokenizer.decode(injected) == f"Stop.{marker}"
    assert np.isfinite(EndOfThinking(probe=f"Stop.{marker}").score(encoded, loaded=tiny).score).all()


def test_a_probe_that_does_not_fit_has_no_score(tiny, encoded):
    with pytest.raises(UndefinedScoreError, match="the probe of end_of_thinking does not fit into the model's context"):
        EndOfThinking(probe="stop " * 600).score(encoded, loaded=tiny)


# --- receiver heads


@pytest.fixture(scope="module")
def texts(example_chains) -> list[ReasoningChain]:
    """Chains of some steps on three questions, one of which has two."""
    long_enough = [text for text in example_chains if text.reasoning.count("\n") + text.reasoning.count(". ") > 8]
    texts = sorted(long_enough, key=lambda chain: len(chain.reasoning))[:4]
    return [text.model_copy(update={"question_id": name}) for text, name in zip(texts, "abca", strict=True)]


@pytest.fixture(scope="module")
def stepped(tiny, texts) -> list[tuple[EncodedChain, np.ndarray]]:
    """The same, encoded, and the step of each of their tokens."""
    encoder = ChainEncoder(tiny.tokenizer)
    chains = [encoder.encode(text) for text in texts]
    return [(chain, ReceiverHeads().steps_of(chain)) for chain in chains]


def test_receiver_heads_take_the_steps_of_the_segmenter_that_is_named(stepped):
    chain, _ = stepped[0]
    for key, scorer in (("sentences", ReceiverHeads()), ("thought_anchors", ReceiverHeads(steps="thought_anchors"))):
        step = load("segmenter", key).segment(chain.chain, chain.spans)
        assert scorer.steps_of(chain).tolist() == np.unique(step, return_inverse=True)[1].tolist()
    with pytest.raises(PluginError, match=r"unknown segmenter 'nope'; available: .*sentences"):
        ReceiverHeads(steps="nope")


@pytest.mark.parametrize("proximity", [1, 2])
def test_receiver_heads_score_as_the_whole_matrix_says(tiny, stepped, deviation, proximity):
    chain, step = stepped[0]
    assert step.max() > proximity
    start, stop = len(chain.prompt_ids), len(chain.prompt_ids) + chain.n_reasoning
    weights = eager(tiny, chain.ids)
    vertical = vertical_scores(weights[:, :, start:stop, start:stop], step, proximity)
    scores = ReceiverHeads(proximity=proximity, heads="0.1 1.3").score(chain, loaded=tiny)
    received = scores.profile.received
    of_step = np.stack([received[..., step == index].mean(axis=2) for index in range(step.max() + 1)], axis=2)
    assert deviation("receiver_heads", of_step[..., :-proximity], vertical[..., :-proximity]) < TOLERANCE
    last = step > step.max() - proximity
    np.testing.assert_allclose(received[..., last], weights[:, :, stop:, start:stop].mean(axis=2)[..., last], atol=TOLERANCE)
    np.testing.assert_allclose(scores.score, (received[0, 1] + received[1, 3]) / 2, rtol=1e-6)
    assert scores.profile.queries.endswith("score: heads 0.1 1.3")


def test_heads_are_chosen_on_other_questions(tiny, stepped):
    by_question: dict[str, list[np.ndarray]] = {}
    for chain, step in stepped:
        start, stop = len(chain.prompt_ids), len(chain.prompt_ids) + chain.n_reasoning
        vertical = vertical_scores(eager(tiny, chain.ids)[:, :, start:stop, start:stop], step, 1)[..., :-1]
        by_question.setdefault(chain.chain.question_id, []).append(kurtosis(vertical, axis=2))
    unfitted = ReceiverHeads(proximity=1, n_heads=3)
    fit = unfitted.fit([chain for chain, _ in stepped], loaded=tiny)
    assert (fit.n_chains, fit.left_out, list(fit.by_question)) == (4, {}, ["a", "b", "c"])
    scorer = unfitted.fitted(fit)
    for chain, _ in stepped:
        others = [np.mean(values, axis=0) for name, values in by_question.items() if name != chain.chain.question_id]
        heads = largest_heads(np.mean(others, axis=0), 3)
        scores = scorer.score(chain, loaded=tiny)
        assert scores.profile.queries.endswith("heads " + " ".join(f"{layer}.{head}" for layer, head in heads))
        assert np.isfinite(scores.score).all()


def test_heads_cannot_be_chosen_on_one_question(tiny, stepped):
    of_one = [chain for chain, _ in stepped if chain.chain.question_id == "a"]
    with pytest.raises(PluginError, match="chains of 8 steps or more are on 1; measure more questions"):
        ReceiverHeads().fit(of_one, loaded=tiny)


def test_named_heads_need_no_other_chains(tiny, stepped):
    scorer = ReceiverHeads(heads="0.0")
    assert scorer.fit([], loaded=tiny) is None


def test_heads_that_are_not_there_are_refused(tiny, stepped):
    chain, _ = stepped[0]
    with pytest.raises(PluginError, match="has no heads yet; make it with `fitted`"):
        ReceiverHeads().score(chain, loaded=tiny)
    with pytest.raises(PluginError, match=r"has no head 2\.0; it has \(2, 4\)"):
        ReceiverHeads(heads="1.1 2.0").score(chain, loaded=tiny)
    for wrong in ("3", "a.b", "1.2.3", "1,2", "-1.0"):
        with pytest.raises(ValueError, match=r"expected layer\.head with a space between two"):
            ReceiverHeads(heads=wrong)


def test_what_a_probe_may_not_say_is_named(tiny, monkeypatch):
    a = tiny.tokenizer("a", add_special_tokens=False)["input_ids"][0]
    monkeypatch.setattr(text_tokenizer, "control_tokens", lambda _: {a: AddedToken("a", special=True)})
    with pytest.raises(EncodingError, match="read only as a special token"):
        ChainEncoder(tiny.tokenizer).text_ids("a")


def test_scores_of_an_empty_row_are_numbers():
    assert not math.isnan(attend(AccumulatedAttention(exclude_sink=7)).sum())


# --- runs

SCORERS = (
    *(key for key in RECORDING if not available("scorer")[key].needs),
    "answer_attention:exclude_sink=1", "receiver_heads:proximity=1", "receiver_heads:heads=0.1", "recency",
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(tiny, texts, tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "all"
    return measure(texts, out=folder, model=tiny, scorers=SCORERS, strategies=["random_tokens"], workers=1)


def test_a_run_has_scores_and_profiles_of_every_scorer(finished, tiny, texts):
    assert finished.status().failed == {}
    assert finished.manifest.checks["recording_changes_logits_by"] == 0
    assert "running_in_pieces_changes_logits_by" not in finished.manifest.checks
    tokens, chain_id = finished.tokens(), texts[0].chain_id
    assert [name for name in tokens.columns if name.startswith("score_")] == [f"score_{label}" for label in SCORERS]
    measurement = finished.measurement(chain_id)
    assert list(measurement.profiles) == list(SCORERS[:-1])
    for label in ("answer_attention", "answer_attention:exclude_sink=1", "accumulated_attention"):
        alone = load("scorer", label).score(measurement.encoded, loaded=tiny)
        np.testing.assert_allclose(measurement.scores[label], alone.score, rtol=1e-5)
        np.testing.assert_allclose(measurement.profiles[label].received, alone.profile.received, rtol=2**-10, atol=1e-9)


def test_a_chain_that_is_measured_later_gets_the_same_heads(finished, tiny, texts):
    files = sorted(finished.layout.chain(texts[2].chain_id).iterdir())
    before = [file.read_bytes() for file in files]
    for file in files:
        file.unlink()
    measure(texts, out=finished.folder, model=tiny, scorers=SCORERS, strategies=["random_tokens"], workers=1)
    assert [file.read_bytes() for file in files] == before


def test_chains_that_are_added_are_scored_by_the_heads_that_the_run_has(tiny, texts, tmp_path):
    options = {"out": tmp_path / "run", "model": tiny, "scorers": [FITTED], "strategies": [], "workers": 1}
    fit = measure(texts[:3], **options).fit(FITTED)
    run = measure(texts, **options)
    assert run.fit(FITTED).n_chains == fit.n_chains == 3
    others = [values for question, values in fit.by_question.items() if question != texts[3].question_id]
    heads = largest_heads(np.mean(others, axis=0), 3)
    profile = run.token_scores(texts[3].chain_id, FITTED).profile
    assert profile.queries.endswith("score: heads " + " ".join(f"{layer}.{head}" for layer, head in heads))


FITTED = "receiver_heads:proximity=1,n_heads=3"


@pytest.fixture
def fit_run(tiny, texts, tmp_path) -> Callable[[str], Run]:
    """Measure receiver heads alone, in a folder of this name."""

    def run(name: str) -> Run:
        return measure(texts, out=tmp_path / name, model=tiny, scorers=[FITTED], strategies=[], workers=1)

    return run


@contextmanager
def starving(loaded: LoadedModel, chain: EncodedChain, folder: Path, *, stop_after: int | None = None) -> Iterator[None]:
    """While heads are chosen, let memory not suffice for one chain; stop the process once some chains are written."""
    lengths = {len(chain.ids) >> cuts for cuts in range(4)}

    def look(module: Any, args: Any, kwargs: Any) -> None:
        if not (folder / "fits").exists() and kwargs["input_ids"].shape[1] in lengths:
            raise torch.OutOfMemoryError("out of memory")
        if len(list(folder.glob("chains/*/score-*"))) == stop_after:
            raise KeyboardInterrupt

    hook = loaded.model.register_forward_pre_hook(look, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def test_a_stopped_run_goes_on_with_the_heads_that_it_had(tiny, texts, fit_run, tmp_path):
    """The process that goes on has the memory that the first one lacked, and would choose other heads."""
    starved = ChainEncoder(tiny.tokenizer).encode(texts[1])
    with starving(tiny, starved, tmp_path / "whole"):
        whole = fit_run("whole")
    with starving(tiny, starved, tmp_path / "stopped", stop_after=2), pytest.raises(KeyboardInterrupt):
        fit_run("stopped")
    stopped, unstarved = fit_run("stopped"), fit_run("unstarved")
    files = [
        [run.layout.artefact(text.chain_id, "score", FITTED).read_bytes() for text in texts]
        for run in (whole, stopped, unstarved)
    ]
    assert files[1] == files[0]
    assert files[2][2:] != files[0][2:]  # of the chains that the second process measured
    assert (stopped.folder / "tokens.parquet").read_bytes() == (whole.folder / "tokens.parquet").read_bytes()
    fit = stopped.fit(FITTED)
    assert (len(fit.by_question), fit.n_chains, list(fit.left_out)) == (2, 3, [texts[1].chain_id])
    assert fit.left_out[texts[1].chain_id].startswith("there is too little memory")


def test_passes_of_another_length_do_not_change_the_heads_of_a_run(texts, fit_run, monkeypatch):
    run = fit_run("run")
    fit = run.layout.fit(FITTED)
    before, chosen = fit.read_bytes(), run.token_scores(texts[3].chain_id, FITTED).profile.queries
    run.layout.artefact(texts[3].chain_id, "score", FITTED).unlink()
    monkeypatch.setattr(recording, "_TOKEN_BUDGET", 64)
    again = fit_run("run")
    assert fit.read_bytes() == before
    assert again.token_scores(texts[3].chain_id, FITTED).profile.queries == chosen


def test_a_damaged_fit_is_named_with_the_remedy(texts, fit_run):
    run = fit_run("run")
    run.layout.artefact(texts[3].chain_id, "score", FITTED).unlink()
    fit = run.layout.fit(FITTED)
    fit.write_bytes(fit.read_bytes()[:-1])
    with pytest.raises(RunError, match=rf"{fit.name}: cannot be read \(.*\); restore it, or measure all chains in a new run"):
        fit_run("run")


def test_scores_whose_fit_is_lost_are_not_mixed_with_those_of_another(texts, fit_run):
    run = fit_run("run")
    run.layout.artefact(texts[3].chain_id, "score", FITTED).unlink()
    run.layout.fit(FITTED).unlink()
    with pytest.raises(RunError, match="is missing, but 3 chains have scores that were made with it; restore it, or measure"):
        fit_run("run")


def test_a_fit_comes_back_to_the_last_bit(tmp_path):
    rng = np.random.default_rng(0)
    fit = Fit({name: rng.random((2, 3)) for name in ("__metadata__", "é/..", "")}, 7, {"c": "too short"})
    write_fit(tmp_path / "fit", fit, origin={"plugin": "f"})
    found = read_fit(tmp_path / "fit", origin={"plugin": "f"}, run_folder=tmp_path)
    assert (list(found.by_question), found.n_chains, found.left_out) == (list(fit.by_question), 7, fit.left_out)
    for name, values in fit.by_question.items():
        assert found.by_question[name].tobytes() == values.tobytes()
    with pytest.raises(RunError, match="was made from another plugin than this run has"):
        read_fit(tmp_path / "fit", origin={"plugin": "g"}, run_folder=tmp_path)


def test_a_run_with_chains_in_pieces_says_what_that_changes(tiny, texts, tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "_TOKEN_BUDGET", 64)
    run = measure(texts[:1], out=tmp_path / "run", model=tiny, strategies=["random_tokens"], workers=1)
    assert run.manifest.checks["running_in_pieces_changes_logits_by"] < 1e-4  # float32 rounding, or none
    assert run.manifest.checks["recording_changes_logits_by"] == 0


def test_a_token_budget_is_an_option_of_a_run(tiny, texts, tmp_path):
    labels = [
        "answer_attention:token_budget=40",
        "end_of_thinking:token_budget=40",
        "receiver_heads:token_budget=40,proximity=1",
    ]
    scorers = [*labels, "answer_attention", "end_of_thinking", "receiver_heads:proximity=1"]
    lengths = []
    hook = tiny.model.register_forward_pre_hook(
        lambda module, args, kwargs: lengths.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    run = measure(texts, out=tmp_path / "run", model=tiny, scorers=scorers, strategies=[], workers=1)
    hook.remove()
    assert 40 in lengths
    assert max(lengths) > 40
    assert 0 < run.manifest.checks["running_in_pieces_changes_logits_by"] < 1e-5
    assert run.manifest.checks["recording_changes_logits_by"] == 0
    tokens = run.tokens()
    for label, whole in zip(labels, scorers[3:], strict=True):
        np.testing.assert_allclose(tokens[f"score_{label}"], tokens[f"score_{whole}"], atol=TOLERANCE)


def test_checks_of_an_earlier_process_stay_when_the_run_is_finished(tiny, texts, tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "_TOKEN_BUDGET", 64)
    run = measure(texts[:1], out=tmp_path / "run", model=tiny, strategies=["random_tokens"], workers=1)
    before = dict(run.manifest.checks)
    run.layout.artefact(texts[0].chain_id, "score", "answer_attention").unlink()
    run.layout.artefact(texts[0].chain_id, "path", "random_tokens").unlink()
    monkeypatch.setattr(recording, "_TOKEN_BUDGET", 4096)
    finished = measure(texts[:1], out=tmp_path / "run", model=tiny, strategies=["random_tokens"], workers=1)
    assert finished.manifest.checks.keys() == before.keys()


@pytest.mark.parametrize("broken_rows", [slice(1), slice(None)])  # of one head; of all heads of a layer
def test_an_attention_that_is_no_number_fails_its_scorers_and_no_other(tiny_model_folder, texts, tmp_path, broken_rows):
    broken = load_model(str(tiny_model_folder))
    chain = ChainEncoder(broken.tokenizer).encode(texts[0])
    with torch.no_grad():
        broken.model.model.layers[1].self_attn.k_proj.weight[broken_rows] = torch.nan
    plan = Plan.of(["answer_attention", "recency"], [])
    configuration = Configuration(
        model=None, encoding="ids", scorers={label: repr(scorer) for label, scorer in plan.scorers.items()}
    )
    with begin_run(tmp_path / "run", configuration, texts[:1]) as writer:
        ChainWork(writer, plan, broken).measure(chain, Missing(tuple(plan.scorers), ()))
    run = open_run(tmp_path / "run")
    reason = "the scores of answer_attention are not all finite numbers in float32; check the weights of the model"
    assert run.status().failed == {chain.chain_id: {"scorer answer_attention": reason}}
    assert run.token_scores(chain.chain_id, "recency") is not None
    assert run.token_scores(chain.chain_id, "answer_attention") is None


@pytest.mark.parametrize("key", ["answer_attention", "accumulated_attention"])
def test_a_sink_that_reaches_into_the_reasoning_is_refused(make_random_model, make_random_chain, key):
    loaded, chain = make_random_model("llama"), make_random_chain(4, 8, 2)
    assert (load("scorer", f"{key}:exclude_sink=4").score(chain, loaded=loaded).score > 0).all()
    with pytest.raises(UndefinedScoreError, match="exclude_sink=5 reaches into the reasoning: only 4 tokens are before it"):
        load("scorer", f"{key}:exclude_sink=5").score(chain, loaded=loaded)
