"""Transcripts of chains that were sampled under a policy: kept in a run, with the text that they are of."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from reasoning_anatomy.chains import read_chain_file, write_chains
from reasoning_anatomy.errors import RunError
from reasoning_anatomy.generation.completion import Completion, Sampling
from reasoning_anatomy.generation.generate import generate
from reasoning_anatomy.generation.request import Request
from reasoning_anatomy.models.loading import LoadedModel, load_model
from reasoning_anatomy.pipeline.measuring import measure
from reasoning_anatomy.problems import Problem
from reasoning_anatomy.progress import Stages
from reasoning_anatomy.run.folder import Run, open_run
from reasoning_anatomy.transcript_files import TranscriptFile
from reasoning_anatomy.transcripts import EvictionEvent, EvictionTranscript, read_transcript

TEXTS = ("<think>\nWe add 1 and 1.\n\nThat is 2.</think>\n\nThe answer is 2.<|im_end|>", "We add 2 and 1.\nThe answer is 3.")


def transcript_of(text: str) -> EvictionTranscript:
    """A transcript of a text with tokens of three characters, of which the first two were evicted."""
    ends = [*range(3, len(text), 3), len(text)]
    event = EvictionEvent(5, (0, 1), 14, 12, (0, 2), (0.25, 0.5))
    return EvictionTranscript(
        policy="Scripted()", n_prompt=10, n_written=len(ends), n_thinking=len(ends), text=text, token_ends=tuple(ends),
        finish_reason="eos",
        events=(event,), n_skipped=0, peak_tokens=20, peak_bytes=4000, rewritten=(3, 4),
    )  # fmt: skip


class Scripted:
    """Answers the questions with `TEXTS`."""

    def complete(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Completion]]:
        for request, text in zip(requests, TEXTS, strict=True):
            yield request, Completion(text.removesuffix("<|im_end|>"), 9, "eos", transcript=transcript_of(text))


@pytest.fixture(scope="module")
def tiny(tiny_model_folder: Path) -> LoadedModel:
    return load_model(str(tiny_model_folder))


@pytest.fixture
def sampled(tmp_path: Path) -> Path:
    problems = [Problem(question_id=f"q{n}", question=f"What is {n} + 1?") for n in (1, 2)]
    return generate(
        problems, out=tmp_path / "chains.jsonl", completer=Scripted(), model={"name": "scripted"}, sampling=Sampling()
    ).path


def measured(chains: Path, out: Path, tiny: LoadedModel, **options: Stages) -> Run:
    return measure(chains, out=out, model=tiny, scorers=["recency"], strategies=[], **options)


def test_the_reasoning_is_found_in_the_text_as_written(sampled: Path) -> None:
    transcripts = TranscriptFile(sampled).read()
    for chain in read_chain_file(sampled).chains:
        transcript = transcripts[chain.chain_id]
        place = transcript.place_of(chain.reasoning, chain.answer)
        assert place is not None
        assert transcript.text[slice(*place)] == chain.reasoning
        assert transcript.place_of(chain.reasoning, "another answer") is None
        assert transcript.place_of(chain.answer, chain.reasoning) is None
        assert read_transcript(transcript.as_json()) == transcript


def test_a_run_keeps_the_transcripts_beside_its_chains(sampled: Path, tmp_path: Path, tiny: LoadedModel) -> None:
    run = measured(sampled, tmp_path / "run", tiny)
    assert run.transcripts() == TranscriptFile(sampled).read()
    paths = [run.layout.transcript(chain_id) for chain_id in run.chains]
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in paths]
    measured(sampled, run.folder, tiny)
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in paths] == before, "they are left as they are"
    assert run.status().n_done == 2


def test_a_run_that_grows_takes_the_transcripts_of_what_is_added(sampled: Path, tmp_path: Path, tiny: LoadedModel) -> None:
    chains = read_chain_file(sampled).chains
    write_chains(tmp_path / "first.jsonl", chains[:1])
    assert measured(tmp_path / "first.jsonl", tmp_path / "run", tiny).transcripts() == {}
    assert set(measured(sampled, tmp_path / "run", tiny).transcripts()) == {"q1-s0", "q2-s0"}


def test_a_transcript_of_another_text_is_not_taken(
    sampled: Path, tmp_path: Path, tiny: LoadedModel, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = read_chain_file(sampled).chains
    write_chains(sampled, [first, second.model_copy(update={"reasoning": "We add 2 and one."})])
    run = measured(sampled, tmp_path / "run", tiny, stages=Stages(show=True))
    assert set(run.transcripts()) == {"q1-s0"}
    said = f"1 of the 2 transcripts in {sampled}.transcripts.jsonl are of another text than the chain has, such as that of q2-"
    assert said in " ".join(capsys.readouterr().err.split())


def test_what_is_damaged_or_of_another_text_is_named(sampled: Path, tmp_path: Path, tiny: LoadedModel) -> None:
    run = measured(sampled, tmp_path / "run", tiny)
    path = run.layout.transcript("q1-s0")
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole[:100], encoding="utf-8")
    with pytest.raises(RunError, match=r"transcript\.json: cannot be read .*; delete the file and run the same command again"):
        run.transcripts()
    facts = json.loads(whole)
    path.write_text(json.dumps({**facts, "origin": {"chain": "another"}}), encoding="utf-8")
    with pytest.raises(RunError, match=r"transcript\.json: was made from another chain than this run has"):
        run.transcripts()


def test_a_transcript_sampled_anew_replaces_the_one_that_was_there(sampled: Path, tmp_path: Path, tiny: LoadedModel) -> None:
    run = measured(sampled, tmp_path / "run", tiny)
    again = dataclasses.replace(run.transcripts()["q1-s0"], policy="Another()")
    TranscriptFile(sampled).add("q1-s0", again)
    measured(sampled, run.folder, tiny)
    assert open_run(run.folder).transcripts()["q1-s0"] == again
