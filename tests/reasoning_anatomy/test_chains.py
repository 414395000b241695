"""Chain files: what is read, what is refused and in which words, and that writing loses nothing."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning_anatomy.chains import read_chain_file, read_chains, write_chains
from reasoning_anatomy.errors import ChainFileError
from reasoning_anatomy.thinking import THINKING_TAGS, end_of_turn_in, tag_in
from reasoning_anatomy.types import ReasoningChain

RECORD = {"chain_id": "c1", "question_id": "q1", "question": "2 + 2?", "reasoning": "2 + 2 = 4", "answer": "4"}
WriteLines = Callable[..., Path]


@pytest.fixture
def write_lines(tmp_path: Path) -> WriteLines:
    """Write lines (text, or a record as JSON) to a file of chains."""

    def write(*lines: str | dict[str, Any], end: str = "\n", start: bytes = b"") -> Path:
        path = tmp_path / "chains.jsonl"
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_bytes(start + "".join(text + end for text in texts).encode())
        return path

    return write


def refusal(path: Path) -> str:
    with pytest.raises(ChainFileError) as refused:
        read_chains(path)
    message = str(refused.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    message.encode()  # can be printed and logged anywhere
    return message.removeprefix(str(path))


@pytest.mark.parametrize(
    ("line", "column"),
    [
        ('{"chain_id": "c1", }', 20),  # the brace after the comma
        ('{"chain_id": ', 14),  # the end, where a value should be
        ("chain_id: c1", 1),
        ('{"a": 1} {"b": 2}', 10),  # the second object
    ],
)
def test_malformed_json_is_placed_by_line_and_column(write_lines: WriteLines, line: str, column: int) -> None:
    # the column that an editor shows, 1-based; versions of Python differ by one for a trailing comma and a missing value
    message = refusal(write_lines(RECORD, "", line))
    found = int(message.split("column ")[1].split(":")[0])
    assert message.startswith(", line 3, column ")
    assert abs(found - column) <= 1
    assert "expected one object a line" in message


@pytest.mark.parametrize("field", ["chain_id", "question_id", "question", "reasoning", "answer"])
def test_a_missing_field_is_named_with_all_that_are_needed(write_lines: WriteLines, field: str) -> None:
    record = {name: value for name, value in RECORD.items() if name != field}
    message = refusal(write_lines(RECORD | {"chain_id": "c0"}, record))
    assert message == (
        f", line 2: has no field {field!r}; every chain needs chain_id, question_id, question, reasoning, answer; "
        "if the file has another format: reasoning-anatomy chains FILE"
    )


def test_the_end_of_a_turn_behind_the_answer_is_refused_with_the_remedy(write_lines: WriteLines) -> None:
    message = refusal(write_lines(RECORD | {"answer": "It is 4.<|im_end|>"}))
    assert "ends in '<|im_end|>', which the chat template writes itself; take it away with: reasoning-anatomy chains" in message


@pytest.mark.parametrize("field", ["reasoning", "answer"])
@pytest.mark.parametrize("text", ["", "   ", "\n\t\r\n", "\u00a0\u3000"])
def test_empty_or_blank_reasoning_and_answer_are_refused(write_lines: WriteLines, field: str, text: str) -> None:
    message = refusal(write_lines(RECORD | {field: text}))
    shown = json.dumps(text, ensure_ascii=False)
    assert message == f", line 1: {field!r} is {shown}: is empty; a chain needs reasoning and an answer to be measured"


@pytest.mark.parametrize("field", ["chain_id", "question_id", "question"])
def test_an_empty_id_or_question_is_refused(write_lines: WriteLines, field: str) -> None:
    assert refusal(write_lines(RECORD | {field: ""})).startswith(f', line 1: {field!r} is "": ')


def test_a_duplicate_chain_id_names_both_lines(write_lines: WriteLines) -> None:
    path = write_lines(RECORD, "", RECORD | {"chain_id": "c2"}, RECORD)
    assert refusal(path) == ", line 4: chain_id 'c1' is also on line 1; give each chain its own"


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("chain_id", 3.5, "3.5"),
        ("chain_id", None, "null"),
        ("question", ["a"], '["a"]'),
        ("reasoning", {"text": "a"}, '{"text": "a"}'),
        ("answer", 4.5, "4.5"),
        ("gold_answer", 4.5, "4.5"),
        ("gold_answer", True, "true"),
        ("is_correct", "yes", '"yes"'),
        ("is_correct", 2, "2"),
        ("system_prompt", False, "false"),
        ("source", [1], "[1]"),
        ("source", "teacher", '"teacher"'),
        ("source", None, "null"),
    ],
)
def test_a_wrong_type_is_shown_with_its_value(write_lines: WriteLines, field: str, value: Any, shown: str) -> None:
    assert refusal(write_lines(RECORD | {field: value})).startswith(f", line 1: {field!r} is {shown}: Input should be a valid ")


@pytest.mark.parametrize("starts", [[], [0], [5], [0, 3, 8]])
def test_steps_may_be_given_with_or_without_the_first(write_lines: WriteLines, starts: list[int]) -> None:
    (chain,) = read_chains(write_lines(RECORD | {"step_starts": starts}))  # its reasoning has 9 characters
    assert chain.step_starts == tuple(starts)
    assert chain.source == {}


NO_LIST = "is not a list of whole numbers; give the characters of 'reasoning' at which steps begin"


@pytest.mark.parametrize(
    ("starts", "words"),
    [
        ([9], "[9]: holds a character outside 'reasoning'; 9 is not in 0..8: count its characters again"),
        ([-1, 3], "[-1, 3]: holds a character outside 'reasoning'; -1 is not in 0..8: count its characters again"),
        ([3, 3], "[3, 3]: does not ascend; 3 stands after 3: give each start once, in ascending order"),
        ([0, 5, 2], "[0, 5, 2]: does not ascend; 2 stands after 5: give each start once, in ascending order"),
        ([1.0], f"[1.0]: {NO_LIST}"),
        ([True], f"[true]: {NO_LIST}"),
        (["1"], f'["1"]: {NO_LIST}'),
        (3, f"3: {NO_LIST}"),
        ({"0": 1}, f'{{"0": 1}}: {NO_LIST}'),
    ],
)
def test_given_steps_that_do_not_fit_are_shown_with_the_remedy(write_lines: WriteLines, starts: Any, words: str) -> None:
    assert refusal(write_lines(RECORD | {"step_starts": starts})) == f", line 1: 'step_starts' is {words}"


def test_a_reasoning_that_is_missing_is_named_before_its_steps(write_lines: WriteLines) -> None:
    assert refusal(write_lines(RECORD | {"reasoning": "", "step_starts": [7]})).startswith(", line 1: 'reasoning' is \"\": ")


def test_a_long_value_is_shown_in_part(write_lines: WriteLines) -> None:
    message = refusal(write_lines(RECORD | {"answer": ["x" * 1000]}))
    assert '["xxxx' in message
    assert "xxx...: " in message
    assert len(message) < 150


@pytest.mark.parametrize(("line", "shown"), [("[1, 2]", "[1, 2]"), ('"text"', '"text"'), ("null", "null"), ("7", "7")])
def test_a_line_that_is_no_object_is_refused(write_lines: WriteLines, line: str, shown: str) -> None:
    assert refusal(write_lines(line)).startswith(f", line 1: is {shown}, expected a JSON object with chain_id, ")


@pytest.mark.parametrize(
    ("content", "line", "byte"),
    [
        (b'{"chain_id": "caf\xe9"}\n', 1, 17),  # Latin-1: the byte after the 17 characters {"chain_id": "caf
        (b"\n\n\x80\n", 3, 0),
        (json.dumps(RECORD).encode("utf-16"), 1, 0),  # its byte order mark
    ],
)
def test_text_that_is_not_utf8_is_placed_by_line_and_byte(tmp_path: Path, content: bytes, line: int, byte: int) -> None:
    path = tmp_path / "chains.jsonl"
    path.write_bytes(content)
    message = refusal(path)
    assert message.startswith(f", line {line}: is not UTF-8 (")
    assert message.endswith(f" at byte {byte}); convert it")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_byte_order_mark_line_ends_and_blank_lines_do_not_matter(write_lines: WriteLines, end: str, start: bytes) -> None:
    chains = read_chains(write_lines(RECORD, "", "  \t", RECORD | {"chain_id": "c2"}, "", end=end, start=start))
    assert [chain.model_dump(exclude_defaults=True) for chain in chains] == [RECORD, RECORD | {"chain_id": "c2"}]


@pytest.mark.parametrize("lines", [(), ("", "   ", "\t")])
def test_a_file_without_chains_is_refused(write_lines: WriteLines, lines: tuple[str, ...]) -> None:
    assert refusal(write_lines(*lines)) == (
        ": holds no chain; expected one JSON object a line with chain_id, question_id, question, reasoning, answer"
    )


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.jsonl") == ": No such file or directory; give a JSONL file of chains"


def test_a_folder_is_no_file_of_chains(tmp_path: Path) -> None:
    assert refusal(tmp_path) == ": Is a directory; give a JSONL file of chains"


def test_further_fields_are_kept_in_source(write_lines: WriteLines) -> None:
    record = RECORD | {"teacher": "T", "steps": [1, {"a": None}], "source": {"style": "long"}}
    (chain,) = read_chains(write_lines(record))
    assert chain.source == {"style": "long", "teacher": "T", "steps": [1, {"a": None}]}


def test_a_further_field_that_source_has_too_is_refused(write_lines: WriteLines) -> None:
    message = refusal(write_lines(RECORD | {"teacher": "T", "source": {"teacher": "U"}}))
    assert message == ", line 1: 'teacher' is given both beside and inside 'source'; keep one"


@pytest.mark.parametrize("field", sorted(RECORD.keys() | {"gold_answer", "system_prompt"}))
def test_half_a_surrogate_pair_is_refused(write_lines: WriteLines, field: str) -> None:
    message = refusal(write_lines(RECORD | {field: "a\ud83d b"}))
    assert message == (
        f', line 1: {field!r} is "a\\ud83d b": holds half of a surrogate pair, which no tokenizer can read; repair the text'
    )


@pytest.mark.parametrize("extra", [{"source": {"a": "\ud83d"}}, {"a": ["\ud83d"]}, {"\ud83d": 1}])
def test_half_a_surrogate_pair_is_refused_wherever_it_stands(write_lines: WriteLines, extra: dict[str, Any]) -> None:
    message = refusal(write_lines(RECORD | extra))
    assert message.startswith(", line 1: 'source' is ")
    assert "\\ud83d" in message


def test_a_whole_surrogate_pair_is_one_character(write_lines: WriteLines) -> None:
    path = write_lines(RECORD | {"reasoning": "\U0001f600"})
    assert b"\\ud83d\\ude00" in path.read_bytes()
    assert read_chains(path)[0].reasoning == "\U0001f600"


@pytest.mark.parametrize("depth", [300, 900, 100_000])
@pytest.mark.parametrize("where", ["line", "source"])
def test_nesting_too_deep_to_be_written_again_is_refused(write_lines: WriteLines, depth: int, where: str) -> None:
    nested = "[" * depth + "]" * depth
    line = nested if where == "line" else json.dumps(RECORD)[:-1] + f', "source": {{"a": {nested}}}}}'
    message = refusal(write_lines(line))
    assert message.startswith(", line 1: ")
    assert len(message) < 300


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("field", ["question", "temperature"])
def test_a_number_that_json_has_not_is_refused(write_lines: WriteLines, field: str, value: float) -> None:
    message = refusal(write_lines(RECORD | {field: value}))
    assert message == f", line 1: holds {json.dumps(value)}, which is not JSON; write null or leave it out"


def test_a_number_too_long_for_python_is_refused(write_lines: WriteLines) -> None:
    # 4300 digits are the default limit of sys.set_int_max_str_digits
    assert "4300" in refusal(write_lines(json.dumps(RECORD)[:-1] + ', "n": ' + "9" * 5000 + "}"))


def test_a_line_of_ten_million_characters_is_read(write_lines: WriteLines) -> None:
    text = "a " * 5_000_000
    assert read_chains(write_lines(RECORD | {"reasoning": text}))[0].reasoning == text


def test_the_line_of_a_chain_counts_blank_lines(write_lines: WriteLines) -> None:
    path = write_lines("", RECORD, "", RECORD | {"chain_id": "c2"}, start=b"\xef\xbb\xbf")
    assert read_chain_file(path).lines == {"c1": 2, "c2": 4}


@pytest.mark.parametrize(
    ("field", "number", "read"),
    [
        ("chain_id", 17, "17"),
        ("question_id", -3, "-3"),
        ("gold_answer", 12, "12"),
        ("gold_answer", 0, "0"),
        ("is_correct", 1, True),
        ("is_correct", 0, False),
        ("is_correct", 1.0, True),
    ],
)
def test_whole_numbers_are_read_where_text_or_truth_is_meant(
    write_lines: WriteLines, field: str, number: float, read: str | bool
) -> None:
    value = getattr(read_chains(write_lines(RECORD | {field: number}))[0], field)
    assert (value, type(value)) == (read, type(read))


@pytest.mark.parametrize("name", ["int_ids", "int_gold", "correct_as_number"])
def test_files_with_numbers_for_text_are_read(field_files: Path, name: str) -> None:
    (chain,) = read_chains(field_files / f"{name}.jsonl")
    facts = (chain.chain_id, chain.question_id, chain.gold_answer, chain.is_correct)
    assert (
        facts
        == {
            "int_ids": ("17", "17", "12", None),
            "int_gold": ("c1", "q1", "12", None),
            "correct_as_number": ("c1", "q1", None, True),
        }[name]
    )


def test_a_number_with_a_fraction_is_to_be_written_as_text(write_lines: WriteLines) -> None:
    # 4.50 and 4.5 are the same number and two texts
    assert refusal(write_lines(RECORD | {"gold_answer": 4.5})).endswith("; write the number in quotes")


def test_all_lines_with_mistakes_are_named_at_once(field_files: Path) -> None:
    path = field_files / "some_unusable.jsonl"
    with pytest.raises(ChainFileError) as refused:
        read_chains(path)
    empty = "is empty; a chain needs reasoning and an answer to be measured"
    assert str(refused.value).splitlines() == [
        f"{path}: 3 of 6 chains cannot be used; repair them, or go on without them: --skip-unusable",
        f"  line 2: 'answer' is \"\": {empty}",
        f"  line 4: 'reasoning' is \"\": {empty}",
        "  line 5: 'answer' is null: Input should be a valid string",
    ]


def test_twenty_mistakes_are_named_and_the_others_counted(write_lines: WriteLines) -> None:
    with pytest.raises(ChainFileError) as refused:
        read_chains(write_lines(RECORD, *["{"] * 23))
    lines = str(refused.value).splitlines()
    assert lines[0].split(": ")[1].startswith("23 of 24 chains ")
    assert [line.split(",")[0] for line in lines[1:-1]] == [f"  line {number}" for number in range(2, 22)]
    assert lines[-1] == "  and 3 more"


def test_mistakes_are_kept_with_their_reason_and_id(field_files: Path) -> None:
    file = read_chain_file(field_files / "some_unusable.jsonl")
    assert [chain.chain_id for chain in file.chains] == ["ok0", "ok1", "ok2"]
    assert [(each.row, each.chain_id, each.reason) for each in file.unusable] == [
        (2, "cut-off", "'answer': is empty"),
        (4, "no-thinking", "'reasoning': is empty"),
        (5, "null-answer", "'answer': Input should be a valid string"),
    ]


def test_a_pipe_is_read_once() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as pipe:
        pipe.write(json.dumps(RECORD))
    assert read_chains(f"/dev/fd/{reading}")[0].chain_id == "c1"
    os.close(reading)


@pytest.mark.parametrize(
    ("name", "where", "tag", "character"),
    [
        ("with_think_tags", "reasoning", "<think>", 0),
        ("closing_tag_only", "reasoning", "</think>", 24),  # after "3 * 4 = 12, so 12 jars." and a line break
        ("answer_has_thinking", "answer", "<think>", 0),
    ],
)
def test_thinking_that_was_not_taken_apart_is_refused_with_the_remedy(
    field_files: Path, name: str, where: str, tag: str, character: int
) -> None:
    path = field_files / f"{name}.jsonl"
    assert refusal(path) == (
        f", line 1: {where!r} of chain 'c1' holds {tag!r} at character {character}: its thinking was not taken apart; do it "
        f"with: reasoning-anatomy chains {path} --out chains.jsonl (if the text only speaks of the tag, spell it another way)"
    )


@pytest.mark.parametrize("tag", sorted({tag for tags in THINKING_TAGS for tag in tags} - {"<|end|>"}))
@pytest.mark.parametrize("where", ["reasoning", "answer"])
def test_every_tag_of_the_table_is_recognised(write_lines: WriteLines, where: str, tag: str) -> None:
    assert "its thinking was not taken apart" in refusal(write_lines(RECORD | {where: f"so\n{tag}\n12"}))


@pytest.mark.parametrize(
    "text", ["I think: 3 < 4 > 2", "<b>12</b>", "[think] of 12", "analysis of the final answer", "<|end|>"]
)
def test_ordinary_text_is_not_taken_for_thinking(write_lines: WriteLines, text: str) -> None:
    assert read_chains(write_lines(RECORD | {"reasoning": text}))[0].reasoning == text


TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1)
FILLED = TEXT.filter(lambda text: text.strip() and not tag_in(text) and not end_of_turn_in(text))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
CHAIN = st.builds(
    ReasoningChain,
    chain_id=TEXT,
    question_id=TEXT,
    question=TEXT,
    reasoning=FILLED,
    answer=FILLED,
    gold_answer=st.none() | TEXT,
    is_correct=st.none() | st.booleans(),
    system_prompt=st.none() | st.text(st.characters(exclude_categories=("Cs",))),
    step_starts=st.none() | st.just(()) | st.just((0,)),
    source=st.dictionaries(TEXT, JSON, max_size=3),
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(chains=st.lists(CHAIN, min_size=1, max_size=4, unique_by=lambda chain: chain.chain_id))
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, chains: list[ReasoningChain]) -> None:
    path = tmp_path_factory.mktemp("round-trip") / "chains.jsonl"
    write_chains(path, chains)
    assert read_chains(path) == chains
    before = path.read_bytes()
    write_chains(path, read_chains(path))
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "text", ["😀👩‍👩‍👧", "a\u2028b\u2029c\x85d\x0bd\x0ce", 'a\\"b\n\r\n\tc', "\x00\x1b[31m", "\ufeffa", "e\u0301 é"]
)
def test_odd_characters_survive(tmp_path: Path, text: str) -> None:
    chain = ReasoningChain(**(RECORD | {"reasoning": text, "source": {text: [text]}}))
    write_chains(tmp_path / "chains.jsonl", [chain])
    assert read_chains(tmp_path / "chains.jsonl") == [chain]
    assert (tmp_path / "chains.jsonl").read_bytes().count(b"\n") == 1


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), object(), {1, 2}, 10**5000, "\ud83d", {"\ud83d": 1}],
    ids=["nan", "infinity", "object", "set", "5001 digits", "surrogate", "surrogate key"],
)
def test_a_source_that_cannot_be_written_is_refused_when_it_is_made(value: Any) -> None:
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        ReasoningChain(**RECORD, source={"a": value})


def test_a_chain_cannot_be_changed() -> None:
    chain = ReasoningChain(**RECORD)
    with pytest.raises(ValueError, match="frozen"):
        chain.reasoning = "other"  # type: ignore[misc]


def test_the_shipped_chains_are_those_that_their_readme_lists(example_chains: list[ReasoningChain]) -> None:
    # reasoning_anatomy/data/README.md: 16 concise, 11 terse, 6 thinking, 10 sampled in full, in this order
    assert len(example_chains) == 43
    assert [chain.chain_id.rsplit("-", 1)[1] for chain in example_chains[:16]] == ["concise"] * 16
    assert {chain.source["teacher"] for chain in example_chains[:16]} == {"written for this project"}
    assert all("Qwen2.5-Coder-0.5B-Instruct" in chain.source["teacher"] for chain in example_chains[16:27])
    assert {chain.source["teacher"] for chain in example_chains[27:33]} == {"written for this project"}
    assert all("Qwen2.5-Coder-0.5B-Instruct" in chain.source["teacher"] for chain in example_chains[33:])


def test_every_shipped_chain_has_provenance_and_a_checked_answer(example_chains: list[ReasoningChain]) -> None:
    for chain in example_chains:
        assert chain.source["teacher"]
        assert chain.gold_answer
        assert chain.is_correct is (f"\\boxed{{{chain.gold_answer}}}" in chain.answer), chain.chain_id


def test_the_first_eight_are_short_for_the_bundled_tokenizer(example_chains: list[ReasoningChain], tokenizer: Any) -> None:
    # "the 8 shortest of the concise ones, 33 to 44 tokens"
    lengths = [len(tokenizer(chain.reasoning, add_special_tokens=False)["input_ids"]) for chain in example_chains[:16]]
    assert (lengths[0], lengths[7]) == (33, 44)
    assert lengths == sorted(lengths)
