"""From a file of chains to a run folder: the same whatever happens in between."""

import copy
import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

from reasoning_anatomy.chains import write_chains
from reasoning_anatomy.cli._app import named_scorers
from reasoning_anatomy.errors import ChainFileError, EncodingError, ModelError, PluginError, RunError
from reasoning_anatomy.models.encoding import ChainEncoder, EncodingOptions
from reasoning_anatomy.models.loading import LoadedModel, load_model
from reasoning_anatomy.pipeline.measuring import measure
from reasoning_anatomy.plugins import load
from reasoning_anatomy.pruning.greedy import Greedy

NO_RECORD = (
    "surprisal", "token_entropy", "conditional_surprisal", "gradient_x_input", "key_norm", "key_diff", "expected_attention",
    "recency", "sink_recency", "random",
)  # fmt: skip
GREEDY = "greedy:keep_ratio=0.8"  # a fifth of the deletions show what all would
JOINT = "greedy:objective=joint,keep_ratio=0.8"
RESULTS = ("chains.jsonl", "tokens.parquet", "paths.parquet", "chains/*.safetensors")


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
    assert (run.manifest.n_done, run.manifest.failed) == (1, {})
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
    with pytest.warns(UserWarning, match="It is pruned by whole forward passes instead"):
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
    assert (run.manifest.n_done, run.manifest.failed) == (2, {})
    tokens = run.tokens()
    for text in example_chains[:2]:
        chain = ChainEncoder(tokenizer).encode(text)
        rows, measurement = tokens[tokens["chain_id"] == chain.chain_id], run.measurement(chain.chain_id)
        for key in keys:
            alone = load("scorer", key).score(chain, loaded=loaded)
            np.testing.assert_allclose(rows[f"score_{key}"], alone.score, atol=1e-3)
            assert (key in measurement.profiles) == (alone.profile is not None)


def test_manifest_counts_and_says_what_was_run(finished, tiny):
    manifest = finished.manifest
    assert (manifest.n_chains, manifest.n_done, manifest.n_left) == (6, 6, 0)
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
    kept = [path for path in before if path.name != ".lock"]
    assert all(after[path] == before[path] for path in kept)


def test_number_of_workers_changes_no_order(finished, tiny, example_chains, tmp_path):
    alone = measure(example_chains[:6], out=tmp_path / "run", model=tiny, strategies=[GREEDY], workers=1)
    assert alone.tokens()[f"deletion_step_{GREEDY}"].equals(finished.tokens()[f"deletion_step_{GREEDY}"])


def test_missing_chain_and_tables_are_measured_again(finished, tiny, example_chains, tmp_path):
    run = measure(example_chains[:6], out=tmp_path / "run", model=tiny, strategies=[GREEDY])
    whole = digests(run.folder)
    run.measurement_path(example_chains[3].chain_id).unlink()
    (run.folder / "tokens.parquet").unlink()
    measure(example_chains[:6], out=run.folder, model=tiny, strategies=[GREEDY])
    assert digests(run.folder) == whole == digests(finished.folder)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"strategies": ["greedy"]}, "strategies"),
        ({"scorers": []}, "scorers"),
        ({"encoding": EncodingOptions(before_answer=" ")}, "encoding"),
    ],
)
def test_other_configuration_is_refused_and_named(finished, tiny, example_chains, changed, message):
    before = digests(finished.folder)
    with pytest.raises(RunError, match=rf"another configuration \(.*{message}"):
        measure(example_chains[:6], out=finished.folder, model=tiny, **{"strategies": [GREEDY]} | changed)
    assert digests(finished.folder) == before


def test_other_chains_and_other_weights_are_refused(finished, tiny_model_folder, example_chains):
    other = load_model(str(tiny_model_folder))
    with pytest.raises(RunError, match="chains: "):
        measure(example_chains[:5], out=finished.folder, model=other, strategies=[GREEDY])
    with torch.no_grad():
        other.model.lm_head.weight.mul_(2)
    with pytest.raises(RunError, match=r"model\.weights: "):
        measure(example_chains[:6], out=finished.folder, model=other, strategies=[GREEDY])


def test_second_process_on_the_same_run_says_so(finished, tiny, example_chains):
    with FileLock(finished.folder / ".lock"), pytest.raises(RunError, match="another process is working on this run"):
        measure(example_chains[:6], out=finished.folder, model=tiny, strategies=[GREEDY])


def test_folder_with_other_files_is_refused(tiny, example_chains, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RunError, match=r"thesis\.tex"):
        measure(example_chains[:1], out=tmp_path, model=tiny)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_damaged_chain_file_is_named_with_the_remedy(tiny, example_chains, tmp_path):
    run = measure(example_chains[:1], out=tmp_path / "run", model=tiny, strategies=[GREEDY])
    path = run.measurement_path(example_chains[0].chain_id)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RunError, match=rf"{path.name}: cannot be read .* delete the file"):
        measure(example_chains[:1], out=run.folder, model=tiny, strategies=[GREEDY])


def test_chain_that_cannot_be_measured_is_counted_and_the_others_go_on(tiny_model_folder, example_chains, tmp_path):
    loaded = load_model(str(tiny_model_folder))
    encoder = ChainEncoder(loaded.tokenizer)
    tokens = [set(encoder.encode(chain).reasoning_ids.tolist()) for chain in example_chains[:4]]
    only_in_first = min(tokens[0] - set.union(*tokens[1:]))
    with torch.no_grad():
        loaded.model.model.embed_tokens.weight[only_in_first] = torch.nan
    run = measure(example_chains[:4], out=tmp_path / "run", model=loaded, strategies=[GREEDY])
    failed = example_chains[0].chain_id
    assert list(run.manifest.failed) == [failed]
    reason = "the scores of answer_attention are not all finite numbers"
    assert run.manifest.failed[failed] == reason
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["n_done"], record["n_failed"], record["n_left"]) == (3, {reason: 1}, 0)
    assert (run.manifest.n_done, run.manifest.n_left) == (3, 0)
    assert failed not in set(run.tokens()["chain_id"])


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
    assert (run.manifest.n_done, run.manifest.failed) == (2, {})
    assert run.manifest.missing_scores == {"expected_attention": {"tiny": reason}}
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
    assert load("analysis", "rank_correlation:scorer=expected_attention").analyse(run).exclusions == {"no_score": 1}
    run.measurement_path(texts[1].chain_id).unlink()
    assert measure(texts, **options).manifest.missing_scores == run.manifest.missing_scores


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
    assert (run.manifest.n_done, run.manifest.failed) == (2, {})
    by_sink, by_probe = run.manifest.missing_scores.items()
    assert by_sink == (scorers[1], {"tiny": "exclude_sink=4 reaches into the reasoning: 3 tokens stand before it; lower it"})
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
