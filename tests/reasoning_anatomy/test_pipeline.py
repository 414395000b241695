"""From a file of chains to a run folder: the same whatever happens in between."""

import copy
import dataclasses
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from reasoning_anatomy.chains import write_chains
from reasoning_anatomy.cli._app import named_scorers
from reasoning_anatomy.errors import ChainFileError, EncodingError, ModelError, PluginError, RunError
from reasoning_anatomy.models.encoding import ChainEncoder, EncodingOptions
from reasoning_anatomy.models.loading import LoadedModel, load_model
from reasoning_anatomy.pipeline.measuring import measure
from reasoning_anatomy.plugins import load, load_class
from reasoning_anatomy.progress import Stages
from reasoning_anatomy.pruning.greedy import Greedy
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.manifest import write_manifest

NO_RECORD = (
    "surprisal", "token_entropy", "conditional_surprisal", "gradient_x_input", "key_norm", "key_diff", "expected_attention",
    "recency", "sink_recency", "random",
)  # fmt: skip
GREEDY = "greedy:keep_ratio=0.8"  # a fifth of the deletions show what all would
JOINT = "greedy:objective=joint,keep_ratio=0.8"
RESULTS = ("chains.jsonl", "tokens.parquet", "paths.parquet", "chains/**/*.safetensors")


def digests(folder: Path) -> dict[str, str]:
    """Digest of every file that holds results; run.json also holds times."""
    paths = [path for pattern in RESULTS for path in folder.glob(pattern)]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.fixture(scope="module")
def tiny(tiny_model_folder):
    return load_model(str(tiny_model_folder))


@pytest.fixture(scope="module")
def finished(tiny, example_chains, tmp_path_factory):
    """Six chains measured without interruption."""
    return measure(example_chains[:6], out=tmp_path_factory.mktemp("runs") / "finished", model=tiny, strategies=[GREEDY])


def test_run_holds_what_measuring_each_chain_alone_gives(finished, tiny, example_chains):
    tokens = finished.tokens()
    chain = ChainEncoder(tiny.tokenizer).encode(example_chains[2])
    path = Greedy(keep_ratio=0.8).prune(chain, loaded=tiny)
    rows = tokens[tokens["chain_id"] == example_chains[2].chain_id]
    np.testing.assert_array_equal(rows[f"deletion_step_{GREEDY}"].astype(float), path.deletion_step)
    assert rows["token_id"].tolist() == chain.reasoning_ids.tolist()
    curve = finished.paths().query("chain_id == @chain.chain_id")["nll_answer"]
    np.testing.assert_allclose(curve, path.nll_answer, atol=1e-6)  # threads differ in the last digits
    assert "".join(rows["text"]) == example_chains[2].reasoning


@pytest.mark.parametrize("family", ["gemma2", "mamba"])
def test_models_that_cannot_be_recorded_can_be_pruned(make_random_model, tokenizer, example_chains, tmp_path, family):
    model = copy.deepcopy(make_random_model(family).model)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    run = measure(
        example_chains[:1], out=tmp_path / "run", model=LoadedModel(model, tokenizer, family), scorers=["surprisal"],
        strategies=["greedy:keep_ratio=0.95"],
    )  # fmt: skip
    assert (run.status().n_done, run.status().failed) == (1, {})
    assert ("prefix_sharing_changes_nll_by" in run.manifest.checks) == (family == "gemma2")


def test_a_model_that_passes_more_than_attention_is_pruned_by_whole_passes(
    make_random_model, tokenizer, example_chains, tmp_path
):
    model = copy.deepcopy(make_random_model("llama").model)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.model.layers[0].self_attn.register_forward_hook(
        lambda _module, _args, output: (output[0] + output[0].cumsum(dim=1), output[1])  # as a recurrent layer would
    )
    loaded = LoadedModel(model, tokenizer, "mixed")
    strategy = "greedy:keep_ratio=0.95"
    with pytest.warns(UserWarning, match="Chains are pruned by whole forward passes instead"):
        run = measure(
            example_chains[:1], out=tmp_path / "run", model=loaded, scorers=["answer_attention"], strategies=[strategy]
        )
    assert run.manifest.checks["prefix_sharing_would_change_nll_by"] > 1e-3
    assert run.manifest.checks["recording_changes_logits_by"] == 0
    chain = ChainEncoder(tokenizer).encode(example_chains[0])
    expected = Greedy(keep_ratio=0.95).prune(chain, loaded=dataclasses.replace(loaded, may_share=False))
    path = run.measurement(chain.chain_id).paths[strategy]
    assert path.deleted.tolist() == expected.deleted.tolist()
    np.testing.assert_allclose(path.nll_answer, expected.nll_answer, atol=1e-6)


@pytest.mark.parametrize("family", ["qwen3", "gemma2"])
def test_scorers_say_in_a_run_what_they_say_alone(make_random_model, tokenizer, example_chains, tmp_path, family):
    model = copy.deepcopy(make_random_model(family).model)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    loaded = LoadedModel(model, tokenizer, family)
    keys = [key for key in NO_RECORD if family == "qwen3" or key != "conditional_surprisal"]
    run = measure(
        example_chains[:2], out=tmp_path / "run", model=loaded, scorers=keys, strategies=["random_tokens:curve_points=1"]
    )
    assert (run.status().n_done, run.status().failed) == (2, {})
    tokens = run.tokens()
    for text in example_chains[:2]:
        chain = ChainEncoder(tokenizer).encode(text)
        rows, measurement = tokens[tokens["chain_id"] == chain.chain_id], run.measurement(chain.chain_id)
        for key in keys:
            alone = load("scorer", key).score(chain, loaded=loaded)
            np.testing.assert_allclose(rows[f"score_{key}"], alone.score, atol=1e-3)
            assert (key in measurement.profiles) == (alone.profile is not None)


def test_manifest_counts_and_says_what_was_run(finished, tiny):
    manifest, status = finished.manifest, finished.status()
    assert (status.n_chains, status.n_done, status.n_left) == (6, 6, 0)
    assert manifest.configuration.model.weights == tiny.weights_digest()
    assert manifest.configuration.strategies == {GREEDY: repr(Greedy(keep_ratio=0.8))}
    assert manifest.checks["recording_changes_logits_by"] <= 1e-6
    assert manifest.checks["prefix_sharing_changes_nll_by"] <= 1e-4
    assert {"encode", "score", "prune"} <= manifest.seconds.keys()


def test_second_run_changes_nothing(finished, tiny, example_chains):
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in finished.folder.rglob("*") if path.is_file()}
    measure(example_chains[:6], out=finished.folder, model=tiny, strategies=[GREEDY])
    after = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in finished.folder.rglob("*") if path.is_file()}
    assert {path: content for path, (content, _) in after.items()} == {path: content for path, (content, _) in before.items()}
    kept = [path for path in before if path.name != ".lease"]
    assert all(after[path] == before[path] for path in kept)


def test_number_of_workers_changes_no_order(finished, tiny, example_chains, tmp_path):
    alone = measure(example_chains[:6], out=tmp_path / "run", model=tiny, strategies=[GREEDY], workers=1)
    assert alone.tokens()[f"deletion_step_{GREEDY}"].equals(finished.tokens()[f"deletion_step_{GREEDY}"])


def test_missing_chain_and_tables_are_measured_again(finished, tiny, example_chains, tmp_path):
    run = measure(example_chains[:6], out=tmp_path / "run", model=tiny, strategies=[GREEDY])
    whole = digests(run.folder)
    run.layout.artefact(example_chains[3].chain_id, "path", GREEDY).unlink()
    run.layout.artefact(example_chains[4].chain_id, "score", "answer_attention").unlink()
    (run.folder / "tokens.parquet").unlink()
    measure(example_chains[:6], out=run.folder, model=tiny, strategies=[GREEDY])
    assert digests(run.folder) == whole == digests(finished.folder)


def test_another_encoding_is_refused_and_named(finished, tiny, example_chains):
    before = digests(finished.folder)
    with pytest.raises(
        RunError, match=r"was measured with other options \(.*; encoding: .* in the run, .* now\); use the same"
    ):
        measure(
            example_chains[:6],
            out=finished.folder,
            model=tiny,
            strategies=[GREEDY],
            encoding=EncodingOptions(before_answer=" "),
        )
    assert digests(finished.folder) == before


def test_the_layers_of_a_hybrid_that_attend_are_named_and_analysed(make_random_model, tokenizer, example_chains, tmp_path):
    config = copy.deepcopy(make_random_model("lfm2").model.config)
    config.vocab_size, config.max_position_embeddings = len(tokenizer), 1024
    torch.manual_seed(0)
    hybrid = LoadedModel(AutoModelForCausalLM.from_config(config).eval(), tokenizer, "hybrid")
    short = sorted(example_chains, key=lambda chain: len(chain.reasoning))[:3]
    with pytest.warns(UserWarning, match=r"hybrid: only layer 1 of 0\.\.2 can be recorded; the others"):
        run = measure(short, out=tmp_path / "run", model=hybrid, strategies=["random_tokens"])
    assert run.manifest.checks["recorded_weights_differ_from_eager_by"] < 1e-5
    profile = run.token_scores(short[0].chain_id, "answer_attention").profile
    assert profile.attending_layers.tolist() == [1]
    result = load("analysis", "rank_correlation:draws=200").analyse(run)
    assert not {"constant_head", "constant_layer"} & result.exclusions.keys()
    heads = result.details["per_head"]
    assert heads.groupby("layer")["estimate"].count().tolist() == [0, 4 * heads["term"].nunique(), 0]


@pytest.mark.parametrize("strategies", [["none"], []])
def test_attention_is_measured_without_pruning(tiny, example_chains, tmp_path, strategies):
    folder = tmp_path / "run"
    run = measure(example_chains[:2], out=folder, model=tiny, strategies=strategies)
    status = run.status()
    assert (status.n_done, status.left, status.failed) == (2, {}, {})
    assert run.tokens()["score_answer_attention"].notna().all()
    with pytest.raises(RunError, match=r"add one: reasoning-anatomy run .* --strategies KEY"):
        load("analysis", "rank_correlation").analyse(run)
    later = measure(example_chains[:2], out=folder, model=tiny, strategies=[GREEDY])
    assert later.status().n_done == 2


def test_paths_are_measured_without_scores(tiny, example_chains, tmp_path):
    run = measure(example_chains[:1], out=tmp_path / "run", model=tiny, scorers=["none"], strategies=[GREEDY])
    assert list(run.manifest.configuration.scorers) == []
    assert run.path(example_chains[0].chain_id, "greedy:keep_ratio=0.8") is not None


@pytest.mark.parametrize("nothing", [[], ["none"]])
def test_without_scorers_and_strategies_chains_are_only_encoded(tiny, example_chains, tmp_path, nothing):
    run = measure(example_chains[:1], out=tmp_path / "run", model=tiny, scorers=nothing, strategies=nothing)
    assert run.encoded(example_chains[0].chain_id).n_reasoning == len(run.tokens())


def test_the_command_refuses_to_measure_nothing(call, tmp_path):
    chains = tmp_path / "chains.jsonl"
    chains.write_text("")
    done = call("run", chains, "--out", tmp_path / "run", "--scorers", "none", "--strategies", "none")
    assert (done.code, done.err) == (2, "error: there is nothing to measure: name a scorer or a strategy\n")


DATED = "{{ strftime_now('%Y-%m-%d') }} {{ messages[0].content }}{% if messages[1:] %}{{ messages[1].content }}</s>{% endif %}"


@pytest.fixture
def tiny_with_a_date(tiny_model_folder):
    loaded = load_model(str(tiny_model_folder))
    loaded.tokenizer.chat_template = DATED
    return loaded


def test_a_run_over_midnight_keeps_the_day_on_which_it_was_begun(tiny_with_a_date, example_chains, tmp_path, caplog):
    options = {"out": tmp_path / "run", "model": tiny_with_a_date, "scorers": ["recency"], "strategies": [GREEDY]}
    begun = measure(example_chains[:1], **options, encoding=EncodingOptions(date="2025-01-31"))
    finished = measure(example_chains[:2], **options)
    assert "date='2025-01-31'" in finished.manifest.configuration.encoding
    assert begun.manifest.configuration.encoding == finished.manifest.configuration.encoding
    for chain in example_chains[:2]:
        ids = finished.encoded(chain.chain_id).prompt_ids
        assert tiny_with_a_date.tokenizer.decode(ids).startswith("2025-01-31 ")
    with pytest.raises(RunError, match=r"2025-01-31.* in the run, .*2026-01-01.* now"):
        measure(example_chains[:2], **options, encoding=EncodingOptions(date="2026-01-01"))


def test_the_joints_are_said_before_anything_is_measured(tiny, example_chains, tmp_path):
    class Heard(Stages):
        def __init__(self) -> None:
            super().__init__()
            self.heard: list[str] = []

        def say(self, text: str) -> None:
            assert not self.seconds.get("score")
            self.heard.append(text)

    stages = Heard()
    measure(example_chains[:1], out=tmp_path / "run", model=tiny, scorers=["recency"], strategies=[GREEDY], stages=stages)
    assert "stands between reasoning and answer" in stages.heard[0]


def test_other_weights_are_refused_and_named(finished, tiny_model_folder, example_chains):
    other = load_model(str(tiny_model_folder))
    with torch.no_grad():
        other.model.lm_head.weight.mul_(2)
    with pytest.raises(RunError, match=r"model\.weights: "):
        measure(example_chains[:6], out=finished.folder, model=other, strategies=[GREEDY])


def test_the_same_weights_under_another_name_go_on_with_the_run(finished, tiny, example_chains):
    before = digests(finished.folder)
    elsewhere = dataclasses.replace(tiny, id="/scratch/of/another/machine")
    measure(example_chains[:6], out=finished.folder, model=elsewhere, strategies=[GREEDY])
    assert digests(finished.folder) == before
    assert finished.manifest.configuration.model.id == tiny.id


@pytest.mark.parametrize(
    ("field", "value"), [("reasoning", "Other words."), ("question_id", "other"), ("system_prompt", "Be brief.")]
)
def test_a_chain_id_that_means_another_chain_is_refused(finished, tiny, example_chains, field, value):
    before = digests(finished.folder)
    other = example_chains[0].model_copy(update={field: value})
    with pytest.raises(RunError, match=rf"chain '{other.chain_id}' has another '{field}' in the run \(.*\) than now \("):
        measure([other], out=finished.folder, model=tiny, strategies=[GREEDY])
    assert digests(finished.folder) == before


def test_what_is_known_later_of_a_chain_is_taken_over_and_nothing_is_measured(grown, tiny, example_chains):
    before = digests(grown.folder)
    chain = example_chains[0].model_copy(update={"gold_answer": "42", "is_correct": False, "source": {"checked_by": "mara"}})
    run = measure([chain], out=grown.folder, model=tiny, strategies=[GREEDY])
    known = run.chains[chain.chain_id]
    assert (known.gold_answer, known.is_correct) == ("42", False)
    assert known.source == {**example_chains[0].source, "checked_by": "mara"}
    assert {name: digest for name, digest in digests(run.folder).items() if name != "chains.jsonl"} == {
        name: digest for name, digest in before.items() if name != "chains.jsonl"
    }
    again = measure([chain.model_copy(update={"gold_answer": None})], out=grown.folder, model=tiny, strategies=[GREEDY])
    assert again.chains[chain.chain_id].gold_answer == "42"  # nothing is forgotten


def tokens_run(model) -> tuple[list[int], list]:
    """Count the tokens of every forward pass of a model from now on."""
    counts = []

    def count(_module, _args, options) -> None:
        counts.append(options["input_ids"].numel())

    return counts, model.register_forward_pre_hook(count, with_kwargs=True)


@pytest.fixture
def grown(finished, tmp_path):
    """A copy of the finished run, to add to."""
    return Run(shutil.copytree(finished.folder, tmp_path / "grown"))


RANDOM = "random_tokens:curve_points=2"


def test_adding_a_strategy_runs_nothing_for_those_that_are_there(grown, tiny, example_chains):
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in grown.folder.glob("chains/**/*.safetensors")}
    greedy_cost = sum(grown.path(chain_id, GREEDY).token_forwards for chain_id in grown.measured)
    counts, hook = tokens_run(tiny.model)
    run = measure(example_chains[:6], out=grown.folder, model=tiny, strategies=[GREEDY, RANDOM], workers=1)
    hook.remove()
    added = sum(run.path(chain_id, RANDOM).token_forwards for chain_id in run.measured)
    n_check = len(ChainEncoder(tiny.tokenizer).encode(example_chains[0]).ids)
    check = n_check + (n_check - 1)  # of prefix sharing: the first chain whole, and in two pieces without its last token
    assert sum(counts) == added + check
    assert sum(counts) < greedy_cost / 2
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before
    assert list(run.manifest.configuration.strategies) == [GREEDY, RANDOM]
    assert run.tokens()[[f"deletion_step_{GREEDY}", f"deletion_step_{RANDOM}"]].notna().any().all()


def test_adding_segmenters_runs_nothing_and_the_tables_have_their_steps(grown, tiny, example_chains):
    counts, hook = tokens_run(tiny.model)
    segmenters = ["paragraphs:least_characters=10", "cue_words"]
    run = measure(example_chains[:6], out=grown.folder, model=tiny, strategies=[GREEDY], segmenters=segmenters)
    hook.remove()
    assert counts == []
    assert list(run.manifest.configuration.segmenters) == ["sentences", *segmenters]
    for label in run.manifest.configuration.segmenters:
        assert run.tokens()[f"step_{label}"].notna().all()
    assert len(run.steps("cue_words")) < len(run.steps())


def test_the_steps_by_which_a_scorer_or_strategy_cuts_are_in_the_tables(tiny, example_chains, tmp_path):
    scorers = ["receiver_heads:heads=0.1,steps=thought_anchors", "random"]
    options = {"scorers": scorers, "strategies": ["none"], "model": tiny}
    run = measure(example_chains[:1], out=tmp_path / "run", segmenters=["none"], **options)
    assert dict(run.manifest.configuration.segmenters) == {"thought_anchors": "ThoughtAnchors(version=1)"}
    assert "step_thought_anchors" in run.tokens()


def test_a_segmenter_that_crashes_is_named_before_anything_is_measured(tiny, example_chains, tmp_path, monkeypatch):
    monkeypatch.setattr(load_class("segmenter", "paragraphs"), "segment", lambda *_: 1 / 0)
    with pytest.raises(PluginError, match=r"^segmenter 'paragraphs' fails on chain '.*' \(ZeroDivisionError: "):
        measure(example_chains[:1], out=tmp_path / "run", model=tiny, segmenters=["paragraphs"])
    assert not (tmp_path / "run").exists()


def test_a_run_that_grew_holds_what_a_run_at_once_holds(tiny, example_chains, tmp_path):
    options = {"model": tiny, "workers": 1}
    scorers, strategies = ["answer_attention", "surprisal"], [GREEDY, RANDOM]
    at_once = measure(example_chains[:5], out=tmp_path / "once", scorers=scorers, strategies=strategies, **options)
    small = measure(example_chains[:2], out=tmp_path / "small", scorers=["answer_attention"], strategies=[GREEDY], **options)
    measure(example_chains[:2], out=small.folder, scorers=scorers, strategies=[RANDOM], **options)
    assert small.status().n_done == 2
    measure(example_chains[2:5], out=small.folder, scorers=scorers[::-1], strategies=strategies[::-1], **options)
    assert digests(small.folder) == digests(at_once.folder)


def test_added_chains_leave_the_others_alone_and_what_they_lack_is_counted(grown, tiny, example_chains):
    before = digests(grown.folder)
    run = measure([example_chains[7]], out=grown.folder, model=tiny, scorers=[], strategies=[RANDOM])
    assert {name: digest for name, digest in digests(grown.folder).items() if name in before and "/" in name} == {
        name: digest for name, digest in before.items() if "/" in name
    }
    assert list(run.chains) == [chain.chain_id for chain in [*example_chains[:6], example_chains[7]]]
    status = run.status()
    assert (status.n_chains, status.n_done, status.n_left) == (7, 0, 7)
    assert status.left == {"scorer answer_attention": 1, f"strategy {GREEDY}": 1, f"strategy {RANDOM}": 6}
    rows = run.tokens().query("chain_id == @example_chains[7].chain_id")
    assert rows["score_answer_attention"].isna().all()
    assert set(run.paths().query("chain_id == @example_chains[7].chain_id")["strategy"]) == {RANDOM}


def test_a_label_never_changes_its_meaning(grown, tiny, example_chains):
    manifest = grown.manifest
    other = manifest.configuration.strategies[GREEDY].replace("tie_tolerance=1e-05", "tie_tolerance=0.5")
    changed = manifest.configuration.model_copy(update={"strategies": {GREEDY: other}})
    write_manifest(grown.folder, manifest.model_copy(update={"configuration": changed}))
    with pytest.raises(RunError, match=rf"\(strategy '{GREEDY}', tie_tolerance: '0\.5' in the run, '1e-05' now\)"):
        measure(example_chains[:6], out=grown.folder, model=tiny, strategies=[GREEDY])


def test_a_strategy_may_follow_one_that_was_measured_before(grown, tiny, example_chains):
    follower = f"category_matched:reference={GREEDY}".replace(",", r"\,")
    run = measure(example_chains[:6], out=grown.folder, model=tiny, strategies=[follower])
    for chain_id in run.measured:
        assert len(run.path(chain_id, follower).deleted) == len(run.path(chain_id, GREEDY).deleted)
    path = run.layout.artefact(example_chains[0].chain_id, "path", GREEDY)
    path.write_bytes(run.layout.artefact(example_chains[1].chain_id, "path", GREEDY).read_bytes())
    with pytest.raises(RunError, match=r"was made from another chains/.* than this run has; delete the file and measure it"):
        run.path(example_chains[0].chain_id, follower)


def test_a_chain_without_the_path_to_follow_fails_alone(grown, tiny, example_chains):
    follower = f"category_matched:reference={GREEDY}".replace(",", r"\,")
    run = measure(example_chains[5:7], out=grown.folder, model=tiny, scorers=[], strategies=[follower])
    new = example_chains[6].chain_id
    assert run.status().failed == {new: {f"strategy {follower}": f"has no path of {GREEDY}, which {follower} follows"}}
    assert run.path(example_chains[5].chain_id, follower) is not None


def test_folder_with_other_files_is_refused(tiny, example_chains, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RunError, match=r"thesis\.tex"):
        measure(example_chains[:1], out=tmp_path, model=tiny)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(("stage", "label"), [("path", GREEDY), ("score", "answer_attention")])
def test_damaged_file_of_a_chain_is_named_with_the_remedy(tiny, example_chains, tmp_path, stage, label):
    run = measure(example_chains[:1], out=tmp_path / "run", model=tiny, strategies=[GREEDY])
    whole = digests(run.folder)
    path = run.layout.artefact(example_chains[0].chain_id, stage, label)
    path.write_bytes(path.read_bytes()[:100])
    (run.folder / "tokens.parquet").unlink()
    with pytest.raises(RunError, match=rf"{path.name}: cannot be read .* delete the file"):
        measure(example_chains[:1], out=run.folder, model=tiny, strategies=[GREEDY])
    path.unlink()
    measure(example_chains[:1], out=run.folder, model=tiny, strategies=[GREEDY])
    assert digests(run.folder) == whole


def test_chain_that_cannot_be_measured_is_counted_and_the_others_go_on(tiny_model_folder, example_chains, tmp_path):
    loaded = load_model(str(tiny_model_folder))
    encoder = ChainEncoder(loaded.tokenizer)
    tokens = [set(encoder.encode(chain).reasoning_ids.tolist()) for chain in example_chains[:4]]
    only_in_first = min(tokens[0] - set.union(*tokens[1:]))
    with torch.no_grad():
        loaded.model.model.embed_tokens.weight[only_in_first] = torch.nan
    run = measure(example_chains[:4], out=tmp_path / "run", model=loaded, strategies=[GREEDY])
    failed, status = example_chains[0].chain_id, run.status()
    assert list(status.failed) == [failed]
    reason = "the scores of answer_attention are not all finite numbers in float32; check the weights of the model"
    assert status.failed[failed]["scorer answer_attention"] == reason
    assert "not" in status.failed[failed][f"strategy {GREEDY}"]
    assert (status.n_done, status.n_left) == (3, 0)
    assert failed not in set(run.tokens()["chain_id"])
    assert failed not in run.measured


def test_what_failed_is_tried_again_and_its_reason_goes(grown, tiny, example_chains):
    chain_id = example_chains[2].chain_id
    reason = grown.layout.failure(chain_id, "path", GREEDY)
    path = grown.layout.artefact(chain_id, "path", GREEDY)
    before = path.read_bytes()
    path.unlink()
    reason.parent.mkdir(parents=True)
    reason.write_text('{"reason": "no luck"}')
    assert grown.status().failed == {chain_id: {f"strategy {GREEDY}": "no luck"}}
    run = measure(example_chains[:6], out=grown.folder, model=tiny, strategies=[GREEDY])
    assert (run.status().failed, reason.exists(), path.read_bytes()) == ({}, False, before)


@pytest.fixture
def with_tiny_chain(tiny_model_folder, example_chains):
    """A model without a chat template, and a chain whose prompt and reasoning have 4 tokens at most beside a usual one."""
    loaded = load_model(str(tiny_model_folder))
    loaded.tokenizer.chat_template = None
    tiny_chain = example_chains[0].model_copy(
        update={"chain_id": "tiny", "question_id": "tiny", "question": "2?", "reasoning": "2", "answer": "2"}
    )
    encoded = ChainEncoder(loaded.tokenizer).encode(tiny_chain)
    assert len(encoded.prompt_ids) + encoded.n_reasoning <= 4
    return loaded, [tiny_chain, example_chains[1]]


def test_a_scorer_without_a_value_for_a_chain_takes_nothing_else_from_it(with_tiny_chain, tmp_path):
    loaded, texts = with_tiny_chain
    scorers = named_scorers(("all",))
    options = {"out": tmp_path / "run", "model": loaded, "scorers": scorers, "strategies": ["random_tokens"], "workers": 1}
    run = measure(texts, **options)
    reason = "prompt and reasoning have 4 tokens, expected_attention needs more than 4"
    assert (run.status().n_done, run.status().failed) == (2, {})
    assert run.status().missing_scores == {"expected_attention": {"tiny": reason}}
    tokens = run.tokens().set_index("chain_id")
    assert [name for name in tokens.columns if name.startswith("score_")] == [f"score_{key}" for key in scorers]
    missing = tokens.loc[["tiny"]].isna().all()
    assert (
        missing[[name for name in tokens.columns if name.startswith("score_")]].sum()
        == missing["score_expected_attention"]
        == 1
    )
    assert tokens.loc[texts[1].chain_id].notna().all(axis=None)
    assert run.measurement("tiny").missing_scores == {"expected_attention": reason}
    assert load("analysis", "rank_correlation:scorer=expected_attention").analyse(run).exclusions == {"fewer_than_5_tokens": 1}
    run.layout.artefact(texts[1].chain_id, "score", scorers[0]).unlink()
    assert measure(texts, **options).status().missing_scores == run.status().missing_scores


@pytest.mark.parametrize("workers", [1, 2])  # one measures the longest chain first, which lacks the second score alone
def test_sinks_that_reach_into_the_reasoning_and_probes_that_do_not_fit_take_one_score(with_tiny_chain, tmp_path, workers):
    loaded, texts = with_tiny_chain
    scorers = [
        "answer_attention",
        "answer_attention:exclude_sink=4",
        "end_of_thinking",
        "end_of_thinking:probe=" + "stop " * 600,
    ]
    run = measure(texts, out=tmp_path / "run", model=loaded, scorers=scorers, strategies=["random_tokens"], workers=workers)
    assert (run.status().n_done, run.status().failed) == (2, {})
    by_sink, by_probe = run.status().missing_scores.items()
    assert by_sink == (scorers[1], {"tiny": "exclude_sink=4 reaches into the reasoning: only 3 tokens are before it; lower it"})
    assert by_probe[0].startswith("end_of_thinking:probe=stop")
    assert by_probe[1].keys() == {text.chain_id for text in texts}
    assert all("does not fit into the model's context" in reason for reason in by_probe[1].values())
    assert run.tokens().isna().all()[f"score_{by_probe[0]}"]
    assert run.tokens()[["score_answer_attention", "score_end_of_thinking"]].notna().all(axis=None)


def test_too_long_chain_is_named_with_its_line_and_nothing_is_lost(tiny, example_chains, tmp_path):
    file = tmp_path / "chains.jsonl"
    long = example_chains[1].model_copy(update={"reasoning": "one and " * 600})
    write_chains(file, [example_chains[0], long])
    with pytest.raises(EncodingError, match=rf"chains\.jsonl, line 2: {long.chain_id}: has \d+ tokens, .* holds 512"):
        measure(file, out=tmp_path / "run", model=tiny)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"scorers": ("astrology",)}, PluginError, "unknown scorer 'astrology'; available: .*answer_attention"),
        ({"strategies": ("magic",)}, PluginError, "unknown strategy 'magic'; available: .*greedy"),
        ({"strategies": ("greedy:objective=luck",)}, PluginError, "objective='luck'"),
        ({"strategies": ("greedy:keep_ratio=2",)}, PluginError, "keep_ratio is 2.0, expected 0..1"),
        ({"workers": 0}, RunError, "workers is 0"),
    ],
)
def test_wrong_option_is_named(tiny, example_chains, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        measure(example_chains[:1], out=tmp_path / "run", model=tiny, **options)


def test_same_chain_twice_is_refused(tiny, example_chains, tmp_path):
    with pytest.raises(ChainFileError, match="names two chains"):
        measure([example_chains[0]] * 2, out=tmp_path / "run", model=tiny)


def test_no_chain_is_refused(tiny, tmp_path):
    with pytest.raises(ChainFileError, match="no chain"):
        measure([], out=tmp_path / "run", model=tiny)


def test_unknown_model_leaves_no_folder_behind(monkeypatch, example_chains, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="nobody/none"):
        measure(example_chains[:1], out=tmp_path / "run", model="nobody/none")
    assert not (tmp_path / "run").exists()


def test_both_objectives_stand_side_by_side(tiny, example_chains, tmp_path):
    run = measure(example_chains[:2], out=tmp_path / "run", model=tiny, strategies=(GREEDY, JOINT))
    tokens = run.tokens()
    assert not tokens[f"deletion_step_{GREEDY}"].equals(tokens[f"deletion_step_{JOINT}"])
