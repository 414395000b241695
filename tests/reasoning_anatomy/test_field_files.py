"""Files as people have them, through ``run``: read once, all faults at once, and what is left out is counted and kept."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analyses.rank_correlation import RankCorrelation
from reasoning_anatomy.chains import read_chains
from reasoning_anatomy.errors import ChainFileError
from reasoning_anatomy.pipeline import measuring
from reasoning_anatomy.questions import question_id_of, question_notes
from reasoning_anatomy.run.folder import Run, open_run
from reasoning_anatomy.types import ReasoningChain

Call = Callable[..., Any]
LONG = (("clong1", 8), ("clong2", 10), ("clong3", 11))
QUICK = ("--scorers", "recency", "--strategies", "random_tokens")


@pytest.fixture(scope="session")
def short_model_folder(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a context of 256 tokens."""
    folder = tmp_path_factory.mktemp("short") / "tiny"
    shutil.copytree(tiny_model_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 256}))
    return folder


def test_all_chains_beyond_the_context_are_named_before_the_weights_are_loaded(
    call: Call, monkeypatch: pytest.MonkeyPatch, field_files: Path, short_model_folder: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(measuring, "load_model", None)  # nothing may call it
    done = call("run", field_files / "some_too_long.jsonl", "--out", "run", "--model", short_model_folder)
    assert done.code == 2
    head, first, second, third = done.err.partition("error: ")[2].splitlines()
    assert head == (
        f"{field_files / 'some_too_long.jsonl'}: 3 of 5 chains cannot be encoded; leave them out, or go on without them: "
        "--skip-unusable"
    )
    for line, number, name in ((first, 2, "clong1"), (second, 4, "clong2"), (third, 5, "clong3")):
        assert line.startswith(f"  line {number}: {name}: has ")
        assert "but the model's context holds 256; " in line
    assert not (tmp_path / "run").exists()


def test_skip_unusable_goes_on_counts_and_keeps_the_reasons(
    call: Call, field_files: Path, short_model_folder: Path, tmp_path: Path
) -> None:
    names = ("some_unusable", "some_too_long", "with_think_tags")
    rows = [line for name in names for line in (field_files / f"{name}.jsonl").read_text().splitlines()]
    rows[-1] = rows[-1].replace('"c1"', '"tagged"')
    (tmp_path / "all.jsonl").write_text("\n".join(rows))
    done = call("run", "all.jsonl", "--out", "run", "--model", short_model_folder, "--skip-unusable", *QUICK)
    assert done.code == 0, done.err
    left_out = [
        ("cut-off", 2, "'answer': is empty"),
        ("no-thinking", 4, "'reasoning': is empty"),
        ("null-answer", 5, "'answer': Input should be a valid string"),
        ("tagged", 12, "'reasoning' holds '<think>': its thinking was not taken apart"),
        *((name, row, "has N tokens, but the model's context holds N") for name, row in LONG),
    ]
    run = open_run(tmp_path / "run")
    assert [(each.chain_id, each.row) for each in run.unusable] == [(name, row) for name, row, _ in left_out]
    for each, (*_, reason) in zip(run.unusable, left_out, strict=True):
        assert each.reason.startswith(reason)
    assert set(run.chains) == {"ok0", "ok1", "ok2", "c1", "c2"}
    assert "Left out: 7, named in run/unusable.jsonl" in done.out.splitlines()
    assert [line.split()[0] for line in done.out.splitlines() if line.startswith("  ")] == ["3", "1", "1", "1", "1"]
    assert "Left out: 7, named in run/unusable.jsonl" in call("status", "run").out
    # a chain that was repaired is no longer left out
    repaired = json.dumps(json.loads(rows[1]) | {"answer": "12"})
    (tmp_path / "all.jsonl").write_text(repaired)
    assert call("run", "all.jsonl", "--out", "run", "--model", short_model_folder, *QUICK).code == 0
    assert [each.chain_id for each in open_run(tmp_path / "run").unusable] == [name for name, *_ in left_out[1:]]


def test_if_nothing_can_be_used_there_is_no_run(
    call: Call, field_files: Path, short_model_folder: Path, tmp_path: Path
) -> None:
    file = field_files / "with_think_tags.jsonl"
    done = call("run", file, "--out", "run", "--model", short_model_folder, "--skip-unusable", *QUICK)
    assert done.code == 2
    assert done.err.startswith("error: none of the 1 chains can be used:\n  line 1: 'reasoning' of chain 'c1' holds '<think>' ")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["with_think_tags", "closing_tag_only", "answer_has_thinking"])
def test_run_refuses_transcripts_and_chains_makes_them_usable(
    call: Call, field_files: Path, name: str, short_model_folder: Path, tmp_path: Path
) -> None:
    file = field_files / f"{name}.jsonl"
    refused = call("run", file, "--out", "run", "--model", short_model_folder, *QUICK)
    assert refused.code == 2
    assert refused.err.count("\n") == 1
    command = f"reasoning-anatomy chains {file} --out chains.jsonl"
    assert command in refused.err
    assert call(*command.split()[1:]).code == 0
    assert call("run", "chains.jsonl", "--out", "run", "--model", short_model_folder, *QUICK).code == 0
    assert "think" not in "".join(open_run(tmp_path / "run").tokens()["text"])


def test_a_transcript_in_memory_is_refused_too(field_files: Path, tmp_path: Path) -> None:
    chain = ReasoningChain(chain_id="c", question_id="q", question="Q", reasoning="a</think>b", answer="b")
    with pytest.raises(ChainFileError, match="'reasoning' of chain 'c' holds '</think>' at character 1: "):
        measuring.measure([chain], out=tmp_path / "run")


def test_a_run_that_measured_transcripts_before_they_were_refused_is_still_read(
    make_planted_run: Callable[..., Run], tmp_path: Path
) -> None:
    chain = ReasoningChain(chain_id="c", question_id="q", question="Q", reasoning="a b </think> c", answer="c")
    assert make_planted_run(tmp_path / "run", [chain]).chains == {"c": chain}


def test_a_pipe_can_be_measured(call: Call, field_files: Path, short_model_folder: Path, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write((field_files / "int_ids.jsonl").read_bytes())
    done = call("run", f"/dev/fd/{reading}", "--out", "run", "--model", short_model_folder, *QUICK)
    os.close(reading)
    assert done.code == 0, done.err
    assert list(open_run(tmp_path / "run").chains) == ["17"]


SEVERAL_IDS = (
    "1 question with several question_ids, such as 'row-0', 'row-1', 'row-2' for 'A shelf has 3 rows of 4 jars. How many jars "
    "are there?': every id counts as a question of its own in all statistics; give all chains on one question the same id"
)
SEVERAL_QUESTIONS = (
    "1 question_id with several questions, such as '0' for '3 rows of 4 jars: how many?' and 'A dog walks 12 km in 2 h. How "
    "fast?': they count as one question in all statistics; give each its own id, unless they are variants of one question"
)


@pytest.mark.parametrize(
    ("name", "note"), [("same_question_twice", SEVERAL_IDS), ("one_id_two_questions", SEVERAL_QUESTIONS), ("int_ids", None)]
)
def test_ids_that_do_not_fit_the_questions_are_noted(field_files: Path, name: str, note: str | None) -> None:
    assert question_notes(read_chains(field_files / f"{name}.jsonl")) == ([note] if note else [])


def test_run_and_analyses_say_that_ids_decide_the_number_of_questions(
    call: Call, field_files: Path, short_model_folder: Path, tmp_path: Path
) -> None:
    file = field_files / "same_question_twice.jsonl"
    done = call("run", file, "--out", "run", "--model", short_model_folder, *QUICK)
    assert done.err.splitlines()[0] == f"note: {SEVERAL_IDS}"
    result = RankCorrelation(draws=99).analyse(open_run(tmp_path / "run"))
    assert result.warnings[0] == SEVERAL_IDS
    assert result.table["n_questions"].max() == 3


def test_a_run_says_if_a_mark_contradicts_the_answer(
    call: Call, field_files: Path, short_model_folder: Path, tmp_path: Path
) -> None:
    row = json.loads((field_files / "int_gold.jsonl").read_text(encoding="utf-8").splitlines()[0])
    file = tmp_path / "marked.jsonl"
    file.write_text(json.dumps({**row, "gold_answer": 12, "is_correct": False}) + "\n", encoding="utf-8")
    done = call("run", file, "--out", "run", "--model", short_model_folder, *QUICK)
    assert done.err.splitlines()[0] == (
        f"note: 1 chain with an is_correct that contradicts the answer, such as {row['chain_id']!r}: is_correct is false, but "
        "the answer '12' is correct for '12', by the rule 'identical'; correct whichever is wrong"
    )


def test_chains_added_to_a_run_are_compared_with_those_it_has(
    call: Call, field_files: Path, short_model_folder: Path, tmp_path: Path
) -> None:
    for number, line in enumerate((field_files / "one_id_two_questions.jsonl").read_text().splitlines()):
        (tmp_path / "one.jsonl").write_text(line)
        done = call("run", "one.jsonl", "--out", "run", "--model", short_model_folder, *QUICK)
        assert (f"note: {SEVERAL_QUESTIONS}" in done.err) is (number == 1)


def test_the_id_of_a_question_ignores_white_space_and_composition_alone() -> None:
    assert question_id_of("Caf\u00e9 \n 3?") == question_id_of("Cafe\u0301 3?") != question_id_of("caf\u00e9 3?")
