"""Chains that are sampled under an eviction policy: their file, their transcripts, and models that think in tags."""

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from reasoning_anatomy.errors import ModelError, PluginError, RunError
from reasoning_anatomy.generation.completion import Sampling
from reasoning_anatomy.generation.generate import Sampled, generate
from reasoning_anatomy.generation.local import LocalModel
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import LoadedModel, load_model
from reasoning_anatomy.plugins import load
from reasoning_anatomy.problems import Problem
from reasoning_anatomy.transcript_files import TranscriptFile
from reasoning_anatomy.transcripts import (
    EvictionEvent,
    EvictionTranscript,
    read_transcript,
    rewritten_tokens,
    write_eviction_table,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PROBLEMS = [Problem(question_id=f"q{n}", question=f"What is {n} + 1?", gold_answer=str(n + 1)) for n in range(3)]
SAMPLING = Sampling(temperature=1.0, top_p=0.1, max_tokens=40)
OPENS_THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
EVERY_8 = "every=8,newest=2"


@pytest.fixture(scope="module")
def tiny(tiny_model_folder: Path) -> LoadedModel:
    return load_model(str(tiny_model_folder))


@pytest.fixture(scope="module", params=["tags are tokens", "tags are characters"])
def thinking(tiny: LoadedModel, small_tokenizer: "PreTrainedTokenizerBase", request: pytest.FixtureRequest) -> LoadedModel:
    """The tiny model with a template that opens the thinking."""
    own, model = copy.deepcopy(small_tokenizer), copy.deepcopy(tiny.model)
    own.chat_template = OPENS_THINKING
    if request.param == "tags are tokens":
        own.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]}, replace_extra_special_tokens=False)
        model.resize_token_embeddings(len(own), mean_resizing=False)
    return LoadedModel(model, own, "thinking")


def sampled(out: Path, loaded: LoadedModel, policy: str | None, *, problems: Any = PROBLEMS, **options: Any) -> Sampled:
    rule = None if policy is None else load("policy", policy)
    local = LocalModel(
        loaded=loaded, encoder=ChainEncoder(loaded.tokenizer, context_length=loaded.context_length), policy=rule, **options
    )
    return generate(problems, out=out, completer=local, model=local.identity(), sampling=SAMPLING, samples=2)


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def texts(path: Path) -> list[tuple[str, str]]:
    return [(row["reasoning"], row["answer"]) for row in rows_of(path)]


def test_a_policy_that_evicts_nothing_changes_no_sample(tmp_path: Path, tiny: LoadedModel) -> None:
    plain, nothing = tmp_path / "plain.jsonl", tmp_path / "nothing.jsonl"
    sampled(plain, tiny, None)
    sampled(nothing, tiny, "none")
    assert texts(nothing) == texts(plain)
    assert not TranscriptFile(plain).path.exists()
    assert all(row["source"]["n_evictions"] == 0 for row in rows_of(nothing))


def test_every_chain_has_its_transcript_and_the_table_has_every_eviction(tmp_path: Path, tiny: LoadedModel) -> None:
    out = tmp_path / "chains.jsonl"
    sampled(out, tiny, f"think_clearly:budget=0.5,steps=sentences,{EVERY_8}")
    transcripts, table = TranscriptFile(out).read(), pd.read_parquet(f"{out}.evictions.parquet")
    assert [*transcripts] == [row["chain_id"] for row in rows_of(out)]
    for row in rows_of(out):
        transcript, source = transcripts[row["chain_id"]], row["source"]
        assert transcript.n_written == source["n_tokens"] == len(transcript.token_ends)
        assert transcript.policy == source["policy"]
        assert source["n_evicted"] == sum(len(event.evicted) for event in transcript.events) > 0
        assert source["peak_cache_bytes"] == source["peak_cache_tokens"] * 2 * 2 * 2 * 16 * 4
        of_chain = table[table["chain_id"] == row["chain_id"]]
        assert of_chain["n_evicted"].sum() == source["n_evicted"]
        for number, event in enumerate(transcript.events, start=1):
            steps = of_chain[of_chain["event"] == number]
            assert steps["first_token"].tolist() == list(event.step_starts)
            assert sorted(token for tokens in steps["evicted"] for token in tokens) == list(event.evicted)


def test_a_file_goes_on_where_it_stopped_with_the_same_policy_alone(tmp_path: Path, tiny: LoadedModel) -> None:
    policy, at_once, out = f"random:{EVERY_8}", tmp_path / "at_once.jsonl", tmp_path / "chains.jsonl"
    sampled(at_once, tiny, policy)
    sampled(out, tiny, policy, problems=PROBLEMS[:1])
    with TranscriptFile(out).path.open("ab") as file:
        file.write(b'{"chain_id": "q1-s0", "transc')  # as a kill leaves it
    sampled(out, tiny, policy)
    assert texts(out) == texts(at_once)
    assert TranscriptFile(out).read() == TranscriptFile(at_once).read()
    with pytest.raises(RunError, match=r"was sampled with other options \(model: .*every=16"):
        sampled(out, tiny, "random:every=16,newest=2")


@pytest.mark.parametrize("policy", [f"h2o:{EVERY_8}", f"think_clearly:positions=rerotate,{EVERY_8}"])
def test_samples_do_not_depend_on_how_many_are_written_at_a_time(tmp_path: Path, tiny: LoadedModel, policy: str) -> None:
    sampled(tmp_path / "a.jsonl", tiny, policy, n_rows=1)
    sampled(tmp_path / "b.jsonl", tiny, policy, n_rows=5)
    assert texts(tmp_path / "a.jsonl") == texts(tmp_path / "b.jsonl")


TEXT = (
    "It is four. So it is five, I think. Wait, no, it must be six. So it is six.</think>The answer is six, as was shown above."
)


@pytest.fixture
def scripted(thinking: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> int:
    """Let every sample write the same text, whatever the model would choose; how many tokens it has up to the closing tag."""
    from reasoning_anatomy.generation import local as module

    ids, closed = (thinking.tokenizer.encode(text, add_special_tokens=False) for text in (TEXT, TEXT.partition("The")[0]))
    chosen = lambda sampling: lambda logits, samples: np.array([ids[len(sample.ids)] for sample in samples])  # noqa: E731
    monkeypatch.setattr(module, "sampler", chosen)
    monkeypatch.setattr(sys.modules[__name__], "SAMPLING", Sampling(max_tokens=len(ids)))
    return len(closed)


def test_traac_evicts_once_where_the_thinking_is_closed(tmp_path: Path, thinking: LoadedModel, scripted: int) -> None:
    out = tmp_path / "chains.jsonl"
    sampled(out, thinking, "traac_live:rate=1,newest=1,n_sink=0")
    for transcript in TranscriptFile(out).read().values():
        assert [event.n_written for event in transcript.events] == [scripted]
        assert transcript.events[0].step_starts == (0, 4, 9, 12, 22)  # " W" and "ait" are two tokens


def test_nothing_is_evicted_once_the_thinking_is_closed(tmp_path: Path, thinking: LoadedModel, scripted: int) -> None:
    out = tmp_path / "chains.jsonl"
    sampled(out, thinking, "streaming:budget=4,newest=1,n_sink=0")
    for transcript in TranscriptFile(out).read().values():
        assert [event.n_written for event in transcript.events] == list(range(6, scripted + 1))
        assert transcript.n_written > scripted + 5


def test_a_policy_that_waits_for_the_end_of_thinking_needs_a_model_that_thinks(tmp_path: Path, tiny: LoadedModel) -> None:
    with pytest.raises(ModelError, match="traac_live waits for the end of thinking; add every=200"):
        sampled(tmp_path / "chains.jsonl", tiny, "traac_live")


def test_samples_that_end_where_a_policy_would_evict_are_refused(thinking: LoadedModel) -> None:
    with pytest.raises(PluginError, match="evicts where the thinking is closed, but samples end there"):
        LocalModel(
            loaded=thinking,
            encoder=ChainEncoder(thinking.tokenizer),
            policy=load("policy", "traac_live"),
            ends_with_thinking=True,
        )


def test_transcripts_of_chains_that_are_gone_are_not_in_the_table(tmp_path: Path, tiny: LoadedModel) -> None:
    out = tmp_path / "chains.jsonl"
    sampled(out, tiny, f"random:{EVERY_8}")
    out.unlink()
    sampled(out, tiny, f"random:{EVERY_8}", problems=PROBLEMS[:1])
    assert set(pd.read_parquet(f"{out}.evictions.parquet")["chain_id"]) == {"q0-s0", "q0-s1"}


def test_a_probe_that_does_not_fit_into_the_context_is_left_out_and_counted(tmp_path: Path, tiny: LoadedModel) -> None:
    long = Problem(question_id="long", question="x " * 440)
    out = tmp_path / "chains.jsonl"
    sampled(out, tiny, f"think_clearly:steps=sentences,{EVERY_8}", problems=[long])
    for transcript in TranscriptFile(out).read().values():
        assert transcript.n_prompt + transcript.n_written == tiny.context_length
        assert transcript.n_skipped > 0


def test_a_server_cannot_evict(call: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"question_id": "a", "question": "?"}\n')
    done = call("generate", "p.jsonl", "--out", "o.jsonl", "--url", "http://localhost:1/v1", "--evict", "random")
    assert done.code == 2
    assert "--evict needs a model that is loaded here; leave out --url" in done.err


def test_a_damaged_line_of_transcripts_is_named(tmp_path: Path) -> None:
    file = TranscriptFile(tmp_path / "chains.jsonl")
    file.path.write_text('{"chain_id": "a", "transcript": {"policy": 3}}\n')
    with pytest.raises(RunError, match=r"chains\.jsonl\.transcripts\.jsonl, line 1: cannot be read"):
        file.read()


def event(n_written: int, *evicted: int) -> EvictionEvent:
    return EvictionEvent(n_written, evicted, n_written, n_written - len(evicted))


@pytest.mark.parametrize(
    ("ids", "events", "expected"),
    [
        ([1, 2, 3, 4, 1, 2, 3, 4], [], 0),
        ([1, 2, 3, 4, 1, 2, 3, 4], [event(4, 0, 1, 2)], 3),
        ([1, 2, 3, 4, 1, 2, 3, 4], [event(4, 0, 1, 2, 3)], 4),
        ([1, 2, 3, 4, 1, 2, 3, 4], [event(5, 0, 1, 2)], 0),  # gone only when the row was begun again
        ([1, 2, 3, 9, 1, 2, 3, 1, 2, 3], [event(7, 0, 1, 2)], 0),  # one such row is still there
        ([1, 2, 3, 9, 1, 2, 3, 1, 2, 3], [event(7, 0, 1, 2, 4)], 3),  # none of them is whole
        ([1, 2, 3, 4, 5, 1, 2, 4], [event(5, 0, 1, 2)], 0),
        ([1, 2, 3, 4, 1, 2, 3], [event(4, -1, 0, 1, 2)], 3),
    ],
)
def test_what_is_written_again_is_counted(ids: list[int], events: list[EvictionEvent], expected: int) -> None:
    """By hand, rows of 3."""
    assert len(rewritten_tokens(ids, events, length=3)) == expected


def test_a_transcript_is_read_as_it_was_written() -> None:
    transcript = EvictionTranscript(
        policy="X()", n_prompt=3, n_written=2, n_thinking=2, text="abcd", token_ends=(1, 4), finish_reason="length",
        events=(EvictionEvent(2, (0,), 4, 3, (0, 1), (0.5, None)),), n_skipped=1, peak_tokens=9, peak_bytes=99, rewritten=(1,),
    )  # fmt: skip
    assert read_transcript(transcript.as_json()) == transcript


def test_a_table_that_begins_with_a_sample_without_evictions_has_the_columns_of_the_others(tmp_path: Path) -> None:
    empty, full = (
        EvictionTranscript(
            policy="X()", n_prompt=1, n_written=2, n_thinking=2, text="ab", token_ends=(1, 2), finish_reason="eos",
            events=events, n_skipped=0, peak_tokens=3, peak_bytes=9, rewritten=(),
        )
        for events in ((), (event(2, 0),))
    )  # fmt: skip
    write_eviction_table(
        tmp_path / "t.parquet", [({"chain_id": "a", "sample": 0}, empty), ({"chain_id": "b", "sample": 1}, full)]
    )
    table = pd.read_parquet(tmp_path / "t.parquet")
    assert table[["chain_id", "sample", "event", "n_evicted"]].to_numpy().tolist() == [["b", 1, 1, 1]]
    assert table["evicted"][0].tolist() == [0]
