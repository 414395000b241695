"""From the files of the field to chains: told, converted, or left out with a reason."""

import gzip
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reasoning_anatomy.chains import read_chains
from reasoning_anatomy.conversion import convert_files
from reasoning_anatomy.errors import ChainFileError, PluginError
from reasoning_anatomy.plugins import available
from reasoning_anatomy.types import ReasoningChain

Call = Callable[..., Any]
Write = Callable[..., Path]
THOUGHT, ASKED = "<think>\n3 * 4 = 12.\n</think>\n\n12", [{"role": "user", "content": "What is 3 * 4?"}]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write rows to a file of JSON lines."""

    def to(name: str, *rows: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return to


def facts(chain: ReasoningChain) -> tuple[str, str, str, str | None, bool | None]:
    return chain.question, chain.reasoning, chain.answer, chain.gold_answer, chain.is_correct


JARS = "A shelf has 3 rows of 4 jars. How many jars are there?"
ASK = "What is 3 * 4?"


@pytest.mark.parametrize(
    ("name", "format", "expected"),
    [
        ("with_think_tags.jsonl", "chains", [(JARS, "3 * 4 = 12, so 12 jars.", "12", None, None)]),
        ("closing_tag_only.jsonl", "chains", [(JARS, "3 * 4 = 12, so 12 jars.", "The answer is 12.", None, None)]),
        ("answer_has_thinking.jsonl", "chains", [(JARS, "3 * 4 = 12.", "12", None, None)]),
        ("ds_gsm8k.jsonl", "gsm8k", [("3 rows of 4 jars?", "3 rows hold 3*4=12 jars.", "12", "12", None)]),
        ("ds_openr1.jsonl", "open_r1", [(ASK, "3 * 4 = 12.", "12", "12", True), (ASK, "4 * 3 = 12.", "12", "12", True)]),
        ("ds_openthoughts.jsonl", "open_thoughts", [(ASK, "3 * 4 = 12.", "\\boxed{12}", None, None)]),
        ("ds_s1k.jsonl", "s1k", [(ASK, "3 * 4 = 12.", "12", "12", None), (ASK, "3 * 4 = 12.", "12", "12", True)]),
        ("ds_thought_anchors.json", "thought_anchors", [(ASK, "3 * 4 = 12.", "12", None, True)]),
        (
            "ds_tokenskip.jsonl",
            "token_skip",
            [("3 rows of 4 jars?", "3*4=12.", "The final answer is: $\\boxed{12}$", "12", True)],
        ),
    ],
)
def test_the_format_of_a_file_is_told_and_converted(field_files: Path, name: str, format: str, expected: list[Any]) -> None:
    conversion = convert_files([field_files / name])
    assert list(conversion.formats.values()) == [format]
    assert [facts(chain) for chain in conversion.chains] == expected
    assert conversion.unusable == ()


@pytest.mark.parametrize(
    ("format", "row", "expected"),
    [
        (
            "limo",
            {"question": ASK, "solution": "It is 3 * 4 = 12.\n\\boxed{12}", "answer": "12"},
            (ASK, "It is 3 * 4 = 12.\n\\boxed{12}", "12", "12", None),
        ),
        (
            "r_kv",
            {"question": ASK, "answer": "...\n#### 12", "prompt": "p", "index": 0, "output": THOUGHT, "output_tokens": 9},
            (ASK, "3 * 4 = 12.", "12", "12", None),
        ),
        (
            "math_500",
            {
                "problem": ASK, "solution": "3 * 4 = \\boxed{12}", "answer": "12", "subject": "Algebra", "level": 1,
                "unique_id": "test/algebra/1.json",
            },
            (ASK, "3 * 4 = \\boxed{12}", "12", "12", None),
        ),
        (
            "aime",
            {"ID": "2024-I-1", "Problem": ASK, "Solution": "3 * 4 = \\boxed{12}", "Answer": 12},
            (ASK, "3 * 4 = \\boxed{12}", "12", "12", None),
        ),
        (
            "mmlu_pro",
            {
                "question_id": 70, "question": ASK, "options": ["7", "12"], "answer": "B", "answer_index": 1,
                "cot_content": "A: Let's think step by step. 3 * 4 = 12. The answer is (B).", "category": "math", "src": "x",
            },
            ("What is 3 * 4?\nA. 7\nB. 12", "3 * 4 = 12.", "The answer is (B).", "B", None),
        ),
        (
            "chat_messages",
            {"messages": [*ASKED, {"role": "assistant", "content": "12", "reasoning_content": "3 * 4 = 12."}]},
            (ASK, "3 * 4 = 12.", "12", None, None),
        ),
        (
            "chat_messages",
            {"messages": [*ASKED, {"role": "assistant", "content": "12", "reasoning": "3 * 4 = 12."}]},
            (ASK, "3 * 4 = 12.", "12", None, None),
        ),
        (
            "chat_messages",
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": ASK}]},
                    {"role": "assistant", "content": [{"type": "thinking", "thinking": "a"}, {"type": "text", "text": "12"}]},
                ]
            },
            (ASK, "a", "12", None, None),
        ),
        (
            "chat_messages",
            {"messages": [*ASKED, {"role": "assistant", "content": THOUGHT}]},
            (ASK, "3 * 4 = 12.", "12", None, None),
        ),
        (
            "chat_completions",
            {"messages": ASKED, "model": "m", "choices": [{"message": {"role": "assistant", "content": THOUGHT}}]},
            (ASK, "3 * 4 = 12.", "12", None, None),
        ),
        (
            "chat_completions",
            {
                "request": {"messages": ASKED},
                "response": {"choices": [{"message": {"content": "12", "reasoning": "a"}, "finish_reason": "stop"}]},
            },
            (ASK, "a", "12", None, None),
        ),
        ("chat_completions", {"question": ASK, "choices": [{"text": THOUGHT}]}, (ASK, "3 * 4 = 12.", "12", None, None)),
        (
            "open_thoughts",
            {"problem": ASK, "deepseek_reasoning": "3 * 4 = 12.", "deepseek_solution": "12", "domain": "math"},
            (ASK, "3 * 4 = 12.", "12", None, None),
        ),
        ("chains", {"question": ASK, "reasoning": "", "answer": THOUGHT}, (ASK, "3 * 4 = 12.", "12", None, None)),
        ("chains", {"question": ASK, "reasoning": THOUGHT, "answer": None}, (ASK, "3 * 4 = 12.", "12", None, None)),
    ],
)  # fmt: skip
def test_a_row_with_the_keys_of_a_format_is_converted(write: Write, format: str, row: dict[str, Any], expected: Any) -> None:
    conversion = convert_files([write("rows.jsonl", row)])
    assert list(conversion.formats.values()) == [format]
    assert [each.message for each in conversion.unusable] == []
    assert [facts(chain) for chain in conversion.chains] == [expected]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"question": ASK, "answer": "12"}, "has no reasoning: its answer does not hold '####' once; generate "),
        ({"id": 0, "problem": ASK, "answer": "12"}, "has no reasoning: the data set has problem and answer only; generate "),
        (
            {"question": ASK, "options": ["7"], "answer": "A", "answer_index": 0, "cot_content": ""},
            "has no reasoning: test rows have no chain of thought; generate ",
        ),
        ({"problem": ASK, "generations": ["<think>3 *"]}, "its thinking is never closed: it was cut off"),
        ({"problem": ASK, "generations": [THOUGHT], "is_reasoning_complete": [False]}, "its thinking is never closed"),
        ({"messages": ASKED}, "has no reply: generate one first"),
        ({"messages": [*ASKED, *ASKED, {"role": "assistant", "content": THOUGHT}]}, "is not one question with one reply"),
        ({"messages": [*ASKED, {"role": "tool", "content": "1"}]}, "has a message of the role 'tool'"),
        ({"messages": [*ASKED, {"role": "assistant", "content": "12"}]}, "has no reasoning that could be told from the answer"),
        (
            {"messages": [*ASKED, {"role": "assistant", "content": "<think>b</think>12", "reasoning_content": "a"}]},
            "the thinking in the answer is not the reasoning",
        ),
        (
            {"custom_id": "r-1", "response": {"body": {"choices": [{"message": {"content": THOUGHT}}]}}},
            "has no question: a response does not hold it; put 'messages' ",
        ),
        ({"choices": [{"message": {"content": THOUGHT}}]}, "has no question: a response does not hold it; put 'messages' "),
        (
            {"question": ASK, "choices": [{"message": {"content": "1", "reasoning": "a"}, "finish_reason": "length"}]},
            "was cut off (finish_reason is length)",
        ),
        (
            {"messages": ASKED, "model_output": "3*4=12. \\boxed{12}", "prediction": "12", "accuracy": 1},
            "its output does not hold 'The final answer is' once",
        ),
        ({"question": ASK, "solution": "s", "thinking_trajectories": ["a", "b"], "attempt": "12"}, "has several trajectories"),
        ({"question": ASK, "reasoning": "a", "answer": ["12"]}, "'answer' is not text"),
        ({"question": ASK, "reasoning": "a", "answer": "12", "is_correct": "perhaps"}, "'is_correct' is neither yes nor no"),
        ({"question": ASK, "reasoning": "a \ud83d", "answer": "12"}, "'reasoning': holds half of a surrogate pair"),
    ],
)
def test_a_row_that_is_no_chain_is_left_out_with_its_reason(write: Write, row: dict[str, Any], reason: str) -> None:
    conversion = convert_files([write("rows.jsonl", row)])
    assert conversion.chains == ()
    (left_out,) = conversion.unusable
    assert left_out.reason.startswith(reason)
    assert (left_out.file, left_out.row) == ("rows.jsonl", 1)


def test_generations_of_one_row_share_their_question_and_each_has_its_verdict(write: Write) -> None:
    row = {
        "problem": ASK, "answer": "12", "generations": [THOUGHT, THOUGHT.replace("12", "13"), THOUGHT, "<think>cut"],
        "correctness_math_verify": [True, False, False, True], "correctness_llama": [None, False, True, True],
    }  # fmt: skip
    conversion = convert_files([write("r1.jsonl", row)])
    assert [(chain.chain_id, chain.is_correct) for chain in conversion.chains] == [
        ("r1-1-0", True), ("r1-1-1", False), ("r1-1-2", None),  # the two verdicts on the third differ
    ]  # fmt: skip
    assert len({chain.question_id for chain in conversion.chains}) == 1
    assert [(each.row, each.message.partition(": ")[0][-3:]) for each in conversion.unusable] == [(1, "(3)")]


def test_the_same_question_has_the_same_id_however_it_is_spaced_and_composed(write: Write) -> None:
    texts = ["Caf\u00e9: 3 * 4?", " Cafe\u0301:  3 * 4?\n", "caf\u00e9: 3 * 4?"]
    rows = [{"question": text, "reasoning": "a", "answer": "b"} for text in texts]
    ids = [chain.question_id for chain in convert_files([write("rows.jsonl", *rows)]).chains]
    # sha256 of the text with e-acute as one character, by sha256sum
    assert ids[0] == ids[1] == "question-2757456d534f"
    assert ids[2] != ids[0]


def test_provenance_and_short_fields_go_into_the_source(write: Write) -> None:
    row = {"problem": ASK, "generations": [THOUGHT], "source": "olympiads", "uuid": "u1", "solution": "x" * 300, "level": 2}
    (chain,) = convert_files([write("open.jsonl", row)]).chains
    assert chain.source == {
        "source": "olympiads",
        "uuid": "u1",
        "level": 2,
        "converted_from": {"file": "open.jsonl", "row": 1, "format": "open_r1"},
    }


def test_chains_of_this_library_keep_ids_and_source(write: Write) -> None:
    row = {
        "chain_id": 7, "question_id": "q", "question": ASK, "reasoning": "<think>a</think>", "answer": "12", "is_correct": 1,
        "teacher": "T", "steps": [1], "source": {"style": "long"},
    }  # fmt: skip
    (chain,) = convert_files([write("rows.jsonl", row)]).chains
    assert (chain.chain_id, chain.question_id, chain.is_correct) == ("7", "q", True)
    assert chain.source == {
        "teacher": "T",
        "steps": [1],
        "style": "long",
        "converted_from": {"file": "rows.jsonl", "row": 1, "format": "chains"},
    }


ROWS = [{"question": ASK, "reasoning": 'a, "b"\nc', "answer": answer} for answer in ("12", "twelve")]


def as_csv(rows: list[dict[str, str]]) -> bytes:
    quoted = ['"' + '","'.join(cell.replace('"', '""') for cell in row.values()) + '"' for row in rows]
    return "\r\n".join([",".join(rows[0]), *quoted]).encode()


def as_parquet(rows: list[dict[str, str]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


PACKED = {
    "lines": "".join(json.dumps(row) + "\n" for row in ROWS).encode(),
    "list": json.dumps(ROWS, indent=2).encode(),
    "bom": b"\xef\xbb\xbf" + json.dumps(ROWS).encode(),
    "csv": as_csv(ROWS),
    "parquet": as_parquet(ROWS),
    "gz": gzip.compress(as_csv(ROWS), mtime=0),
}


@pytest.mark.parametrize("content", PACKED.values(), ids=PACKED)
@pytest.mark.parametrize("standard_input", [False, True])
def test_every_container_gives_the_same_chains(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes, standard_input: bool
) -> None:
    path = tmp_path / "rows"
    path.write_bytes(content)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    chains = convert_files(["-" if standard_input else path]).chains
    assert [facts(chain)[:3] for chain in chains] == [(ASK, 'a, "b"\nc', "12"), (ASK, 'a, "b"\nc', "twelve")]
    assert [chain.chain_id for chain in chains] == ([f"stdin-{n}" for n in (1, 2)] if standard_input else ["rows-1", "rows-2"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ": is empty; give a file with rows"),
        (PACKED["gz"][:-9], ": cannot be unzipped ("),
        (PACKED["parquet"][:-9], ": cannot be read as Parquet ("),
        (b'[{"question": 1},]', ", line 1, column "),
        (b"\xff\xfe,a\n1,2\n", ": is not UTF-8 ("),
        (b'{"x": 1, "y": 2}\n', ": is in no format that is known here (its keys: x, y); say which of them hold what: --map "),
    ],
)
def test_a_file_that_cannot_be_read_is_one_error(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "rows"
    path.write_bytes(content)
    with pytest.raises(ChainFileError) as refused:
        convert_files([path])
    assert str(refused.value).startswith(f"{path}{words}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b'{"question": \n{"a": 1}\n7\n', b'question,reasoning,answer\n"a","b"\n'])
def test_broken_rows_among_others_are_left_out(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows"
    path.write_bytes(PACKED["lines"] + content if content.startswith(b"{") else content + b'"q","r","a"\n')
    conversion = convert_files([path])
    assert len(conversion.chains) == (2 if content.startswith(b"{") else 1)
    assert [each.reason for each in conversion.unusable] == (
        ["is not JSON", "has no 'answer'", "is not an object with keys"]
        if content.startswith(b"{")
        else ["has another number of cells than the head of the table"]
    )


def test_whole_numbers_of_a_table_with_gaps_are_whole(tmp_path: Path) -> None:
    # a column of whole numbers with a gap is one of floats in pandas and in many files
    table = pa.table({"question": ["a", "b", "c"], "solution": ["x = 204.", "y", "z"], "answer": [204.0, float("nan"), 0.5]})
    pq.write_table(table, tmp_path / "rows.parquet")
    converted = convert_files([tmp_path / "rows.parquet"], format="limo")
    assert [(chain.answer, chain.gold_answer) for chain in converted.chains] == [("204", "204")]
    assert [unusable.reason for unusable in converted.unusable][1] == "'answer' is a number with a fraction: write it as text"


def test_reasoning_in_a_field_of_its_own_beside_the_content_is_a_chain(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"question": ASK, "reasoning_content": "3 * 4 = 12", "content": "12"}) + "\n")
    refused = call("run", file, "--out", tmp_path / "run")
    assert refused.code == 2
    assert "reasoning-anatomy chains FILE" in refused.err
    (made,) = convert_files([file]).chains
    assert (made.reasoning, made.answer) == ("3 * 4 = 12", "12")


STEPS = {"question": ASK, "reasoning": "3 rows. So 12.", "answer": "12"}


@pytest.mark.parametrize(
    ("row", "starts"),
    [
        (STEPS | {"step_starts": [0, 8]}, (0, 8)),
        (STEPS | {"step_starts": [8]}, (8,)),
        (STEPS | {"step_starts": []}, ()),
        (STEPS, None),
        (STEPS | {"reasoning": "\n 3 rows. So 12. ", "step_starts": [0, 2, 10]}, (0, 8)),
        (STEPS | {"reasoning": "\n 3 rows. So 12. ", "step_starts": [1, 10]}, (8,)),
    ],
)
def test_given_steps_are_counted_from_where_the_reasoning_begins(
    write: Write, row: dict[str, Any], starts: tuple[int, ...] | None
) -> None:
    (chain,) = convert_files([write("rows.jsonl", row)]).chains
    assert (chain.reasoning, chain.step_starts) == ("3 rows. So 12.", starts)
    assert "step_starts" not in chain.source


def test_given_steps_can_be_in_another_key(write: Write) -> None:
    path = write("rows.jsonl", {"q": ASK, "r": "3 rows. So 12.", "a": "12", "cuts": [0, 8]})
    mapping = {"question": "q", "reasoning": "r", "answer": "a", "step_starts": "cuts"}
    (chain,) = convert_files([path], mapping=mapping).chains
    assert chain.step_starts == (0, 8)


CUT = "'step_starts' counts the characters of a reasoning that is cut: take it apart, then count"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (STEPS | {"reasoning": "<think>3 rows. So 12.</think>", "step_starts": [15]}, CUT),
        ({"question": ASK, "reasoning": THOUGHT, "answer": "", "step_starts": [1]}, CUT),
        (STEPS | {"step_starts": [14]}, "'step_starts': holds a character outside 'reasoning'"),
        (STEPS | {"step_starts": [-1]}, "'step_starts': holds a character outside 'reasoning'"),
        (
            STEPS | {"reasoning": "  3 rows. So 12.", "step_starts": [-1]},
            "'step_starts': holds a character outside 'reasoning'",
        ),
        (STEPS | {"step_starts": [8, 3]}, "'step_starts': does not ascend"),
        (STEPS | {"step_starts": "0 8"}, "'step_starts': is not a list of whole numbers"),
    ],
)
def test_a_row_whose_given_steps_do_not_fit_is_left_out(write: Write, row: dict[str, Any], reason: str) -> None:
    conversion = convert_files([write("rows.jsonl", row)])
    assert (conversion.chains, [each.reason for each in conversion.unusable]) == ((), [reason])


def test_a_row_that_several_formats_fit_is_not_guessed(write: Write) -> None:
    path = write("rows.jsonl", {"question": ASK, "reasoning": "r", "solution": "s", "answer": "12"})
    with pytest.raises(ChainFileError, match="row 1: can be chains or limo; say which: --format chains"):
        convert_files([path])
    assert convert_files([path], format="limo").chains[0].reasoning == "s"


def test_keys_can_be_named_for_any_other_format(write: Write) -> None:
    path = write("rows.jsonl", {"x": {"ask": [ASK]}, "cot": "<think>a</think>", "out": 12, "ok": "Yes"}, {"x": {}})
    mapping = {"question": "x.ask.0", "reasoning": "cot", "answer": "out", "is_correct": "ok"}
    conversion = convert_files([path], mapping=mapping)
    assert [facts(chain) for chain in conversion.chains] == [(ASK, "a", "12", None, True)]
    assert [each.reason for each in conversion.unusable] == ["has no 'x.ask.0'"]
    del mapping["reasoning"]
    assert convert_files([path], mapping={**mapping, "answer": "cot"}).unusable[0].reason == "the answer is empty"


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"question": "a", "reply": "b"}, "--map reply=...: a chain has no such field; it has question, reasoning, answer, "),
        ({"answer": "b"}, "--map does not say which key holds the question; add question=KEY"),
    ],
)
def test_a_mapping_names_fields_of_a_chain(mapping: dict[str, str], words: str) -> None:
    with pytest.raises(ChainFileError) as refused:
        convert_files(["none"], mapping=mapping)
    assert str(refused.value).startswith(words)


def test_a_folder_of_rollouts_is_read_with_the_problem_beside_each(write: Write, tmp_path: Path) -> None:
    for number in (1, 2):
        base = {"prompt": f"What is {number} * 4?\n<think>\n", "solution": "a\n</think>\n\nb", "full_cot": "", "answer": "b"}
        write(f"rollouts/problem_{number}/base_solution.json", base)
        write(f"rollouts/problem_{number}/problem.json", {"problem": "p", "gt_answer": number * 4})
        write(f"rollouts/problem_{number}/chunks.json", {"chunks": ["a"]})
    conversion = convert_files([tmp_path / "rollouts"])
    assert conversion.unusable == ()
    assert [(chain.chain_id, *facts(chain)) for chain in conversion.chains] == [
        ("problem_1-base_solution-1", "What is 1 * 4?", "a", "b", "4", None),
        ("problem_2-base_solution-1", "What is 2 * 4?", "a", "b", "8", None),
    ]


def test_files_of_one_name_give_different_ids(write: Write, tmp_path: Path) -> None:
    files = [write(f"{name}/rows.jsonl", ROWS[0]) for name in ("one", "two")]
    assert len({chain.chain_id for chain in convert_files(files).chains}) == 2


def test_an_id_that_occurs_twice_is_left_out(write: Write) -> None:
    conversion = convert_files([write("rows.jsonl", *[{**row, "chain_id": "c"} for row in ROWS])])
    assert [(each.row, each.reason) for each in conversion.unusable] == [(2, "its chain_id is that of an earlier chain")]


def test_the_page_on_chains_names_every_format() -> None:
    page = (Path(__file__).parents[2] / "docs" / "chains.md").read_text(encoding="utf-8")
    assert [key for key in available("converter") if f"`{key}`" not in page] == []


def test_an_unknown_format_lists_those_that_exist(write: Write) -> None:
    with pytest.raises(PluginError, match="unknown converter 'nope'; available: aime, chains, "):
        convert_files([write("rows.jsonl", ROWS[0])], format="nope")


def test_chains_writes_what_run_reads_and_names_what_it_left_out(call: Call, field_files: Path, tmp_path: Path) -> None:
    done = call("chains", field_files / "ds_openr1.jsonl", field_files / "some_unusable.jsonl", "--out", "made/chains.jsonl")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        f"{field_files / 'ds_openr1.jsonl'}: open_r1",
        f"{field_files / 'some_unusable.jsonl'}: chains",
        "Wrote made/chains.jsonl: chains: 5, questions: 2",
        "Left out: 3, named in made/chains.unusable.jsonl",
        "  2  has no 'answer'",
        "  1  has no reasoning that could be told from the answer: generate it, or name its key with --map",
        "Next: reasoning-anatomy run made/chains.jsonl --out runs/chains",
    ]
    assert len(read_chains(tmp_path / "made" / "chains.jsonl")) == 5
    lines = (tmp_path / "made" / "chains.unusable.jsonl").read_text().splitlines()
    assert [(json.loads(line)["file"], json.loads(line)["row"]) for line in lines] == [
        ("some_unusable.jsonl", 2), ("some_unusable.jsonl", 4), ("some_unusable.jsonl", 5),
    ]  # fmt: skip
    assert call("chains", field_files / "ds_openr1.jsonl", "--out", "made/chains.jsonl").code == 0
    assert not (tmp_path / "made" / "chains.unusable.jsonl").exists()


def test_chains_says_row_by_row_what_it_did(call: Call, field_files: Path) -> None:
    file = field_files / "ds_gsm8k.jsonl"
    first = call("chains", file, "--out", "chains.jsonl", "--verbose").out.splitlines()[0]
    assert first.startswith(f"{file}, row 1: chain ds_gsm8k-1, question-")
    assert first.endswith(
        ': reasoning "3 rows hold 3*4=12 jars.", answer "12", gold_answer "12"; the solution was cut at \'####\', without '
        "marks of the calculator"
    )


def test_chains_reads_standard_input_by_named_keys(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    content = json.dumps({"problem": ASK, "solution": "3 * 4 = 12", "result": "12"}).encode()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    done = call("chains", "-", "--out", "c.jsonl", "--map", "question=problem", "reasoning=solution", "answer=result")
    assert (done.code, done.err) == (0, "")
    assert facts(read_chains(tmp_path / "c.jsonl")[0]) == (ASK, "3 * 4 = 12", "12", None, None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rows.jsonl", "--out", "rows.jsonl"], "rows.jsonl: is also to be read; write the chains into another file"),
        (["rows.jsonl", "--out", "c.jsonl", "--map", "question"], "--map question: expected one FIELD=KEY for each field, "),
        (["--out", "c.jsonl"], "no file is named; give one or more, or - for standard input"),
        (["none.jsonl", "--out", "c.jsonl"], "none.jsonl: No such file or directory; give "),
        (["rows.jsonl", "--out", "c.jsonl", "--format", "s1k"], "no row became a chain; c.unusable.jsonl names each:\n  2  "),
    ],
)
def test_a_mistake_of_chains_is_an_error_with_the_remedy(call: Call, write: Write, arguments: list[str], words: str) -> None:
    write("rows.jsonl", *ROWS)
    done = call("chains", *arguments)
    assert done.code == 2
    assert done.err.startswith(f"error: {words}")
    assert "Traceback" not in done.err
