"""Strategies whose order is fixed beforehand, of steps and of tokens, against the model's own eager attention."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from benchmarks.attention_fidelity import eager_weights
from reasoning_anatomy import plugins
from reasoning_anatomy.errors import MeasurementError, PluginError, UndefinedScoreError
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import LoadedModel, load_model
from reasoning_anatomy.pipeline.measuring import measure
from reasoning_anatomy.pruning import CurveOptions, OrdersBeforehand, UsesScorer, kept_at
from reasoning_anatomy.pruning._steps import StepScoreOptions, steps_of
from reasoning_anatomy.pruning._threshold import kept_without, unit_ends
from reasoning_anatomy.pruning.h2o import H2o
from reasoning_anatomy.pruning.random_steps import RandomSteps
from reasoning_anatomy.pruning.step_budget import StepBudget
from reasoning_anatomy.pruning.step_percentile import StepPercentile
from reasoning_anatomy.pruning.streaming import Streaming
from reasoning_anatomy.pruning.traac import Traac
from reasoning_anatomy.pruning.traac_clean import TraacClean
from reasoning_anatomy.run.folder import open_run
from reasoning_anatomy.steps import CutsSteps, uniformity
from reasoning_anatomy.types import EncodedChain, FloatArray, PruningPath, ReasoningChain

TOLERANCE = 1e-6
THINK_CLEARLY = (
    "Time is up. Given the time I\N{RIGHT SINGLE QUOTATION MARK}ve spent and the approaches I\N{RIGHT SINGLE QUOTATION MARK}ve "
    "tried, I should stop thinking and now write summarization in one sentence."
)
TRAAC = "Time is up. I should stop thinking and now write a summary containing all key steps required to solve the problem."
REASONING = (
    "Okay, we add 17 and 25.\n\nFirst 17 + 20 = 37.\n\nx = 5\n\nSo 37 + 5 = 42.\n\nWait, is that right? Some say 32.\n\n"
    "Therefore the sum is 42."
)
ORDERED = [key for key in plugins.available("strategy") if issubclass(plugins.load_class("strategy", key), CurveOptions)]


@pytest.fixture(scope="module")
def tiny(tiny_model_folder) -> LoadedModel:
    return load_model(str(tiny_model_folder))


@pytest.fixture(scope="module")
def encoded(tiny) -> EncodedChain:
    chain = ReasoningChain(chain_id="sum", question_id="sum", question="17 + 25?", reasoning=REASONING, answer="42")
    return ChainEncoder(tiny.tokenizer).encode(chain)


def last_row(loaded: LoadedModel, ids: np.ndarray) -> FloatArray:
    """(T,) attention of the last token on every other, mean over layers and heads, by the model itself."""
    return eager_weights(loaded, ids)[:, :, -1].mean(axis=(0, 1), dtype=np.float64)


def after_probe(loaded: LoadedModel, before: np.ndarray | str, encoded: EncodedChain, probe: str) -> list[FloatArray]:
    """What </think> after a probe attends to: the tokens before the reasoning, its own, and those after it."""
    encoder = ChainEncoder(loaded.tokenizer)
    before = encoder.tag_ids(before) if isinstance(before, str) else before
    ids = np.concatenate([before, encoded.reasoning_ids, encoder.text_ids(probe), encoder.tag_ids("</think>")])
    return np.split(last_row(loaded, ids), [len(before), len(before) + encoded.n_reasoning])


def steps_in_order(path: PruningPath, step: np.ndarray) -> list[int]:
    """Steps in the order in which their last token goes."""
    return [int(step[path.deleted[end - 1]]) for end in unit_ends(path)]


def expect_steps(path: PruningPath, step: np.ndarray, importance: list[float], score: FloatArray) -> None:
    """Whole steps go by ascending importance, and in each of them tokens by ascending score."""
    assert steps_in_order(path, step) == np.argsort(importance).tolist()
    np.testing.assert_allclose(path.unit_score, np.sort(importance), atol=TOLERANCE)
    for tokens in np.split(path.deleted, unit_ends(path)[:-1]):
        assert sorted(tokens) == np.flatnonzero(step == step[tokens[0]]).tolist()
        assert (np.diff(score[tokens]) > -TOLERANCE).all()


@pytest.mark.parametrize(("how", "combine"), [("sum", np.sum), ("mean", np.mean)])
def test_percentile_scores_paragraphs_by_the_last_row(tiny, encoded, how, combine):
    start = len(encoded.prompt_ids)
    score = last_row(tiny, encoded.ids)[start : start + encoded.n_reasoning]
    step = steps_of("paragraphs:least_characters=10", encoded)
    assert step[-1] == 4  # x = 5 is too short, and belongs to the paragraph after it
    path = StepPercentile(how=how, curve_points=1).prune(encoded, loaded=tiny)
    importance = [combine(score[step == number]) for number in range(5)]
    expect_steps(path, step, importance, score)
    kept = kept_at(StepPercentile(how=how), path, 0.5)
    assert set(step[kept]) == set(np.flatnonzero(importance >= np.median(importance)))


def test_budget_scores_cue_words_by_the_end_of_thinking_after_the_published_probe(tiny, encoded):
    _, score, _ = after_probe(tiny, encoded.prompt_ids, encoded, THINK_CLEARLY)
    step = steps_of("cue_words", encoded)
    importance = [score[step == number].mean() for number in range(step[-1] + 1)]
    path = StepBudget(budget="steps", curve_points=1).prune(encoded, loaded=tiny)
    expect_steps(path, step, importance, score)
    by_tokens = StepBudget(curve_points=1).prune(encoded, loaded=tiny)
    assert by_tokens.deleted.tolist() == path.deleted.tolist()
    assert (by_tokens.unit, by_tokens.unit_score) == (None, None)


@pytest.mark.parametrize("threshold", [0.1, 0.35, 0.5, 0.8])
def test_budget_of_tokens_leaves_all_steps_whole_but_one(tiny, encoded, threshold):
    path, step = StepBudget().order(encoded, loaded=tiny), steps_of("cue_words", encoded)
    kept = kept_at(StepBudget(), path, threshold)
    assert len(kept) == encoded.n_reasoning - int(encoded.n_reasoning * threshold)
    cut = [number for number in set(step) if 0 < np.count_nonzero(step[kept] == number) < np.count_nonzero(step == number)]
    assert len(cut) <= 1


def test_traac_counts_the_tags_among_its_steps(tiny, encoded):
    chain = encoded.chain.model_copy(update={"reasoning": f"We\n{REASONING}"})
    later = ChainEncoder(tiny.tokenizer).encode(chain)
    for each, alone in ((encoded, True), (later, False)):
        before, score, after = after_probe(tiny, "<think>", each, TRAAC)
        raw = plugins.load("segmenter", "cue_words:match=surface").segment(each.chain, each.spans)
        assert (raw[0] > 0) == alone  # the reasoning begins with a cue word
        tokens = [list(score[raw == number]) for number in np.unique(raw)]
        tokens[-1] += list(after)
        if not alone:
            tokens[0] = [*before, *tokens[0]]
        path = Traac(curve_points=1).prune(each, loaded=tiny)
        expect_steps(path, np.unique(raw, return_inverse=True)[1], [np.mean(step) for step in tokens], score)
        np.testing.assert_allclose(path.other_score, [before.mean()] if alone else [], atol=TOLERANCE)


def test_traac_by_the_first_half_of_the_layers(tiny, encoded):
    spec = r"traac:scorer=end_of_thinking:question=false\,layers=first_half\,probe=Stop.,curve_points=1"
    strategy = plugins.load("strategy", spec)
    encoder = ChainEncoder(tiny.tokenizer)
    ids = np.concatenate([
        encoder.tag_ids("<think>"), encoded.reasoning_ids, encoder.text_ids("Stop."), encoder.tag_ids("</think>")
    ])  # fmt: skip
    first_layer = eager_weights(tiny, ids)[0, :, -1].mean(axis=0)
    path = strategy.order(encoded, loaded=tiny)
    np.testing.assert_allclose(path.other_score, first_layer[: len(encoder.tag_ids("<think>"))].mean(), atol=TOLERANCE)


def test_clean_traac_has_the_prompt_in_context_and_no_tags(tiny, encoded):
    _, score, _ = after_probe(tiny, encoded.prompt_ids, encoded, TRAAC)
    step = steps_of("cue_words", encoded)
    path = TraacClean(curve_points=1).prune(encoded, loaded=tiny)
    expect_steps(path, step, [score[step == number].mean() for number in range(step[-1] + 1)], score)
    assert path.other_score is None


def test_the_sink_opens_the_gate_of_traac_that_is_closed_without_it(smollm2):
    """The claim of docs/pruning.md, on one of its three texts."""
    lines = [
        "We have a rectangle with sides 8 and 15.",
        "First I compute the diagonal: 64 plus 225 is 289, so the diagonal is 17.",
        "Now the circle through all four corners has this diagonal as its diameter.",
        "So its radius is 8.5.",
        "Hmm, is that right? The centre of the rectangle is at equal distance from all corners.",
        "Wait, the question asks for the area of the circle, not the radius.",
        "Then the area is 72.25 times pi.",
        "Maybe I should check with numbers. 72.25 times 3.14 is about 226.9.",
        "The rectangle itself has area 120, which is less, so this makes sense.",
        "Therefore the area is 72.25 pi.",
    ]
    chain = ReasoningChain(chain_id="r", question_id="r", question="Solve it.", reasoning="\n".join(lines), answer="See above.")
    encoded = ChainEncoder(smollm2.tokenizer).encode(chain)
    paths = [strategy.order(encoded, loaded=smollm2) for strategy in (Traac(), TraacClean())]
    assert [round(uniformity(path.unit_score), 2) for path in paths] == [0.64, 0.96]


def test_a_tag_that_is_a_step_counts_but_is_not_deleted():
    """Scores .9 of the tag and .01 of nine steps: the worked example, whose best step holds no reasoning token."""
    k, scores = 9, np.full(9, 0.01)
    path = PruningPath(
        "Made()", k, np.arange(k), np.full(k, np.nan), 0, *np.full((3, k + 1), np.nan),
        unit=np.arange(k), unit_score=scores, other_score=np.array([0.9]),
    )  # fmt: skip
    assert [k - len(kept_at(Traac(), path, 0.6, pass_rate=rate)) for rate in (1, 0.5, 0)] == [4, 3, 1]
    low = dataclasses.replace(path, unit_score=np.array([*scores[:8], 0.9]), other_score=np.array([0.001]))
    assert [k - len(kept_at(Traac(), low, 0.6, pass_rate=rate)) for rate in (1, 0.5, 0)] == [3, 2, 0]  # the tag is the lowest


def test_a_scorer_without_tags_is_refused_for_traac():
    with pytest.raises(PluginError, match=r"strategy 'traac:scorer=recency': recency scores no tags; add tags=false"):
        Traac(scorer="recency")
    assert plugins.label(Traac(scorer="recency", tags=False)) == "traac:tags=False,scorer=recency"


@pytest.mark.parametrize("queries", ["reasoning", "answer", "both"])
@pytest.mark.parametrize("recent_share", [0.5, 0.2])
def test_h2o_keeps_heavy_hitters_and_recent_tokens_at_every_budget(tiny, encoded, queries, recent_share):
    p, n = len(encoded.prompt_ids), encoded.n_reasoning
    rows = {"reasoning": slice(p, p + n), "answer": slice(p + n, None), "both": slice(p, None)}[queries]
    sums = eager_weights(tiny, encoded.ids)[:, :, rows, p : p + n].sum(axis=2, dtype=np.float64).mean(axis=(0, 1))
    path = H2o(queries=queries, recent_share=recent_share, curve_points=1).prune(encoded, loaded=tiny)
    for budget in range(1, n):
        n_recent = math.ceil(round(budget * recent_share, 9))
        kept, older = kept_without(path, n - budget), sums[: n - n_recent]
        assert set(range(n - n_recent, n)) <= set(kept)
        heavy = kept[kept < n - n_recent]
        assert len(heavy) == budget - n_recent
        if len(heavy):
            assert older[heavy].min() >= np.sort(older)[-len(heavy)] - TOLERANCE


@pytest.mark.parametrize("n_sink", [0, 1, 4])
def test_streaming_keeps_its_sinks_and_recent_tokens_at_every_budget(tiny, encoded, n_sink):
    path, n = Streaming(n_sink=n_sink).order(encoded, loaded=tiny), encoded.n_reasoning
    for budget in range(1, n):
        sinks = list(range(min(n_sink, budget)))
        assert kept_without(path, n - budget).tolist() == [*sinks, *range(n - budget + len(sinks), n)]


def test_random_steps_go_whole_and_the_last_one_from_its_end(tiny, encoded):
    path, step = RandomSteps(steps="cue_words").order(encoded, loaded=tiny), steps_of("cue_words", encoded)
    order = steps_in_order(path, step)
    assert sorted(order) == list(range(step[-1] + 1))
    for n_deleted in range(encoded.n_reasoning):
        kept = step[kept_without(path, n_deleted)]
        whole = [number for number in order if np.count_nonzero(kept == number) == np.count_nonzero(step == number)]
        assert whole in (order[len(order) - len(whole) :], [])
        cut = [number for number in set(kept) if number not in whole]
        assert len(cut) <= 1
        for number in cut:
            begin = np.flatnonzero(step == number)[0]
            assert kept_without(path, n_deleted)[kept == number].tolist() == list(
                range(begin, begin + np.count_nonzero(kept == number))
            )


def test_every_order_of_steps_is_drawn(tiny, encoded):
    few = encoded.keep(np.flatnonzero(steps_of("paragraphs", encoded) < 3))
    step = steps_of("paragraphs", few)
    drawn = [
        tuple(steps_in_order(RandomSteps(seed=seed, steps="paragraphs").order(few, loaded=tiny), step)) for seed in range(60)
    ]
    assert set(drawn) == set(itertools.permutations(range(3)))  # each of the six is missing with probability 2e-5


@pytest.mark.parametrize("key", ORDERED)
def test_an_order_is_that_of_the_path_without_its_likelihood(tiny, encoded, key):
    strategy = plugins.load("strategy", key)
    if key == "category_matched":
        assert not isinstance(strategy, OrdersBeforehand)
        return
    assert isinstance(strategy, OrdersBeforehand)
    order = strategy.order(encoded, loaded=tiny)
    path = dataclasses.replace(strategy, curve_points=1).prune(encoded, loaded=tiny)
    assert order.deleted.tolist() == path.deleted.tolist()
    for name in ("unit", "unit_score", "other_score"):
        found, expected = getattr(order, name), getattr(path, name)
        assert found is expected is None or found.tolist() == expected.tolist()
    assert np.isnan([order.nll_answer, order.nll_joint, order.nll_reasoning]).all()
    assert order.token_forwards == 0


@pytest.mark.parametrize("key", ORDERED)
def test_a_strategy_says_by_which_scorer_and_segmenter_it_goes(key):
    strategy = plugins.load("strategy", key)
    is_by_step = hasattr(strategy, "steps")
    assert isinstance(strategy, CutsSteps) == is_by_step
    assert isinstance(strategy, UsesScorer) == (isinstance(strategy, StepScoreOptions) or key in ("h2o", "ascending_score"))


@pytest.mark.parametrize("points", [1, 3, 10, 100])
def test_points_of_a_curve_lie_at_the_ends_of_steps(tiny, encoded, points):
    each, grid = (RandomSteps(steps="paragraphs", curve_points=number).prune(encoded, loaded=tiny) for number in (0, points))
    ends, n = unit_ends(each).tolist(), encoded.n_reasoning
    expected = {min(end for end in ends if end >= n * point / points) for point in range(1, points + 1)}
    assert np.flatnonzero(np.isfinite(grid.nll_answer)).tolist() == [0, *sorted(expected)]
    assert np.flatnonzero(np.isfinite(each.nll_answer)).tolist() == [0, *ends]
    at = [0, *sorted(expected)]
    np.testing.assert_allclose(grid.nll_answer[at], each.nll_answer[at], atol=1e-5)


def test_a_default_curve_costs_at_most_eleven_passes(tiny, encoded):
    n_other, n = len(encoded.prompt_ids) + len(encoded.answer_ids), encoded.n_reasoning
    for strategy in (H2o(), RandomSteps(steps="paragraphs")):
        path = strategy.prune(encoded, loaded=tiny)
        assert path.token_forwards <= 11 * (n_other + n / 2) + len(encoded.answer_ids)


def test_scores_that_are_not_finite_stop_the_chain(tiny, encoded, monkeypatch):
    monkeypatch.setattr(
        "reasoning_anatomy.importance.end_of_thinking.mean_of_heads", lambda received: np.full(received.shape[2], np.nan)
    )
    for strategy in (StepBudget(), Traac()):
        with pytest.raises(MeasurementError, match=r"sum: the scores of end_of_thinking:.* are not all finite numbers"):
            strategy.prune(encoded, loaded=tiny)


def test_a_probe_that_does_not_fit_stops_the_chain(tiny, encoded):
    with pytest.raises(UndefinedScoreError, match="the probe of end_of_thinking does not fit"):
        StepBudget(scorer="end_of_thinking:probe=" + "stop " * 600).prune(encoded, loaded=tiny)


@pytest.mark.parametrize("key", ["step_percentile", "step_budget", "traac", "traac_clean", "random_steps"])
def test_unknown_plugins_are_refused_when_the_strategy_is_made(key):
    with pytest.raises(PluginError, match="unknown segmenter 'nope'; available: "):
        plugins.load("strategy", f"{key}:steps=nope")
    if key != "random_steps":
        with pytest.raises(PluginError, match="unknown scorer 'nope'; available: "):
            plugins.load("strategy", f"{key}:scorer=nope")


@pytest.mark.parametrize(
    "spec",
    [
        "traac_clean:difficulty=ignored",
        "h2o:recent_share=0.25",
        r"step_budget:scorer=end_of_thinking:probe=Stop\\, now.\,question=false",
    ],
)
def test_labels_are_read_back(spec):
    label = plugins.label(plugins.load("strategy", spec))
    assert plugins.label(plugins.load("strategy", label)) == label
    assert plugins.load("strategy", label) == plugins.load("strategy", spec)


def test_a_run_checks_the_recording_of_attention_for_strategies_too(tiny_model_folder, encoded, tmp_path):
    strategies = ["traac:curve_points=1", "random_steps:curve_points=1"]
    for label, folder in zip(strategies, ("by attention", "at random"), strict=True):
        measure([encoded.chain], out=tmp_path / folder, model=str(tiny_model_folder), scorers=["none"], strategies=[label])
        run = open_run(tmp_path / folder)
        assert ("recording_changes_logits_by" in run.manifest.checks) == (folder == "by attention")
    path = open_run(tmp_path / "by attention").path("sum", strategies[0])
    assert path.other_score.shape == (1,)
    assert len(path.unit_score) == path.unit[-1] + 1
