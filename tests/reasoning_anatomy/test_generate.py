"""Chains sampled into a file: resumed after any kill, added to, the same in any batch; here and through a server."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from reasoning_anatomy.chains import read_chain_file
from reasoning_anatomy.errors import ChainFileError, RunError, SampleError
from reasoning_anatomy.generation.chain_file import SampledChains, encoding_of_samples, release_options
from reasoning_anatomy.generation.completion import Completion, Sampling, sample_seed
from reasoning_anatomy.generation.generate import Sampled, generate
from reasoning_anatomy.generation.local import LocalModel
from reasoning_anatomy.generation.request import Request
from reasoning_anatomy.models.encoding import ChainEncoder, EncodingOptions
from reasoning_anatomy.models.loading import LoadedModel, load_model
from reasoning_anatomy.pipeline.measuring import measure
from reasoning_anatomy.problems import Problem

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SAMPLING = Sampling(temperature=1.0, max_tokens=6)
MODEL = {"name": "scripted"}
NEVER_CLOSED = "its thinking is never closed: it was cut off"
OPENS_THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)


def problem(question_id: str, question: str, gold_answer: str | None = None, **more: Any) -> Problem:
    return Problem(question_id=question_id, question=question, gold_answer=gold_answer, **more)


PROBLEMS = [problem(f"q{n}", f"What is {n} + 1?", str(n + 1)) for n in range(4)]


class Scripted:
    """A completer that answers from a script, in the opposite order, and remembers what it was asked."""

    def __init__(self, text: Callable[[Request], str | Completion | SampleError]) -> None:
        self.text, self.asked = text, list[str]()

    def complete(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Completion | SampleError]]:
        for request in reversed(list(requests)):
            self.asked.append(request.name)
            made = self.text(request)
            yield request, Completion(made, 7, "eos") if isinstance(made, str) else made


def solved(request: Request) -> str:
    n = int(request.question.split()[2])
    return f"We add {n} and 1.\nThe answer is {n + 1}."


def sampled(out: Path, text: Callable[[Request], Any] = solved, **options: Any) -> tuple[Sampled, list[str]]:
    completer = Scripted(text)
    given = {"sampling": SAMPLING, "instruction": "Think.", "model": MODEL} | options
    return generate(given.pop("problems", PROBLEMS), out=out, completer=completer, **given), completer.asked


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_row_has_the_chain_and_all_that_it_depends_on(tmp_path: Path) -> None:
    asked = problem("q7", "What is 7 + 1?", "8", system_prompt="Be brief.", source={"level": 3})
    result, _ = sampled(tmp_path / "chains.jsonl", problems=[asked])
    assert rows_of(result.path) == list(result.rows) == [
        {
            "chain_id": "q7-s0", "question_id": "q7", "question": "What is 7 + 1?\n\nThink.", "reasoning": "We add 7 and 1.",
            "answer": "The answer is 8.", "gold_answer": "8", "is_correct": True, "system_prompt": "Be brief.",
            "source": {
                "level": 3, "model": "scripted", "sample": 0, "seed": sample_seed(0, "q7", 0), "temperature": 1.0,
                "top_p": 0.95, "max_tokens": 6, "n_tokens": 7, "finish_reason": "eos", "verdict": "correct",
                "rule": "identical",
            },
        }
    ]  # fmt: skip
    assert read_chain_file(result.path).chains[0].source["seed"] == sample_seed(0, "q7", 0)


def test_rows_are_in_the_order_of_the_problems_and_samples_in_whatever_order_they_came(tmp_path: Path) -> None:
    result, asked = sampled(tmp_path / "chains.jsonl", samples=2)
    names = [f"q{n}-s{sample}" for n in range(4) for sample in range(2)]
    assert asked == names[::-1]
    assert [row["chain_id"] for row in rows_of(result.path)] == [row["chain_id"] for row in result.rows] == names


def test_what_is_there_is_not_made_again_and_samples_can_be_added(tmp_path: Path) -> None:
    out, at_once = tmp_path / "chains.jsonl", tmp_path / "at_once.jsonl"
    sampled(out, problems=PROBLEMS[:2])
    _, asked = sampled(out, samples=3)
    assert sorted(asked) == sorted(f"q{n}-s{s}" for n in range(4) for s in range(3) if not (n < 2 and s == 0))
    sampled(at_once, samples=3)
    assert out.read_bytes() == at_once.read_bytes()
    assert sampled(out, samples=3)[1] == []
    assert sampled(out, problems=PROBLEMS[:1])[1] == []
    assert sorted(row["chain_id"] for row in rows_of(out)) == sorted(row["chain_id"] for row in rows_of(at_once))


@pytest.mark.parametrize("torn", [b'{"chain_id": "q1-s', '{"question": "\u00bd'.encode()[:-1], b"{}"])
def test_a_line_that_a_kill_left_half_written_is_made_again(tmp_path: Path, torn: bytes) -> None:
    out = tmp_path / "chains.jsonl"
    result, _ = sampled(out)
    whole = out.read_bytes()
    lines = whole.splitlines(keepends=True)
    out.write_bytes(b"".join(lines[:2]) + torn)
    _, asked = sampled(out)
    assert sorted(asked) == ["q2-s0", "q3-s0"]
    assert out.read_bytes() == whole
    assert len(result.rows) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampling": Sampling(temperature=0.7, max_tokens=6)}, "with other options (sampling: "),
        ({"instruction": "Hurry."}, "with other options (instruction: 'Think.' in the file, 'Hurry.' now); use the same"),
        ({"model": {"name": "another"}}, "with other options (model: "),
        ({"problems": [problem("q1", "What is 9 + 1?", "10")]}, "q1-s0 was sampled from another text of the problem 'q1'"),
        (
            {"problems": [problem("q1", "What is 1 + 1?", "2", system_prompt="Be brief.")]},
            "q1-s0 was sampled from another text of the problem 'q1'",
        ),
    ],
)
def test_other_options_or_questions_are_refused_by_name(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    out = tmp_path / "chains.jsonl"
    sampled(out)
    before = out.read_bytes()
    with pytest.raises(RunError) as error:
        sampled(out, **options)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{out}: ")
    assert out.read_bytes() == before


def test_options_with_which_nothing_was_made_bind_nobody(tmp_path: Path) -> None:
    out = tmp_path / "chains.jsonl"
    failed, _ = sampled(out, lambda request: SampleError(request.name, "the server is down"))
    assert failed.rows == ()
    assert failed.failed == {f"q{n}-s0": "the server is down" for n in range(4)}
    result, asked = sampled(out, instruction="Hurry.")
    assert len(asked) == len(result.rows) == 4
    assert result.failed == {}


def test_options_bind_workers_before_anything_is_made(tmp_path: Path) -> None:
    out = tmp_path / "chains.jsonl"
    sampled(out, problems=[], bound=True)
    with pytest.raises(RunError, match=r"with other options \(model: "):
        sampled(out, model={"name": "another"}, bound=True)
    release_options(out)
    result, _ = sampled(out, model={"name": "another"}, bound=True)
    assert len(result.rows) == 4


def test_a_file_of_someone_else_is_not_added_to(tmp_path: Path) -> None:
    out = tmp_path / "notes.jsonl"
    out.write_text('{"note": 1}\n')
    with pytest.raises(RunError, match="holds something already that was not sampled here"):
        sampled(out)
    assert out.read_text() == '{"note": 1}\n'
    assert not out.with_name("notes.jsonl.options.json").exists()


@pytest.mark.parametrize("damage", ["not json\n", '{"question_id": "q"}\n', "[1]\n"])
def test_a_damaged_file_is_named_and_left_alone(tmp_path: Path, damage: str) -> None:
    out = tmp_path / "chains.jsonl"
    sampled(out)
    out.write_text(damage)
    with pytest.raises(RunError, match=r"chains\.jsonl: cannot be read"):
        sampled(out)
    assert out.read_text() == damage


def test_two_processes_do_not_add_to_one_file(tmp_path: Path) -> None:
    out = tmp_path / "chains.jsonl"
    with SampledChains(out, {}), pytest.raises(RunError, match="another process is adding to it"), SampledChains(out, {}):
        pass
    sampled(tmp_path / "other.jsonl")


def test_until_correct_stops_for_each_problem_at_its_first_correct_sample(tmp_path: Path) -> None:
    first_correct = {"q0": 0, "q1": 2, "q2": 9, "q3": 1}

    def text(request: Request) -> str:
        question_id, _, number = request.name.partition("-s")
        return solved(request) if int(number) >= first_correct[question_id] else "I guess.\nThe answer is 77."

    out = tmp_path / "chains.jsonl"
    _, asked = sampled(out, text, samples=3, until_correct=True)
    assert sorted(asked) == ["q0-s0", "q1-s0", "q1-s1", "q1-s2", "q2-s0", "q2-s1", "q2-s2", "q3-s0", "q3-s1"]
    assert [row["chain_id"] for row in rows_of(out)] == sorted(asked)
    assert [row["chain_id"] for row in rows_of(out) if row["is_correct"]] == ["q0-s0", "q1-s2", "q3-s1"]
    assert sampled(out, text, samples=3, until_correct=True)[1] == []
    assert sampled(out, text, samples=4, until_correct=True)[1] == ["q2-s3"]


@pytest.mark.parametrize("before", [{}, {"gold_answer": "77"}, {"gold_answer": "no number"}], ids=["none", "wrong", "text"])
@pytest.mark.parametrize("opened", ["", "<think>"])
def test_rows_are_judged_again_by_a_corrected_gold_answer_as_if_sampled_with_it(
    tmp_path: Path, before: dict[str, str], opened: str
) -> None:
    written = [
        "We add.\nThe answer is 2.", "We add.\n2", "We add. So \\boxed{2}. Done.\nReally.", "2", "The answer is 3.", "",
        "We add</think>2", "We say 3. The answer is 3.</think>So 2.", "<think>We add</think>\\boxed{2}", "<think></think>2",
        Completion("<think>We add", 5, "length"), Completion("We add 2", 5, "length"), Completion("It is 2", 5, "loop"),
        Completion("We add</think>", 5, "think_closed"), Completion("\\boxed{2}", 5, "eos", reasoning="We add"),
        Completion("", 5, "length", reasoning="We add"), Completion("2", 5, "eos", draws_from_all_tokens=False),
    ]  # fmt: skip
    names = [f"p{number}" for number in range(len(written))]

    def problems(**gold: str) -> list[Problem]:
        return [problem(name, "What is 1 + 1?", system_prompt="Be brief.", source={"level": 3}, **gold) for name in names]

    def text(request: Request) -> str | Completion:
        return written[int(request.name.removeprefix("p").removesuffix("-s0"))]

    out, fresh = tmp_path / "chains.jsonl", tmp_path / "fresh.jsonl"
    sampled(out, text, problems=problems(**before), opened=opened)
    result, asked = sampled(out, text, problems=problems(gold_answer="2"), opened=opened)
    sampled(fresh, text, problems=problems(gold_answer="2"), opened=opened)
    assert (asked, result.n_judged_again) == ([], len(written))
    for found, expected in zip(rows_of(out), rows_of(fresh), strict=True):
        assert found == expected
    assert [list(row) for row in rows_of(out)] == [list(row) for row in rows_of(fresh)]
    assert len({row["source"]["verdict"] for row in rows_of(out)}) == 3
    again, _ = sampled(out, text, problems=problems(), opened=opened)
    assert (again.n_judged_again, rows_of(out)) == (0, rows_of(fresh))  # nothing that is known is forgotten


def test_a_problem_that_only_seemed_to_be_solved_is_sampled_further(tmp_path: Path) -> None:
    out = tmp_path / "chains.jsonl"
    wrong = [problem("q1", "What is 1 + 1?", "77")]
    guess = lambda request: "I guess.\nThe answer is 77." if request.name.endswith("s0") else solved(request)  # noqa: E731
    assert sampled(out, guess, problems=wrong, samples=3, until_correct=True)[1] == ["q1-s0"]
    assert sampled(out, guess, problems=PROBLEMS[1:2], samples=3, until_correct=True)[1] == ["q1-s1"]
    assert [row["is_correct"] for row in rows_of(out)] == [False, True]


def test_until_correct_needs_gold_answers(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="problem 'q9' has no gold answer"):
        sampled(tmp_path / "chains.jsonl", problems=[problem("q9", "Why?")], until_correct=True)
    with pytest.raises(RunError, match="samples is 0; give 1 or more"):
        sampled(tmp_path / "chains.jsonl", samples=0)


@pytest.mark.parametrize(
    ("completion", "opened", "expected"),
    [
        # reasoning, answer, verdict, unusable
        (Completion("a b\nThe answer is 2.", 5, "eos"), "", ("a b", "The answer is 2.", "correct", None)),
        (Completion("a b\nThe answer is 3.", 5, "eos"), "", ("a b", "The answer is 3.", "wrong", None)),
        (Completion("The answer is 2.", 5, "eos"), "", ("", "The answer is 2.", "correct", "the reasoning is empty")),
        (Completion("", 1, "eos"), "", ("", "", "undecided", "the reasoning is empty")),
        (Completion("1 and 1</think>So 2.", 5, "eos"), "<think>", ("1 and 1", "So 2.", None, None)),
        (Completion("<think>1 and 1</think>\\boxed{2}", 5, "eos"), "", ("1 and 1", "\\boxed{2}", "correct", None)),
        (Completion("<think>1 and 1", 5, "length"), "", ("1 and 1", "", "wrong", NEVER_CLOSED)),
        (Completion("1 and 1", 5, "length"), "<think>", ("1 and 1", "", "wrong", NEVER_CLOSED)),
        (Completion("1 and 1</think>", 5, "think_closed"), "<think>", ("1 and 1", "", None, "the answer is empty")),
        (Completion("\\boxed{2}", 5, "eos", reasoning="1 and 1"), "", ("1 and 1", "\\boxed{2}", "correct", None)),
        (Completion("", 5, "length", reasoning="1 and 1"), "", ("1 and 1", "", "wrong", "the answer is empty")),
    ],
    ids=[
        "plain", "wrong", "at once", "nothing", "opened", "opens", "cut off", "opened and cut off", "closed", "apart",
        "apart and cut off",
    ],
)  # fmt: skip
def test_whatever_a_model_wrote_is_kept_and_marked(
    tmp_path: Path, completion: Completion, opened: str, expected: tuple[str, str, str | None, str | None]
) -> None:
    result, _ = sampled(tmp_path / "chains.jsonl", lambda _: completion, problems=PROBLEMS[1:2], opened=opened)
    [row] = rows_of(result.path)
    reasoning, answer, verdict, unusable = expected
    assert (row["reasoning"], row["answer"], row["source"].get("unusable")) == (reasoning, answer, unusable)
    assert row["source"]["finish_reason"] == completion.finish_reason
    if verdict is not None:
        assert row["source"]["verdict"] == verdict
        assert row.get("is_correct") == {"correct": True, "wrong": False, "undecided": None}[verdict]


def test_marked_rows_are_named_by_what_measures_chains_and_left_out_on_request(tmp_path: Path, tiny_model_folder: Path) -> None:
    def text(request: Request) -> str:
        return "<think>on and on" if request.name == "q2-s0" else solved(request)

    result, _ = sampled(tmp_path / "chains.jsonl", text)
    assert result.counts()["unusable"] == {NEVER_CLOSED: 1}
    options: dict[str, Any] = {"model": str(tiny_model_folder), "scorers": (), "strategies": ()}
    with pytest.raises(ChainFileError, match=r"chains\.jsonl, line 3"):
        measure(result.path, out=tmp_path / "run", **options)
    run = measure(result.path, out=tmp_path / "run", skip_unusable=True, **options)
    assert list(run.chains) == ["q0-s0", "q1-s0", "q3-s0"]
    assert [each.chain_id for each in run.unusable] == ["q2-s0"]


def test_the_day_of_the_prompts_is_that_on_which_the_file_was_begun(tmp_path: Path) -> None:
    out = tmp_path / "chains.jsonl"
    assert encoding_of_samples(out) == EncodingOptions()
    sampled(out, model={"name": "m", "date": "2026-01-05", "template_variables": ["a=1"]})
    assert encoding_of_samples(out) == EncodingOptions(date="2026-01-05", template_variables=("a=1",))
    out.with_name("chains.jsonl.options.json").write_text("{")
    assert encoding_of_samples(out) == EncodingOptions()
    with pytest.raises(RunError, match=r"options\.json: cannot be read"):
        sampled(out, model={"name": "m"})


@pytest.fixture(scope="module")
def tiny(tiny_model_folder: Path) -> LoadedModel:
    return load_model(str(tiny_model_folder))


def local(loaded: LoadedModel, *, n_rows: int | None = None, **options: Any) -> LocalModel:
    encoder = ChainEncoder(loaded.tokenizer, EncodingOptions(), context_length=loaded.context_length)
    return LocalModel(loaded=loaded, encoder=encoder, n_rows=n_rows, **options)


def sampled_here(out: Path, completer: LocalModel, **options: Any) -> Sampled:
    given = {"problems": PROBLEMS, "samples": 3, "sampling": SAMPLING, "opened": completer.encoder.opened_thinking} | options
    return generate(given.pop("problems"), out=out, completer=completer, model=completer.identity(), **given)


def test_a_sample_depends_on_its_problem_and_number_alone(tmp_path: Path, tiny: LoadedModel) -> None:
    rows = {row["chain_id"]: row for row in sampled_here(tmp_path / "a.jsonl", local(tiny)).rows}
    assert len({row["reasoning"] + row["answer"] for row in rows.values()}) == 12
    others = sampled_here(tmp_path / "b.jsonl", local(tiny, n_rows=2), problems=PROBLEMS[::-1], samples=2).rows
    alone = sampled_here(tmp_path / "c.jsonl", local(tiny, n_rows=1), problems=PROBLEMS[2:3], samples=1).rows
    assert [row["chain_id"] for row in others] == [f"q{n}-s{sample}" for n in (3, 2, 1, 0) for sample in (0, 1)]
    assert all(rows[row["chain_id"]] == row for row in [*others, *alone])
    another = sampled_here(tmp_path / "d.jsonl", local(tiny), sampling=Sampling(temperature=1.0, max_tokens=6, seed=1)).rows
    assert not any(rows[row["chain_id"]]["answer"] == row["answer"] for row in another)


def test_a_question_that_does_not_fit_the_context_fails_alone(tmp_path: Path, tiny: LoadedModel) -> None:
    long = problem("long", "word " * 600)
    result = sampled_here(tmp_path / "a.jsonl", local(tiny), problems=[PROBLEMS[0], long], samples=1)
    assert [row["chain_id"] for row in result.rows] == ["q0-s0"]
    assert "model's context holds 512" in result.failed["long-s0"]


def test_logits_that_are_not_numbers_fail_their_sample_alone(
    tmp_path: Path, tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [*PROBLEMS[:2], problem("long", "What is " + "1 + " * 40 + "1?", "41")]
    whole = sampled_here(tmp_path / "whole.jsonl", local(tiny), problems=asked)
    n_prompt, forward = len(local(tiny).encoder.prompt(whole.rows[-1]["question"], None, owner="-")), tiny.model.forward

    def broken(*arguments: Any, **options: Any) -> Any:
        output = forward(*arguments, **options)
        if (positions := options.get("position_ids")) is not None:
            output.logits[(positions > n_prompt).any(dim=1)] = np.nan
        return output

    monkeypatch.setattr(tiny.model, "forward", broken)
    result = sampled_here(tmp_path / "a.jsonl", local(tiny), problems=asked)
    assert result.rows == whole.rows[:6]
    assert list(result.failed) == ["long-s0", "long-s1", "long-s2"]
    assert {reason.partition(" in float32")[0] for reason in result.failed.values()} == {
        "the model gives logits that are not finite numbers"
    }


def test_a_sample_ends_at_the_end_of_the_context(tmp_path: Path, tiny: LoadedModel) -> None:
    sampling = Sampling(temperature=1.0, max_tokens=10_000)
    result = sampled_here(
        tmp_path / "a.jsonl", local(tiny), problems=[problem("q", "word " * 420)], samples=1, sampling=sampling
    )
    [row] = result.rows
    assert row["source"]["finish_reason"] == "length"
    assert 0 < row["source"]["n_tokens"] < 92


def test_if_memory_runs_out_fewer_samples_are_written_at_a_time(
    tmp_path: Path, tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = sampled_here(tmp_path / "a.jsonl", local(tiny)).rows
    forward = tiny.model.forward
    widths = []

    def limited(*arguments: Any, **options: Any) -> Any:
        widths.append(len(options["input_ids"]))
        if len(options["input_ids"]) > 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return forward(*arguments, **options)

    monkeypatch.setattr(tiny.model, "forward", limited)
    completer = local(tiny, n_rows=12)
    assert sampled_here(tmp_path / "b.jsonl", completer).rows == expected
    assert completer.n_rows == 3
    assert max(widths) > 3


@pytest.fixture(scope="module")
def thinking(tiny: LoadedModel, tokenizer: "PreTrainedTokenizerBase") -> LoadedModel:
    """The tiny model with a template that opens the thinking and tokens for its tags."""
    import copy

    own = copy.deepcopy(tokenizer)
    own.add_special_tokens({"additional_special_tokens": ["<think>", "</think>"]}, replace_extra_special_tokens=False)
    own.chat_template = OPENS_THINKING
    model = copy.deepcopy(tiny.model)
    model.resize_token_embeddings(len(own), mean_resizing=False)
    return LoadedModel(model, own, "thinking")


def test_the_tag_that_a_prompt_opens_belongs_to_the_sample(tmp_path: Path, thinking: LoadedModel) -> None:
    completer = local(thinking)
    assert completer.encoder.opened_thinking == "<think>"
    rows = sampled_here(tmp_path / "a.jsonl", completer, problems=PROBLEMS[:2]).rows
    assert {row["source"]["finish_reason"] for row in rows} == {"length"}
    assert {row["source"]["unusable"] for row in rows} == {NEVER_CLOSED}
    assert {row["source"]["verdict"] for row in rows} == {"wrong"}
    assert all(row["reasoning"] and not row["answer"] for row in rows)


def test_a_sample_can_end_where_the_model_closes_its_thinking(
    tmp_path: Path, thinking: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reasoning_anatomy.generation import local as module

    ids = thinking.tokenizer.encode("a b</think>c d e f g", add_special_tokens=False)
    scripted = lambda sampling: lambda logits, samples: np.array([ids[len(sample.ids)] for sample in samples])  # noqa: E731
    monkeypatch.setattr(module, "sampler", scripted)
    rows = sampled_here(tmp_path / "a.jsonl", local(thinking, ends_with_thinking=True), problems=PROBLEMS[:1]).rows
    assert {row["source"]["finish_reason"] for row in rows} == {"think_closed"}
    assert {(row["reasoning"], row["answer"], row["source"]["n_tokens"]) for row in rows} == {("a b", "", 3)}
    whole = sampled_here(tmp_path / "b.jsonl", local(thinking), problems=PROBLEMS[:1]).rows
    assert {(row["reasoning"], row["answer"].replace(" ", "")) for row in whole} == {("a b", "cde")}


def test_a_stop_string_ends_a_sample_and_is_cut_off(tmp_path: Path, tiny: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    from reasoning_anatomy.generation import local as module

    ids = tiny.tokenizer.encode("one\ntwo STOPPING now and on", add_special_tokens=False)
    assert len(tiny.tokenizer.encode("STOPPIN", add_special_tokens=False)) > 1
    scripted = lambda sampling: lambda logits, samples: np.array([ids[len(sample.ids)] for sample in samples])  # noqa: E731
    monkeypatch.setattr(module, "sampler", scripted)
    sampling = Sampling(max_tokens=20, stop=(" STOPPIN", "and"))
    [row] = sampled_here(tmp_path / "a.jsonl", local(tiny), problems=PROBLEMS[:1], samples=1, sampling=sampling).rows
    assert (row["source"]["finish_reason"], row["reasoning"], row["answer"]) == ("stop_string", "one", "two")


def test_the_bundled_model_writes_what_generate_writes(tmp_path: Path, smollm2: LoadedModel) -> None:
    """Greedily, questions of several lengths together, with the end of the turn that its files name."""
    import torch

    asked = [problem(f"q{n}", question) for n, question in enumerate(["Say hi.", "What is 2 + 2? Be brief.", "Name a colour."])]
    completer = local(smollm2)
    rows = sampled_here(
        tmp_path / "a.jsonl",
        completer,
        problems=asked,
        samples=1,
        instruction="",
        sampling=Sampling(temperature=0, max_tokens=16),
    ).rows
    for row, each in zip(rows, asked, strict=True):
        ids = torch.tensor(completer.encoder.prompt(each.question, None, owner="q"))[None]
        output = smollm2.model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=16)
        written = output[0, ids.shape[1] :].tolist()
        assert row["source"]["n_tokens"] == len(written)
        assert row["source"]["finish_reason"] == ("eos" if written[-1] == smollm2.tokenizer.eos_token_id else "length")
        text = smollm2.tokenizer.decode(written, skip_special_tokens=True)
        assert "".join(f"{row['reasoning']}{row['answer']}".split()) == "".join(text.split())


KILLED = """
import sys, time
from pathlib import Path
from reasoning_anatomy.generation import chain_file
from reasoning_anatomy.generation.generate import generate
sys.path.insert(0, sys.argv[2])
from killed_completer import PROBLEMS, SAMPLING, SlowlyWritten
generate(PROBLEMS, out=sys.argv[1], completer=SlowlyWritten(), model={"name": "m"}, samples=3, sampling=SAMPLING)
"""
COMPLETER = """
import time
from reasoning_anatomy.generation.completion import Completion, Sampling
from reasoning_anatomy.problems import Problem

SAMPLING = Sampling()
PROBLEMS = [Problem(question_id=f"q{n}", question=f"What is {n} + 1?", gold_answer=str(n + 1)) for n in range(6)]


class SlowlyWritten:
    def complete(self, requests):
        for request in requests:
            time.sleep(0.02)
            yield request, Completion(f"We think {request.seed}.\\nThe answer is {request.seed % 5}.", 9, "eos")
"""


@pytest.mark.slow
def test_a_killed_process_is_finished_to_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "killed_completer.py").write_text(COMPLETER)
    whole, killed = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    command = [sys.executable, "-c", KILLED]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*command, str(whole), str(tmp_path)], check=True, env=environment)
    process = subprocess.Popen([*command, str(killed), str(tmp_path)], env=environment)
    deadline = time.monotonic() + 60
    while not (killed.exists() and killed.read_bytes().count(b"\n") >= 5):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 5 <= killed.read_bytes().count(b"\n") < 18
    subprocess.run([*command, str(killed), str(tmp_path)], check=True, env=environment)
    assert killed.read_bytes() == whole.read_bytes()


def test_a_server_fills_the_same_file(tmp_path: Path, server: Any) -> None:
    from reasoning_anatomy.generation.server import ServedModel

    def reply(request: dict[str, Any]) -> Any:
        body = {
            "choices": [{"message": {"content": f"Adding.\n\\boxed{{{request['seed'] % 3}}}"}, "finish_reason": "stop"}],
            "usage": {"completion_tokens": 4},
        }
        return 200, {}, json.dumps(body).encode()

    server.replies = [reply]
    served = ServedModel(url=server.url, model="m")
    result = generate(PROBLEMS, out=tmp_path / "a.jsonl", completer=served, model={"name": "m"}, samples=2, sampling=SAMPLING)
    assert [row["chain_id"] for row in result.rows] == [f"q{n}-s{sample}" for n in range(4) for sample in range(2)]
    assert {request["seed"] for request in server.requests} == {row["source"]["seed"] % 2**31 for row in result.rows}
    assert len(read_chain_file(result.path).chains) == 8


def test_samples_of_a_server_that_narrows_draws_are_marked_and_the_command_says_so(
    tmp_path: Path, server: Any, call: Callable[..., Any]
) -> None:
    def strict(request: dict[str, Any]) -> Any:
        if unknown := {"top_k", "generation_config"} & request.keys():
            return 400, {}, f"unknown: {unknown}".encode()
        body = {
            "choices": [{"message": {"content": "We add.\nThe answer is 2."}, "finish_reason": "stop"}],
            "usage": {"completion_tokens": 4},
        }
        return 200, {}, json.dumps(body).encode()

    server.replies = [strict]
    (tmp_path / "problems.jsonl").write_text('{"id": "p", "question": "What is 1 + 1?", "answer": "3"}\n')
    command = ["generate", "problems.jsonl", "--out", "chains.jsonl", "--url", server.url, "--model", "org/name"]
    note = "so defaults of its own held, too, in 1 samples, marked in the file"
    done = call(*command)
    assert (done.code, note in done.out) == (0, True)
    assert "Verdict: wrong 1" in done.out
    assert (
        "Next: reasoning-anatomy sweep runs/chains --chains chains.jsonl --strategies step_percentile --model org/name"
        in done.out
    )
    [row] = rows_of(tmp_path / "chains.jsonl")
    assert row["source"]["draws_from_all_tokens"] is False
    (tmp_path / "problems.jsonl").write_text('{"id": "p", "question": "What is 1 + 1?", "answer": "2"}\n')
    server.replies = []
    done = call(*command)
    assert (done.code, note in done.out) == (0, True)
    assert "Judged again: 1 chains, whose problem has another gold answer now" in done.out
    assert "Verdict: correct 1" in done.out
