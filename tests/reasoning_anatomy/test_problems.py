"""Files of problems: the keys that the field uses, mistakes that are all named at once, and what is not guessed."""

import gzip
import io
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError

from reasoning_anatomy.errors import ProblemFileError
from reasoning_anatomy.problems import Problem, read_problem_file, read_problems
from reasoning_anatomy.questions import question_id_of

ROW = {"id": "p1", "question": "3 rows of 4 jars?", "answer": "12"}
PROBLEM = Problem(question_id="p1", question="3 rows of 4 jars?", gold_answer="12")
OPTIONS = ["7", "12", "3"]


def written(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(tmp_path: Path, **fields: Any) -> Problem:
    """The problem of a row; None leaves a field out."""
    row = {key: value for key, value in (ROW | fields).items() if value is not None}
    [problem] = read_problems(written(tmp_path / "problems.jsonl", row))
    return problem


def refusal(tmp_path: Path, *rows: Any) -> str:
    path = written(tmp_path / "problems.jsonl", *rows)
    with pytest.raises(ProblemFileError) as error:
        read_problems(path)
    return str(error.value).removeprefix(str(path))


@pytest.mark.parametrize("key", ["id", "question_id", "problem_id", "unique_id", "ID"])
def test_ids_are_read_from_the_keys_of_the_field(tmp_path: Path, key: str) -> None:
    assert read(tmp_path, **{"id": None, key: "test/algebra/1.json"}).question_id == "test/algebra/1.json"
    assert read(tmp_path, **{"id": None, key: 17}).question_id == "17"


@pytest.mark.parametrize("key", ["question", "problem", "prompt", "Problem"])
def test_questions_are_read_from_the_keys_of_the_field(tmp_path: Path, key: str) -> None:
    assert read(tmp_path, **{"question": None, key: " 3 rows of 4 jars?\n"}) == PROBLEM


@pytest.mark.parametrize("key", ["answer", "gold_answer", "final_answer", "expected_answer", "Answer"])
@pytest.mark.parametrize(
    ("value", "gold"),
    [
        ("12", "12"),
        (12, "12"),
        (12.0, "12"),
        ("\\frac{1}{2}", "\\frac{1}{2}"),
        ("3*4=<<3*4=12>>12 jars.\n#### 12", "12"),
        ("", None),
    ],
)
def test_answers_are_read_from_the_keys_of_the_field(tmp_path: Path, key: str, value: Any, gold: str | None) -> None:
    assert read(tmp_path, **{"answer": None, key: value}).gold_answer == gold


def test_a_key_that_says_gold_goes_before_one_that_may_hold_a_solution(tmp_path: Path) -> None:
    assert read(tmp_path, answer="Three rows of four are 12.", final_answer="12").gold_answer == "12"
    assert read(tmp_path, answer="13", gold_answer="12").gold_answer == "12"


def test_a_problem_needs_no_answer(tmp_path: Path) -> None:
    assert read(tmp_path, answer=None).gold_answer is None


@pytest.mark.parametrize("key", ["system_prompt", "system"])
def test_a_system_prompt_and_small_facts_are_kept(tmp_path: Path, key: str) -> None:
    problem = read(tmp_path, **{key: "Be brief.", "level": 3, "subject": "Algebra", "cot": "x" * 500})
    assert problem.system_prompt == "Be brief."
    assert problem.source == {"level": 3, "subject": "Algebra"}


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ({"answer": "B"}, "B"),
        ({"answer": "(b)"}, "B"),
        ({"answer": "B."}, "B"),
        ({"answer": "12"}, "B"),  # the text of an option
        ({"answer": "B", "answer_index": 1}, "B"),
        ({"answer_index": 1}, "B"),
        ({}, None),
    ],
)
@pytest.mark.parametrize("key", ["options", "choices"])
def test_options_stand_below_the_question_and_the_answer_is_a_letter(
    tmp_path: Path, answer: Mapping[str, Any], letter: str | None, key: str
) -> None:
    problem = read(tmp_path, **{"answer": None, key: OPTIONS} | answer)
    assert problem.question == "3 rows of 4 jars?\n(A) 7\n(B) 12\n(C) 3"
    assert problem.gold_answer == letter


@pytest.mark.parametrize(
    "answer", [{"answer": "D"}, {"answer": 1}, {"answer": "13"}, {"answer": "A", "answer_index": 1}, {"answer_index": 3}]
)
def test_an_answer_that_is_not_one_of_the_options_is_not_guessed(tmp_path: Path, answer: Mapping[str, Any]) -> None:
    message = refusal(tmp_path, {"id": "p1", "question": "?", "options": OPTIONS} | answer)
    assert "expected the letter of one of its 3 options: one of A, B, C" in message


def test_options_that_are_letters_themselves_are_not_guessed(tmp_path: Path) -> None:
    message = refusal(tmp_path, {"id": "p1", "question": "?", "options": ["B", "A"], "answer": "A"})
    assert 'its answer is "A", expected the letter of one of its 2 options' in message


def test_a_row_of_mmlu_pro_is_read(tmp_path: Path) -> None:
    row = {"question_id": 70, "question": "How many?", "options": OPTIONS, "answer": "B", "answer_index": 1,
           "cot_content": "", "category": "math", "src": "test"}  # fmt: skip
    [problem] = read_problems(written(tmp_path / "p.jsonl", row))
    assert (problem.question_id, problem.gold_answer) == ("70", "B")
    assert problem.question == "How many?\n(A) 7\n(B) 12\n(C) 3"
    assert problem.source == {"category": "math", "src": "test"}


def test_problems_without_ids_are_named_after_their_text_and_that_is_said(tmp_path: Path) -> None:
    rows = [{"question": "3 rows of 4 jars?", "answer": "12"}, {"question": "And 5 rows?", "answer": "20"}]
    file = read_problem_file(written(tmp_path / "problems.jsonl", *rows))
    assert [problem.question_id for problem in file.problems] == [question_id_of(row["question"]) for row in rows]
    [note] = file.notes
    assert note.startswith("2 of 2 problems have no id: each is named after its text, such as 'question-")
    assert read_problem_file(written(tmp_path / "problems.jsonl", ROW)).notes == ()


def test_what_a_model_answered_is_not_taken_for_the_correct_answer(tmp_path: Path) -> None:
    chain = {"chain_id": "c", "question_id": "q", "question": "3 rows of 4 jars?", "reasoning": "3 + 4 = 7.", "answer": "7"}
    file = read_problem_file(written(tmp_path / "chains.jsonl", chain))
    assert file.problems == (Problem(question_id="q", question="3 rows of 4 jars?"),)
    assert file.notes[0].startswith("1 of 1 problems are chains: 'answer' is what a model answered")
    assert read_problems(written(tmp_path / "chains.jsonl", chain | {"gold_answer": 12}))[0].gold_answer == "12"


@pytest.mark.parametrize("form", ["jsonl", "list", "csv", "parquet", "gzip"])
def test_any_form_of_table_is_read(tmp_path: Path, form: str) -> None:
    path, other = tmp_path / "problems", ROW | {"id": "p2", "answer": "20"}
    content = {
        "jsonl": f"\n{json.dumps(ROW)}\r\n\n{json.dumps(other)}\n".encode(),
        "list": json.dumps([ROW, other], indent=1).encode(),
        "csv": b"id,question,answer\np1,3 rows of 4 jars?,12\np2,3 rows of 4 jars?,20\n",
        "parquet": pd.DataFrame([ROW, other]).to_parquet(),
        "gzip": gzip.compress(f"{json.dumps(ROW)}\n{json.dumps(other)}\n".encode()),
    }[form]
    path.write_bytes(content)
    assert read_problems(path) == [PROBLEM, PROBLEM.model_copy(update={"question_id": "p2", "gold_answer": "20"})]


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(ROW).encode())))
    assert read_problems("-") == [PROBLEM]


def test_all_mistakes_are_named_at_once_with_row_value_and_remedy(tmp_path: Path) -> None:
    message = refusal(
        tmp_path,
        ROW,
        ROW | {"question": "Another?"},
        {"id": "p3", "text": "?"},
        ROW | {"id": "p4", "answer": 4.5},
        ROW | {"id": "p5", "question": "What is 3 * 4?\n<think>\n"},
        ROW | {"id": "p6", "question": "  "},
        [1],
        ROW | {"id": "p8", "question": "\ud83d"},
        ROW | {"id": "p9", "options": []},  # as good as none
    )
    assert message.startswith(": 7 of 9 problems cannot be used; repair them:\n")
    assert message.splitlines()[1:] == [
        "  row 2: its id 'p1' is also that of row 1; give each problem its own, or leave one of them out",
        "  row 3: has no question (its keys: id, text); put it into one of question, problem, prompt",
        "  row 4: 'answer' is a number with a fraction: write it as text",
        "  row 5: its question holds '<think>': it is a prompt with the chat template around it, or a transcript; give the "
        "question alone, since the template is added here",
        "  row 6: 'question' is \"\": is empty",
        "  row 7: is [1], expected an object with 'question' and 'answer'",
        "  row 8: 'question' is \"\\ud83d\": holds half of a surrogate pair, which no tokenizer can read; repair the text",
    ]


def test_a_line_that_is_not_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "problems.jsonl"
    path.write_text(f'{json.dumps(ROW)}\n{{"id": \n')
    with pytest.raises(
        ProblemFileError, match=re.escape(f"{path}: 1 of 2 problems cannot be used; repair them:\n  row 2: is not JSON")
    ):
        read_problems(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file or directory; give a JSONL file of problems"),
        (b"", "is empty; give a file with rows"),
        (b"[]", "holds no problem; expected one JSON object a line with 'question' and 'answer'"),
        (b"\x1f\x8bxx", "cannot be unzipped"),
        (b"\xff\xfe", "is not UTF-8"),
    ],
)
def test_a_file_that_holds_no_problems_is_one_clear_error(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "problems.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ProblemFileError, match=re.escape(f"{path}: {words}")):
        read_problems(path)


@pytest.mark.parametrize("name", ["int_ids.jsonl", "int_gold.jsonl", "scripts.jsonl", "ds_gsm8k.jsonl", "ds_openr1.jsonl"])
def test_files_as_people_have_them_are_read(field_files: Path, name: str) -> None:
    problems = read_problems(field_files / name)
    assert len(problems) == len((field_files / name).read_text(encoding="utf-8").splitlines())
    known = {"int_ids.jsonl": "12", "int_gold.jsonl": "12", "ds_gsm8k.jsonl": "12", "ds_openr1.jsonl": "12"}
    assert problems[0].gold_answer == known.get(name)


def test_two_questions_with_one_id_are_an_error(field_files: Path) -> None:
    with pytest.raises(ProblemFileError, match="row 2: its id '0' is also that of row 1"):
        read_problems(field_files / "one_id_two_questions.jsonl")


@pytest.mark.parametrize("fields", [{"question": " "}, {"gold_answer": ""}, {"question_id": ""}, {"seed": 3}, {"question": 3}])
def test_a_problem_is_checked_when_it_is_made(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Problem.model_validate({"question_id": "q", "question": "?"} | fields)
