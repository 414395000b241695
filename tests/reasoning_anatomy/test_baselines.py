"""Baseline paths: what they delete, and their curves against full forward passes."""

import dataclasses
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from reasoning_anatomy import plugins
from reasoning_anatomy.errors import MeasurementError, PluginError
from reasoning_anatomy.likelihood.opening import open_likelihood
from reasoning_anatomy.models.attention_interface import installed
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import LoadedModel, load_model
from reasoning_anatomy.pipeline.measuring import measure
from reasoning_anatomy.pipeline.plan import Plan
from reasoning_anatomy.pruning import CurveOptions, FixedOrder, PruningJob
from reasoning_anatomy.pruning._steps import StepScoreOptions
from reasoning_anatomy.pruning.ascending_score import AscendingScore
from reasoning_anatomy.pruning.category_matched import CategoryMatched
from reasoning_anatomy.pruning.random_block import RandomBlock, _block_order
from reasoning_anatomy.pruning.random_tokens import RandomTokens
from reasoning_anatomy.pruning.truncation import Truncation
from reasoning_anatomy.types import EncodedChain, PruningPath, ReasoningChain

NATS = 1e-5  # float32 rounding of a mean nll
BLANK = "rules:model=blank"
BASELINES = [key for key in plugins.available("strategy") if issubclass(plugins.load_class("strategy", key), CurveOptions)]
WITH_KEEP_RATIO = [key for key in BASELINES if issubclass(plugins.load_class("strategy", key), FixedOrder)]
RANDOM = [key for key in BASELINES if hasattr(plugins.load("strategy", key), "seed")]


def made(key: str, **options: Any) -> CurveOptions:
    """Make a baseline that follows the reference of these tests, if it follows one, and needs no parser."""
    plugin_class = plugins.load_class("strategy", key)
    own = {"reference": "reference", "annotator": BLANK, "tags": False, "steps": "sentences"}
    if issubclass(plugin_class, StepScoreOptions):
        own["scorer"] = "recency"
    return plugin_class(**{name: own[name] for name in own if name in plugin_class.__dataclass_fields__}, **options)


OF_EACH_KIND = [*(made(key, curve_points=0) for key in BASELINES), AscendingScore(scorer="recency"), Truncation(end="head")]


def path_of(deleted: list[int], n: int) -> PruningPath:
    k = len(deleted)
    return PruningPath("Reference()", n, np.array(deleted), np.full(k, np.nan), 0, *np.zeros((3, k + 1)))


def job_with_reference(chain: EncodedChain, *, n_deletions: int | None = None, **options) -> PruningJob:
    """Job after a strategy that deleted from the end."""
    backwards = list(range(chain.n_reasoning))[::-1][:n_deletions]
    return PruningJob(paths={"reference": path_of(backwards, chain.n_reasoning)}, **options)


def brute_force_nll(loaded: LoadedModel, chain: EncodedChain, kept: list[int]) -> tuple[float, float, float]:
    """Nll of answer, of both and of kept reasoning, by one full forward pass without any cache."""
    ids = torch.from_numpy(np.concatenate([chain.prompt_ids, chain.reasoning_ids[kept], chain.answer_ids]))
    with torch.inference_mode():
        logp = loaded.model(input_ids=ids[None], use_cache=False).logits[0].float().log_softmax(-1)
    first = len(chain.prompt_ids)
    token_logp = logp[torch.arange(first - 1, len(ids) - 1), ids[first:]].double().numpy()
    reasoning = -token_logp[: len(kept)].mean() if kept else np.nan
    return -token_logp[len(kept) :].mean(), -token_logp.mean(), reasoning


def curves(path: PruningPath) -> np.ndarray:
    return np.stack([path.nll_answer, path.nll_joint, path.nll_reasoning], axis=1)


def between_steps(deleted: np.ndarray, step: np.ndarray) -> list[int]:
    """Numbers of deletions after which every step is whole or gone, by the step of each position."""
    size = np.bincount(step)
    left = [size - np.bincount(step[deleted[:k]], minlength=len(size)) for k in range(len(deleted) + 1)]
    return [k for k, n_left in enumerate(left) if np.all((n_left == 0) | (n_left == size))]


def renamed(chain: EncodedChain, chain_id: str) -> EncodedChain:
    return dataclasses.replace(chain, chain=chain.chain.model_copy(update={"chain_id": chain_id}))


@pytest.fixture(scope="module")
def tiny(tiny_model_folder):
    return load_model(str(tiny_model_folder))


PLANTED = '''
from dataclasses import dataclass

import numpy as np

from reasoning_anatomy.types import TokenScores


@dataclass(frozen=True, kw_only=True)
class Planted:
    """Says what it was told to say."""

    def score(self, chain, *, loaded):
        """Score the reasoning tokens of one chain."""
        return TokenScores(np.array({scores}, dtype=float))
'''


@pytest.fixture
def plant_scores(monkeypatch, tmp_path):
    """Make a scorer ``planted`` that gives these scores."""
    monkeypatch.setattr(plugins, "_folders", {})

    def plant(*scores: float) -> None:
        (tmp_path / "planted.py").write_text(PLANTED.format(scores=[str(score) for score in scores]))
        plugins.add_folder(tmp_path)

    return plant


@pytest.mark.parametrize("strategy", OF_EACH_KIND, ids=plugins.label)
@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_curves_are_those_of_full_forward_passes(make_random_model, make_random_chain, family, strategy):
    loaded, chain = make_random_model(family), make_random_chain(4, 9, 3)
    path = strategy.prune(chain, loaded=loaded, job=job_with_reference(chain))
    kept = list(range(9))
    expected = [brute_force_nll(loaded, chain, kept)]
    for position in path.deleted:
        kept.remove(position)
        expected.append(brute_force_nll(loaded, chain, kept))
    assert kept == []
    step = np.array([0] * 4 + [1] * 4 + [2]) if hasattr(strategy, "steps") else np.arange(9)
    evaluated = between_steps(path.deleted, step)
    np.testing.assert_allclose(curves(path)[evaluated], np.array(expected)[evaluated], atol=NATS)
    assert np.isnan(np.delete(curves(path), evaluated, axis=0)).all()
    assert np.isnan(path.margin).all()
    assert (path.strategy, path.n_ties, path.token_budget) == (repr(strategy), 0, 1024)


@pytest.mark.parametrize("curve_points", [1, 3, 5, 40])
@pytest.mark.parametrize("keep_ratio", [0.0, 0.35])
@pytest.mark.parametrize("family", ["llama", "gemma3_text"])
def test_grid_is_the_curve_of_every_deletion_at_its_points(
    make_random_model, make_random_chain, family, keep_ratio, curve_points
):
    loaded, chain = make_random_model(family), make_random_chain(4, 11, 3)
    each, grid = (
        RandomTokens(keep_ratio=keep_ratio, curve_points=points).prune(chain, loaded=loaded) for points in (0, curve_points)
    )
    assert grid.deleted.tolist() == each.deleted.tolist()
    k = len(each.deleted)
    at_grid = sorted({math.ceil(k * point / curve_points) for point in range(curve_points + 1)})
    assert {0, k} <= set(at_grid)
    np.testing.assert_allclose(curves(grid)[at_grid], curves(each)[at_grid], atol=NATS)
    assert np.isnan(np.delete(curves(grid), at_grid, axis=0)).all()
    assert np.isfinite(grid.nll_answer).sum() == min(curve_points, k) + 1


def test_grid_of_a_full_path_lies_at_the_keep_ratios_it_names(make_random_model, make_random_chain):
    path = Truncation(curve_points=4).prune(make_random_chain(2, 10, 1), loaded=make_random_model("llama"))
    assert np.flatnonzero(np.isfinite(path.nll_answer)).tolist() == [10 - int(10 * keep) for keep in (1, 0.75, 0.5, 0.25, 0)]


def test_between_grid_points_the_model_is_not_run(make_random_model, make_random_chain):
    loaded, chain = make_random_model("llama"), make_random_chain(4, 10, 3)
    path = Truncation(keep_ratio=0.5, curve_points=2).prune(chain, loaded=loaded)
    with installed(loaded.model):
        passes = [open_likelihood(loaded, chain.keep(np.arange(n))).token_forwards for n in (10, 7, 5)]
    assert path.token_forwards == sum(passes)


def test_token_budget_changes_no_number_but_in_the_last_digits(make_random_model, make_random_chain):
    loaded, chain = make_random_model("llama"), make_random_chain(4, 9, 3)
    for points in (0, 3):
        small, large = (
            RandomBlock(curve_points=points, token_budget=budget).prune(chain, loaded=loaded) for budget in (2, 512)
        )
        np.testing.assert_allclose(curves(small), curves(large), atol=NATS)


@pytest.mark.parametrize(("end", "joint", "answer"), [("head", 2.8577, 1.1052), ("tail", 7.3891, 20.0855)])
def test_perplexities_of_a_bigram_model_are_the_worked_ones(make_bigram_model, end, joint, answer):
    q, a, b, x = 3, 4, 5, 6
    loaded = make_bigram_model({(q, a): -1.0, (q, b): -2.0, (a, b): -0.5, (b, x): -0.1, (a, x): -3.0})
    text = ReasoningChain(chain_id="bigrams", question_id="q", question="?", reasoning="ab", answer="x")
    chain = EncodedChain(text, np.array([q]), np.array([a, b]), np.array([x]), np.array([[0, 1], [1, 2]]))
    path = Truncation(end=end).prune(chain, loaded=loaded)
    assert np.exp(path.nll_joint[0]) == pytest.approx(1.7046, abs=1e-3)
    assert np.exp(path.nll_joint[1]) == pytest.approx(joint, abs=1e-3)
    assert np.exp(path.nll_answer[1]) == pytest.approx(answer, abs=5e-3)


@pytest.mark.parametrize("key", WITH_KEEP_RATIO)
@pytest.mark.parametrize(("keep_ratio", "n_deleted"), [(0.0, 10), (0.45, 6), (0.5, 5), (1.0, 0)])
@pytest.mark.parametrize("curve_points", [0, 2])
def test_keep_ratio_leaves_its_share_of_tokens_rounded_down(
    make_random_model, make_random_chain, key, keep_ratio, n_deleted, curve_points
):
    strategy = made(key, keep_ratio=keep_ratio, curve_points=curve_points)
    chain, loaded = make_random_chain(3, 10, 2), make_random_model("llama")
    path, complete = (each.prune(chain, loaded=loaded) for each in (strategy, made(key, keep_ratio=0.0)))
    assert path.deleted.tolist() == complete.deleted[:n_deleted].tolist()
    assert np.isfinite(path.nll_answer[[0, -1]]).all()


@pytest.mark.parametrize("key", BASELINES)
@pytest.mark.parametrize(
    ("option", "value", "words"),
    [("keep_ratio", 1.1, "expected 0..1"), ("keep_ratio", math.nan, "expected 0..1"), ("curve_points", -1, "expected 0"),
     ("token_budget", 0, "expected 1 or more")],
)  # fmt: skip
def test_impossible_options_are_refused(key, option, value, words):
    if key in WITH_KEEP_RATIO or option != "keep_ratio":
        with pytest.raises(ValueError, match=rf"{option} is {value}, {words}"):
            made(key, **{option: value})


@pytest.mark.parametrize("curve_points", [0, 3])
@pytest.mark.parametrize("strategy", OF_EACH_KIND, ids=plugins.label)
def test_every_deletion_is_announced(make_random_model, make_random_chain, strategy, curve_points):
    calls, chain = [], make_random_chain(2, 6, 1)
    job = job_with_reference(chain, advance=lambda: calls.append(1))
    dataclasses.replace(strategy, curve_points=curve_points).prune(chain, loaded=make_random_model("llama"), job=job)
    assert len(calls) == 6


@pytest.mark.parametrize("strategy", OF_EACH_KIND, ids=plugins.label)
def test_a_single_token_can_be_deleted(make_random_model, make_random_chain, strategy):
    chain, loaded = make_random_chain(1, 1, 1), make_random_model("llama")
    path = strategy.prune(chain, loaded=loaded, job=job_with_reference(chain))
    assert path.deleted.tolist() == [0]
    assert path.nll_answer[1] == pytest.approx(brute_force_nll(loaded, chain, [])[0], abs=NATS)


@pytest.mark.parametrize("key", RANDOM)
def test_order_depends_on_seed_and_chain_alone(make_random_model, make_random_chain, key):
    loaded, chain = make_random_model("llama"), make_random_chain(1, 25, 1)

    def order(chain: EncodedChain, seed: int) -> list[int]:
        strategy = made(key, seed=seed, curve_points=1)
        return strategy.prune(chain, loaded=loaded, job=job_with_reference(chain)).deleted.tolist()

    first = order(chain, 0)
    other = order(renamed(chain, "other"), 0)
    assert order(chain, 0) == first
    assert first not in (order(chain, 1), other)


def test_strategies_and_scorers_of_one_seed_draw_apart(make_random_model, make_random_chain):
    loaded, chain = make_random_model("llama"), make_random_chain(1, 25, 1)
    by_score, by_token = (
        strategy(curve_points=1).prune(chain, loaded=loaded).deleted.tolist()
        for strategy in (lambda **options: AscendingScore(scorer="random", **options), RandomTokens)
    )
    assert by_score != by_token


def test_lowest_score_is_deleted_first_and_ties_go_to_the_lowest_position(make_random_model, make_random_chain, plant_scores):
    plant_scores(0.1, 2, 0.1, 0.5, 0.5, 0.1)
    chain, loaded = make_random_chain(2, 6, 1), make_random_model("llama")
    path = AscendingScore(scorer="planted").prune(chain, loaded=loaded)
    assert path.deleted.tolist() == [0, 2, 5, 3, 4, 1]
    assert path.n_ties == 3  # 0 before 2 before 5, and 3 before 4
    assert AscendingScore(scorer="planted", keep_ratio=0.8).prune(chain, loaded=loaded).n_ties == 2


@pytest.mark.parametrize(
    ("scores", "deleted"),
    [([0.1, 2, 0.1, 0.5], [0, 2, 3, 1]), ([1, 0] * 30, [*range(1, 60, 2), *range(0, 60, 2)])],
    ids=["worked", "long enough for a sort that is not stable"],
)
def test_tokens_of_equal_score_keep_their_order(make_random_model, make_random_chain, plant_scores, scores, deleted):
    plant_scores(*scores)
    chain = make_random_chain(2, len(scores), 1)
    path = AscendingScore(scorer="planted", curve_points=1).prune(chain, loaded=make_random_model("llama"))
    assert path.deleted.tolist() == deleted


def test_order_by_surprisal_is_the_worked_one(make_bigram_model):
    logp = {(3, 4): -0.1, (4, 5): -2.0, (5, 6): -0.1, (6, 7): -0.5, (7, 8): -1.0}
    text = ReasoningChain(chain_id="bigrams", question_id="q", question="?", reasoning="abcd", answer="x")
    spans = np.stack([np.arange(4), np.arange(1, 5)], axis=1)
    chain = EncodedChain(text, np.array([3]), np.array([4, 5, 6, 7]), np.array([8]), spans)
    deleted = AscendingScore().prune(chain, loaded=make_bigram_model(logp)).deleted.tolist()
    assert sorted(deleted[:2]) == [0, 2]  # equal by construction, but for rounding
    assert deleted[2:] == [3, 1]


def test_scores_that_are_not_finite_stop_the_chain(make_random_model, make_random_chain, plant_scores):
    plant_scores(0, math.nan, 1)
    with pytest.raises(MeasurementError, match="random: the scores of planted are not all finite numbers"):
        AscendingScore(scorer="planted").prune(make_random_chain(2, 3, 1), loaded=make_random_model("llama"))


def test_unknown_scorer_and_annotator_are_refused_when_the_strategy_is_made():
    with pytest.raises(PluginError, match=r"unknown scorer 'nope'; available: .*answer_attention, "):
        plugins.load("strategy", "ascending_score:scorer=nope")
    with pytest.raises(PluginError, match="unknown annotator 'nope'; available: "):
        plugins.load("strategy", "category_matched:annotator=nope")


@pytest.mark.parametrize("spec", ["ascending_score:scorer=random:seed=3,keep_ratio=0.5", "truncation:end=head"])
def test_labels_are_read_back(spec):
    assert plugins.label(plugins.load("strategy", spec)) == spec


def test_truncation_deletes_from_its_end(make_random_model, make_random_chain):
    chain, loaded = make_random_chain(2, 5, 1), make_random_model("llama")
    assert Truncation(end="head", keep_ratio=0.4).prune(chain, loaded=loaded).deleted.tolist() == [0, 1, 2]
    assert Truncation(end="tail", keep_ratio=0.4).prune(chain, loaded=loaded).deleted.tolist() == [4, 3, 2]
    assert Truncation().end == "tail"


PLACES = [0.0, 0.5, 1 / 3, 2 / 3, math.nextafter(0.5, 0), math.nextafter(2 / 3, 0), math.nextafter(1, 0)]


@pytest.mark.parametrize("n", [1, 2, 7, 300])
@pytest.mark.parametrize("place", PLACES)
def test_block_is_contiguous_at_every_length(place, n):
    order = _block_order(place, n)
    assert sorted(order) == list(range(n))
    for length in range(1, n + 1):
        block = order[:length]
        assert block.max() - block.min() == length - 1
        assert block.min() == pytest.approx(place * (n - length + 1), abs=1)


@pytest.mark.parametrize("n", [1, 2, 5, 7])
def test_every_start_of_a_block_is_as_frequent_as_every_other(n):
    m = math.lcm(*range(1, n + 1))  # a grid of places that every number of starts divides
    orders = [_block_order((i + 0.5) / m, n) for i in range(m)]
    for length in range(1, n + 1):
        starts = Counter(int(order[:length].min()) for order in orders)
        assert starts == {start: m // (n - length + 1) for start in range(n - length + 1)}


def test_block_of_a_chain_lies_where_its_seed_says(make_random_model, make_random_chain):
    chain, loaded = make_random_chain(1, 9, 1), make_random_model("llama")
    paths = [RandomBlock(seed=seed, keep_ratio=0.6, curve_points=1).prune(chain, loaded=loaded) for seed in range(40)]
    assert {int(path.deleted.min()) for path in paths} == set(range(9 - 4 + 1))


@pytest.mark.parametrize("reference", [RandomTokens(keep_ratio=0.25), Truncation(end="head")], ids=plugins.label)
def test_categories_deleted_match_those_of_the_reference_after_every_step(tiny, example_chains, reference):
    for text in example_chains[:3]:
        chain = ChainEncoder(tiny.tokenizer).encode(text)
        followed = dataclasses.replace(reference, curve_points=1).prune(chain, loaded=tiny)
        strategy = CategoryMatched(reference="theirs", annotator=BLANK, curve_points=1)
        path = strategy.prune(chain, loaded=tiny, job=PruningJob(paths={"theirs": followed}))
        annotation = plugins.load("annotator", BLANK).annotate(text.reasoning, chain.spans, question=text.question)
        category = np.array(annotation.category)
        assert len(set(category)) >= 4
        assert category[path.deleted].tolist() == category[followed.deleted].tolist()  # so all counts agree as well
        assert path.deleted.tolist() != followed.deleted.tolist()


def test_every_token_of_a_category_is_drawn(make_random_model, make_random_chain):
    chain, loaded = make_random_chain(1, 3, 1), make_random_model("llama")  # one word, hence one category
    job = job_with_reference(chain, n_deletions=1)
    strategies = [CategoryMatched(reference="reference", annotator=BLANK, seed=seed) for seed in range(40)]
    assert {int(strategy.prune(chain, loaded=loaded, job=job).deleted[0]) for strategy in strategies} == set(range(3))


def test_a_reference_that_was_not_measured_is_an_error_with_its_remedy(make_random_model, make_random_chain):
    message = "follows 'greedy', which is not measured before it; list it first: --strategies greedy category_matched"
    with pytest.raises(PluginError, match=message):
        CategoryMatched().prune(make_random_chain(2, 3, 1), loaded=make_random_model("llama"))
    for strategies in (["category_matched"], ["category_matched", "greedy"]):
        with pytest.raises(PluginError, match=message):
            Plan.of(["recency"], strategies)
    assert list(Plan.of(["recency"], ["greedy", "category_matched"]).strategies) == ["greedy", "category_matched"]


def test_a_run_holds_baselines_beside_the_path_that_they_are_held_against(tiny, example_chains, tmp_path):
    greedy = "greedy:keep_ratio=0.9"
    specs = [
        greedy, "ascending_score:keep_ratio=0.9", "random_tokens:keep_ratio=0.9", "random_block:keep_ratio=0.9,curve_points=2",
        "truncation:keep_ratio=0.9,curve_points=1", f"category_matched:reference={greedy},annotator={BLANK}",
    ]  # fmt: skip
    run = measure(example_chains[:3], out=tmp_path / "run", model=tiny, scorers=["recency", "random"], strategies=specs)
    labels = [plugins.label(plugins.load("strategy", spec)) for spec in specs]
    assert list(run.manifest.configuration.strategies) == labels
    tokens, paths = run.tokens(), run.paths()
    for chain_id, rows in tokens.groupby("chain_id"):
        n_deleted = {int(rows[f"deletion_step_{label}"].notna().sum()) for label in labels}
        assert n_deleted == {len(rows) - int(len(rows) * 0.9)}
        curves = paths[paths["chain_id"] == chain_id].pivot_table(
            index="deletion_step", columns="strategy", values="nll_answer"
        )
        np.testing.assert_allclose(curves.loc[0], curves.loc[0].mean(), atol=NATS)
        assert curves.notna().sum()[labels].tolist() == [len(curves)] * 3 + [3, 2] + [len(curves)]
    written = {path.name: path.read_bytes() for path in run.folder.glob("*.parquet")}
    measure(example_chains[:3], out=tmp_path / "run", model=tiny, scorers=["recency", "random"], strategies=specs)
    assert {path.name: path.read_bytes() for path in run.folder.glob("*.parquet")} == written
