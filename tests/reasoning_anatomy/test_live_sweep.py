"""Sweeps of eviction policies with a tiny random model: what is written, what is stored, and how it grows."""

import copy
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reasoning_anatomy import plugins
from reasoning_anatomy.chains import write_chains
from reasoning_anatomy.errors import MissingError, ModelError, PluginError, RunError
from reasoning_anatomy.evaluation import Answering, SweepPlan, sweep
from reasoning_anatomy.eviction.nothing import Nothing
from reasoning_anatomy.generation import local as local_module
from reasoning_anatomy.generation.completion import Sampling, sample_seed
from reasoning_anatomy.generation.decoding import Decoder
from reasoning_anatomy.generation.generate import generate
from reasoning_anatomy.generation.local import LocalModel
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import LoadedModel, load_model
from reasoning_anatomy.problems import Problem
from reasoning_anatomy.run import Run, open_run
from reasoning_anatomy.run.evaluation_table import write_evaluations
from reasoning_anatomy.run.manifest import Condition
from reasoning_anatomy.run.sweep import SweepFolder, SweepStatus
from reasoning_anatomy.run.written import WrittenText
from reasoning_anatomy.transcript_files import TranscriptFile
from reasoning_anatomy.transcripts import EVICTION_COLUMNS, EvictionTranscript
from reasoning_anatomy.types import ReasoningChain

SAMPLED = Answering(sampling=Sampling(temperature=1.0, top_p=1, max_tokens=4))
OFTEN = "every=6,n_sink=0,newest=2"
STREAMING = f"streaming:{OFTEN}"
LENGTH = 14  # evicted at 6 and 12
OPENS_THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)


def chain(number: int, *, gold: bool = True, **fields: Any) -> ReasoningChain:
    total = 10 * number + 12
    given = {
        "chain_id": f"c{number}", "question_id": f"q{number}", "question": f"What is {10 * number} + 12?",
        "reasoning": f"We add two numbers. So we get {total}.", "answer": f"ZEBRA {total}.",
        "gold_answer": str(total) if gold else None,
    }  # fmt: skip
    return ReasoningChain(**given | fields)


CHAINS = [chain(1), chain(2), chain(3, gold=False)]


@pytest.fixture(scope="module")
def tiny(tiny_model_folder: Path) -> LoadedModel:
    return load_model(str(tiny_model_folder))


def small(folder: Path, tiny: LoadedModel, *, chains: Any = CHAINS, length: int = LENGTH, **plan: Any) -> Run:
    """Sweep one cheap policy without baselines at one threshold beside 0, unless the test says otherwise."""
    options = {"evict": (STREAMING,), "evict_baselines": (), "thresholds": (0.5,)} | plan
    return sweep(folder, SweepPlan(**options), chains=chains, model=tiny, answering=SAMPLED, evict_max_tokens=length)


@pytest.fixture(scope="module")
def swept(tiny: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two policies with a baseline, beside a strategy, on two chains of the second question; tests only read it."""
    return small(
        tmp_path_factory.mktemp("swept") / "run",
        tiny,
        chains=[*CHAINS, chain(2, chain_id="c2b", reasoning="No idea. So 32.")],
        strategies=("random_steps",),
        baselines=(),
        evict=(f"think_clearly:{OFTEN}", f"h2o:scope=shared,{OFTEN}"),
        evict_baselines=("random",),
        thresholds=(0.25, 0.75),
        samples=2,
    )


@pytest.fixture(scope="module")
def plain(tiny: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One policy at one threshold; tests only read it."""
    return small(tmp_path_factory.mktemp("plain") / "run", tiny)


@pytest.fixture
def begun(plain: Run, tmp_path: Path) -> Path:
    """A copy of that run, to be changed."""
    return shutil.copytree(plain.folder, tmp_path / "begun")


def files_in(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def status_of(folder: Path) -> SweepStatus:
    run = open_run(folder)
    return SweepFolder(run, run.manifest.configuration).status()


def conditions_of(run: Run) -> list[Condition]:
    return SweepFolder(run, run.manifest.configuration).live


def written_files(run: Run) -> dict[str, bytes]:
    return {
        f"{path.parent.name} {path.name}": path.read_bytes() for path in sorted(run.folder.glob("evaluations/*/written-*.json"))
    }


def test_there_is_a_row_for_every_text_of_every_question(swept: Run) -> None:
    table = swept.evaluations()
    live, pruned = table[table["reading"] == "live"], table[table["reading"] != "live"]
    # 3 questions, 3 thresholds, 2 samples; 2 policies, each with its baseline
    assert len(live) == 3 * 3 * 2 * (2 + 2)
    assert not live.duplicated(["question_id", "strategy", "reference", "threshold", "sample"]).any()
    assert live["chain_id"].unique().tolist() == ["c1", "c2", "c3"]
    assert pruned["chain_id"].unique().tolist() == ["c1", "c2", "c3", "c2b"]
    assert live["restatements"].unique().tolist() == ["kept"]
    assert live[["peak_cache_tokens", "peak_cache_bytes", "n_evictions", "n_rewritten"]].notna().all(axis=None)
    assert pruned[["peak_cache_tokens", "peak_cache_bytes", "n_evictions", "n_rewritten"]].isna().all(axis=None)
    assert live["nll_gold"].isna().all()
    assert live["verdict"].notna().equals(live["question_id"] != "q3")
    assert (live["requested_ratio"] == 1 - live["threshold"]).all()
    assert (live["achieved_ratio"] == live["tokens_after"] / live["tokens_before"]).all()


def test_threshold_0_evicts_nothing_and_is_written_once_for_all_policies(swept: Run) -> None:
    table = swept.evaluations().query("reading == 'live' and threshold == 0")
    assert table.groupby(["question_id", "sample"])["response"].nunique().eq(1).all()
    assert (table["tokens_after"] == table["tokens_before"]).all()
    assert (table["steps_after"] == table["steps_before"]).all()
    assert not table["n_evictions"].any()
    n_distinct = 1 + 2 * 3  # nothing, and at two thresholds both policies and their one baseline
    assert len(written_files(swept)) == 3 * n_distinct * 2
    nothing = repr(Nothing())
    assert all(swept.layout.written(chain_id, nothing, 1).exists() for chain_id in ("c1", "c2", "c3"))


def test_samples_have_the_same_random_numbers_at_every_threshold_and_for_every_policy(swept: Run) -> None:
    live = swept.evaluations().query("reading == 'live'")
    for (question_id, sample), rows in live.groupby(["question_id", "sample"]):
        assert set(rows["seed"]) == {sample_seed(0, str(question_id), int(sample))}
        # nothing is evicted before 6 tokens are written, and until then the texts are the same, whatever is evicted later
        folder = SweepFolder(swept, swept.manifest.configuration)
        texts = [text for each in conditions_of(swept) for text in folder.texts(f"c{str(question_id)[1:]}", each)]
        beginnings = {text.answer.text[: text.transcript.token_ends[5]] for text in texts if text.answer.sample == sample}
        assert len(beginnings) == 1
    assert live.groupby(["question_id", "sample"])["response"].nunique().gt(2).all()


def test_texts_and_transcripts_are_those_of_generate(swept: Run, tiny: LoadedModel, tmp_path: Path) -> None:
    encoder = ChainEncoder(tiny.tokenizer, context_length=tiny.context_length)
    problems = [Problem(question_id=each.question_id, question=each.question) for each in CHAINS]
    policy = plugins.load("policy", f"think_clearly:budget=0.25,{OFTEN}")
    local = LocalModel(loaded=tiny, encoder=encoder, policy=policy)
    sampled = generate(
        problems, out=tmp_path / "chains.jsonl", completer=local, model=local.identity(), samples=2, instruction="",
        sampling=Sampling(temperature=1.0, top_p=1, max_tokens=LENGTH),
    )  # fmt: skip
    transcripts = TranscriptFile(tmp_path / "chains.jsonl").read()
    folder = SweepFolder(swept, swept.manifest.configuration)
    condition = next(each for each in conditions_of(swept) if each.strategy.startswith("think") and each.threshold == 0.75)
    for each in CHAINS:
        for text in folder.texts(each.chain_id, condition):
            expected = transcripts[f"{each.question_id}-s{text.answer.sample}"]
            assert _without_scores(text.transcript) == _without_scores(expected)
            for found, event in zip(text.transcript.events, expected.events, strict=True):  # rounding depends on the batch
                scores = (np.array(one.step_scores, dtype=float) for one in (found, event))
                np.testing.assert_allclose(*scores, rtol=1e-4, atol=1e-9)
    own = (
        swept.evaluations()
        .query("strategy.str.startswith('think') and threshold == 0.75")
        .sort_values(["question_id", "sample"])
    )
    for name, column in (("seed", "seed"), ("n_tokens", "tokens_generated"), ("n_evictions", "n_evictions"),
                         ("peak_cache_tokens", "peak_cache_tokens"), ("finish_reason", "finish_reason")):  # fmt: skip
        assert [row["source"][name] for row in sampled.rows] == own[column].tolist()


def _without_scores(transcript: EvictionTranscript) -> EvictionTranscript:
    return replace(transcript, events=tuple(replace(event, step_scores=()) for event in transcript.events))


def test_what_is_left_is_what_no_event_evicted(swept: Run) -> None:
    folder, table = SweepFolder(swept, swept.manifest.configuration), swept.evaluations()
    for condition in conditions_of(swept):
        for chain_id in ("c1", "c2", "c3"):
            rows = table[
                (table["chain_id"] == chain_id) & (table["strategy"] == condition.strategy) & (table["reading"] == "live")
            ]
            rows = rows[(rows["threshold"] == condition.threshold) & (rows["reference"].fillna("") == condition.reference)]
            for text, row in zip(folder.texts(chain_id, condition), rows.to_dict("records"), strict=True):
                gone = {token for event in text.transcript.events for token in event.evicted}
                assert row["tokens_before"] == row["tokens_generated"] == text.transcript.n_written  # it does not think in tags
                assert row["tokens_after"] == row["tokens_before"] - len(gone)
                assert row["peak_cache_tokens"] == text.transcript.peak_tokens
                assert (condition.threshold > 0) == bool(gone)


def test_evictions_are_a_table_of_all_events(swept: Run) -> None:
    table = swept.evictions()
    assert list(table.columns) == ["question_id", "chain_id", "strategy", "threshold", "sample", *EVICTION_COLUMNS]
    whose = ["question_id", "strategy", "threshold", "sample"]
    live = swept.evaluations().query("reading == 'live' and threshold > 0").drop_duplicates(whose).set_index(whose).sort_index()
    events = table.groupby(whose)
    assert len(events) == len(live) == 3 * 3 * 2 * 2
    pd.testing.assert_series_equal(events["event"].max(), live["n_evictions"], check_names=False, check_dtype=False)
    gone = live["tokens_before"] - live["tokens_after"]
    pd.testing.assert_series_equal(events["n_evicted"].sum(), gone, check_names=False, check_dtype=False)
    assert table.query("strategy.str.startswith('think')")["score"].notna().all()


def test_only_shows_the_policies_that_are_named(swept: Run) -> None:
    policy = conditions_of(swept)[0].strategy
    run = open_run(swept.folder, only=[policy])
    assert {each.reference or each.strategy for each in conditions_of(run)} == {policy}
    assert set(run.evictions()["strategy"]) == {each.strategy for each in conditions_of(run)}
    assert len(set(run.evictions()["strategy"])) == 2  # and its baseline


def test_a_baseline_evicts_as_often_and_protects_the_same_unless_it_names_them() -> None:
    plan = SweepPlan(
        evict=("think_clearly:every=16,newest=8,positions=rerotate",), evict_baselines=("random:newest=4", "random")
    )
    made = {each.strategy: each for each in plan.conditions().values() if each.reference and each.threshold == 0.5}
    assert set(made) == {"random:every=16,positions=rerotate,newest=4", "random:every=16,positions=rerotate,newest=8"}
    assert plugins.load("policy", "random:budget=0.5,every=16,positions=rerotate,newest=4") == plugins.load(
        "policy", "random:every=16,positions=rerotate,newest=4"
    )
    at_end = SweepPlan(evict=("traac_live",), evict_baselines=("random",), thresholds=(0.5,))
    assert {each.strategy for each in at_end.conditions().values()} == {"traac_live", "random"}  # it has no interval of its own
    alone = SweepPlan(evict=("random",), evict_baselines=("random",))
    assert {each.reference for each in alone.conditions().values()} == {""}


def test_a_threshold_is_what_the_policy_makes_of_it() -> None:
    plan = SweepPlan(evict=("think_clearly", "clearthink"), evict_baselines=(), thresholds=(0.25,))
    made = {(each.strategy, each.threshold): each.plugins for each in plan.conditions().values()}
    assert made == {
        ("think_clearly", 0): (repr(Nothing()),),
        ("clearthink", 0): (repr(Nothing()),),
        ("think_clearly", 0.25): (repr(plugins.load("policy", "think_clearly:budget=0.75")),),
        ("clearthink", 0.25): (repr(plugins.load("policy", "clearthink:ratio=0.25")),),
    }


def test_every_policy_can_be_swept(tmp_path: Path, tiny: LoadedModel) -> None:
    often = {"nothing": "", "clearthink": "n_sink=0,newest=2,steps=paragraphs", "r_kv": f"{OFTEN},window=4"}
    specs = [f"{key}:{often.get(key, OFTEN)}" for key in plugins.available("policy")]
    specs += [f"streaming:positions={positions},{OFTEN}" for positions in ("rerotate", "reprefill")]
    run = small(tmp_path / "run", tiny, chains=CHAINS[:1], evict=tuple(specs))
    table = run.evaluations().query("threshold > 0")
    assert len(table) == len(specs)
    for row in table.to_dict("records"):
        has_budget = row["strategy"] != "nothing" and not row["strategy"].startswith(("clearthink", "traac_live"))
        assert (row["tokens_after"] < row["tokens_before"]) == has_budget, row["strategy"]
    assert run.manifest.checks["decoding_changes_logits_by"] < 1e-4


def test_a_sweep_that_grows_is_the_sweep_that_was_made_at_once(tmp_path: Path, tiny: LoadedModel, begun: Path) -> None:
    everything = {"evict_baselines": ("random",), "thresholds": (0.25, 0.5), "samples": 2}
    at_once = small(tmp_path / "at_once", tiny, chains=[*CHAINS, chain(4)], **everything)
    small(begun, tiny, chains=[chain(4)], thresholds=(0.25,))
    small(begun, tiny, chains=None, **everything)
    grown = open_run(begun)
    pd.testing.assert_frame_equal(grown.evaluations(), at_once.evaluations(), check_exact=True)
    pd.testing.assert_frame_equal(grown.evictions(), at_once.evictions(), check_exact=True)
    assert written_files(grown) == written_files(at_once)


def test_the_same_sweep_again_and_another_chain_of_a_known_question_write_nothing(
    tiny: LoadedModel, plain: Run, begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalModel, "complete", lambda self, requests: pytest.fail("something was written"))
    small(begun, tiny, chains=[chain(1, chain_id="c0", reasoning="So 22.")])
    assert written_files(open_run(begun)) == written_files(plain)
    pd.testing.assert_frame_equal(open_run(begun).evaluations(), plain.evaluations())
    assert status_of(begun) == SweepStatus(done=list(open_run(begun).chains), failed={}, left=[])


def test_an_interrupted_sweep_is_finished(
    tmp_path: Path, tiny: LoadedModel, plain: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    adding, added = SweepFolder.add_text, []

    def until_three(self: SweepFolder, chain_id: str, policy: str, text: WrittenText) -> None:
        if len(added) == 3:
            raise KeyboardInterrupt
        added.append(chain_id)
        adding(self, chain_id, policy, text)

    monkeypatch.setattr(SweepFolder, "add_text", until_three)
    with pytest.raises(KeyboardInterrupt):
        small(tmp_path / "run", tiny)
    assert len(open_run(tmp_path / "run").evaluations()) == 3
    monkeypatch.undo()
    run = small(tmp_path / "run", tiny, chains=None)
    assert written_files(run) == written_files(plain)
    pd.testing.assert_frame_equal(run.evaluations(), plain.evaluations())


def test_what_another_process_writes_is_left_to_it(tiny: LoadedModel, begun: Path) -> None:
    at_quarter = SweepPlan(evict=(STREAMING,), evict_baselines=(), thresholds=(0.25,)).conditions().values()
    policy = max(at_quarter, key=lambda condition: condition.threshold).plugins[0]
    run = open_run(begun)
    with SweepFolder(run, run.manifest.configuration).claim_texts("c2", policy) as is_granted:
        assert is_granted
        small(begun, tiny, chains=None, thresholds=(0.25,))
    assert open_run(begun).evaluations().query("threshold == 0.25")["chain_id"].tolist() == ["c1", "c3"]
    assert (status_of(begun).n_done, status_of(begun).n_left) == (2, 1)


def test_the_longest_text_is_pinned_and_pruned_chains_do_not_depend_on_it(tiny: LoadedModel, begun: Path) -> None:
    before = files_in(begun)
    with pytest.raises(RunError, match="writing, max_tokens: '14' in the run, '12' now"):
        small(begun, tiny, chains=[chain(5)], length=12)
    assert files_in(begun) == before
    small(begun, tiny, chains=None, evict=(), strategies=("random_steps",), baselines=(), length=12)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"evict": ()}, "there is nothing to sweep"),
        ({"evict": ("nonsense",)}, "nonsense"),
        ({"evict_baselines": ("nonsense",)}, "nonsense"),
        ({"evict": ("think_clearly:budget=0.3",)}, "thresholds say its budget; leave budget out"),
        ({"evict_baselines": ("random:budget=0.5",)}, "thresholds say its budget; leave budget out"),
        ({"evict": ("clearthink:ratio=0.4",)}, "thresholds say its ratio"),
        ({"readings": ("live",)}, "is not a choice of closed_up, evicted; got"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(tmp_path: Path, tiny: LoadedModel, plan: dict[str, Any], message: str) -> None:
    with pytest.raises(PluginError, match=message):
        small(tmp_path / "run", tiny, **plan)
    assert not (tmp_path / "run").exists()


def test_a_policy_that_does_not_suit_the_model_is_refused_before_anything_is_measured(
    tmp_path: Path, tiny: LoadedModel
) -> None:
    with pytest.raises(ModelError, match="traac_live waits for the end of thinking"):
        small(tmp_path / "run", tiny, evict=(STREAMING, "traac_live"))
    assert not (tmp_path / "run").exists()


def test_two_texts_of_one_question_are_refused_by_both_names(tiny: LoadedModel, begun: Path) -> None:
    before = files_in(begun)
    with pytest.raises(RunError, match="chains 'c1' and 'other' have the question_id 'q1', but different"):
        small(begun, tiny, chains=[chain(1, chain_id="other", question="What is 13 + 9?")])
    with pytest.raises(RunError, match="chains 'c1' and 'other'"):
        small(begun, tiny, chains=[chain(1, chain_id="other", system_prompt="Be brief.")])
    assert files_in(begun) == before


def test_texts_of_another_question_and_damaged_ones_are_refused(tiny: LoadedModel, begun: Path) -> None:
    run = open_run(begun)
    path = next(begun.glob("evaluations/*/written-*.json"))
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "origin": {**facts["origin"], "question": "another"}}))
    with pytest.raises(RunError, match="was made from another question than this run has"):
        write_evaluations(run)
    path.write_text(path.read_text()[:100])
    with pytest.raises(RunError, match="delete the file and run the same sweep again"):
        write_evaluations(run)


def test_a_text_that_is_not_finite_fails_alone_and_is_tried_again(
    tiny: LoadedModel, begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extending = Decoder._extend

    def overflowing(self: Any, samples: Any, logits: Any) -> None:
        for row, sample in enumerate(samples):
            request = getattr(sample.key, "request", None)
            if request is not None and request.name == "q2-s1" and len(sample.ids) == 9:
                logits = logits.clone()
                logits[row] = np.nan
        extending(self, samples, logits)

    monkeypatch.setattr(Decoder, "_extend", overflowing)
    run = small(begun, tiny, chains=None, samples=2)
    assert run.evaluations().groupby(["chain_id", "threshold"]).size().tolist() == [2, 2, 1, 1, 2, 2]
    assert list(status_of(begun).failed) == ["c2"]
    assert "not finite numbers" in status_of(begun).failed["c2"]
    monkeypatch.undo()
    small(begun, tiny, chains=None, samples=2)
    assert status_of(begun) == SweepStatus(done=list(open_run(begun).chains), failed={}, left=[])
    assert not list((begun / "failed").rglob("*.json"))


def test_a_text_has_the_room_behind_its_prompt(tmp_path: Path, tiny: LoadedModel) -> None:
    long = chain(4, question="What is 40 + 12? " + "Think. " * 210)
    run = small(tmp_path / "run", tiny, chains=[long], length=64, thresholds=(0,))
    n_prompt = len(run.encoded("c4").prompt_ids)
    assert 512 - n_prompt < 64
    assert run.evaluations()["tokens_generated"].tolist() == [512 - n_prompt]


def test_a_run_without_texts_is_as_it_was(tmp_path: Path, tiny: LoadedModel) -> None:
    run = small(tmp_path / "run", tiny, chains=CHAINS[:1], evict=(), strategies=("random_steps",), baselines=())
    assert run.manifest.configuration.writing is None
    assert not (run.folder / "evictions.parquet").exists()
    with pytest.raises(MissingError, match="--evict think_clearly"):
        run.evictions()


@pytest.fixture(scope="module")
def thinking(tiny: LoadedModel) -> LoadedModel:
    """The tiny model with a template that opens the thinking and tokens for its tags."""
    own = copy.deepcopy(tiny.tokenizer)
    own.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]}, replace_extra_special_tokens=False)
    own.chat_template = OPENS_THINKING
    model = copy.deepcopy(tiny.model)
    model.resize_token_embeddings(len(own), mean_resizing=False)
    return LoadedModel(model, own, "thinking")


@pytest.mark.parametrize("policy", [STREAMING, "traac_live:n_sink=0,newest=2"])
@pytest.mark.parametrize(
    ("text", "n_sentences", "verdict"),
    [
        ("We add ten and two. So 12. Wait, that is wrong. So 22.</think>The answer is 22.", 4, "correct"),
        ("We add ten and two. So 12. Wait, that is wrong. The answer is 22.", 4, "wrong"),
    ],
)
def test_thinking_ends_at_its_tag(
    tmp_path: Path,
    thinking: LoadedModel,
    monkeypatch: pytest.MonkeyPatch,
    policy: str,
    text: str,
    n_sentences: int,
    verdict: str,
) -> None:
    ids = thinking.tokenizer.encode(text, add_special_tokens=False)
    scripted = lambda sampling: lambda logits, samples: np.array([ids[len(sample.ids)] for sample in samples])  # noqa: E731
    monkeypatch.setattr(local_module, "sampler", scripted)
    run = small(
        tmp_path / "run",
        thinking,
        chains=CHAINS[:1],
        evict=(policy.replace("n_sink", "steps=sentences,n_sink"),),
        length=len(ids),
    )
    closing = thinking.tokenizer.convert_tokens_to_ids("</think>")
    n_thinking = ids.index(closing) if closing in ids else len(ids)
    for row in run.evaluations().to_dict("records"):
        assert (row["response"], row["verdict"]) == (text, verdict)
        assert (row["tokens_before"], row["tokens_generated"]) == (n_thinking, len(ids))
        assert row["steps_before"] == n_sentences
        assert (row["n_evictions"] > 0) == (row["threshold"] > 0 and ("streaming" in policy or closing in ids))
    assert set(run.evaluations()["states_answer"]) == {True}  # the newest sentence states it, and stays


def test_the_command_names_policies_and_lengths(tmp_path: Path, tiny_model_folder: Path, call: Callable[..., Any]) -> None:
    write_chains(tmp_path / "chains.jsonl", CHAINS[:1])
    done = call(
        "sweep", "run", "--chains", "chains.jsonl", "--model", tiny_model_folder, "--evict", STREAMING, "--thresholds", "0.5",
        "--evict-baselines", "none", "--evict-max-tokens", "14", "--temperature", "1",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "whole texts of up to 14 tokens are written anew" in done.err
    assert "Every answer begins" not in done.err
    assert "1 of 1 chains are answered at all 2 conditions" in done.out
    assert len(open_run(tmp_path / "run").evaluations()) == 2
    refused = call("sweep", "run", "--evict", STREAMING, "--readings", "live")
    assert refused.code == 2
