"""Votes to gold labels: majorities, ties, missing votes, and the file that the agreement command reads."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from annotations._text.unit_labels import units_of
from annotations.adjudication import Tie, adjudicate
from annotations.agreement import main, read_gold
from reasoning_anatomy import cli
from reasoning_anatomy.errors import AnnotationError, ReasoningAnatomyError
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import Annotation, ReasoningChain

CHAINS = [
    ReasoningChain(chain_id="c0", question_id="q", question="Tom has 5 pens.", reasoning="So Tom has 5 pens.", answer="5"),
    ReasoningChain(chain_id="c1", question_id="q", question="Tom has 5 pens.", reasoning="Then 5", answer="5"),
]
S, V, C, M, E, F = "SYMBOLIC_MATH", "VERBAL_MATH", "COREFERENCE", "META_DISCOURSE", "ENTITY_NAME", "FUNCTION"
#           So Tom has 5 pens .              the vote
BALLOTS = {
    "anna": ((M, E, F, S, E, F), (M, S)),
    "bert": ((M, E, E, S, V, M), None),
    "cleo": ((M, V, E, V, None, C), (F, S)),
}
ELECTED = {"c0": [M, E, E, S, V, C], "c1": [M, S]}  # ties by rule 10: V before E, C before M before F, M before F
VOTES = {"c0": [3, 2, 2, 2, 1, 1], "c1": [1, 2]}


@pytest.fixture
def run(tmp_path: Path, make_planted_run: Callable[..., Run]) -> Run:
    run = make_planted_run(tmp_path / "run", CHAINS)
    for name, ballots in BALLOTS.items():
        cast = {f"c{number}": Annotation(f"By({name!r})", row) for number, row in enumerate(ballots) if row}
        run.write_annotations(name, cast)
    return run


def column(run: Run, name: str) -> dict[str, list[object]]:
    tokens = run.tokens()
    values = tokens[name].astype(object).where(tokens[name].notna(), None)
    return {str(chain_id): rows.tolist() for chain_id, rows in values.groupby(tokens["chain_id"], sort=False)}


def test_the_category_with_most_votes_wins(run: Run) -> None:
    result = adjudicate(run, ["anna", "bert", "cleo"], name="gold")
    assert result.path == run.folder / "annotations" / "gold.parquet"
    assert column(run, "category_gold") == ELECTED
    assert column(run, "votes_gold") == VOTES
    assert run.annotator("gold") == "Adjudicated(annotators=('anna', 'bert', 'cleo'), ties='rule_10')"
    assert result.n_units == 8
    assert result.ties == (
        Tie("c0", 13, 17, "pens", (V, E)),
        Tie("c0", 17, 18, ".", (C, M, F)),
        Tie("c1", 0, 4, "Then", (M, F)),
    )


def test_ties_may_stay_open(run: Run, tmp_path: Path) -> None:
    result = adjudicate(run, ["anna", "bert", "cleo"], name="gold", ties="open", gold=tmp_path / "gold.jsonl")
    assert column(run, "category_gold") == {"c0": [M, E, E, S, None, None], "c1": [None, S]}
    assert column(run, "votes_gold") == {"c0": [3, 2, 2, 2, 0, 0], "c1": [0, 2]}
    assert (result.n_units, len(result.ties)) == (5, 3)
    assert [len(chain.spans) for chain in read_gold(tmp_path / "gold.jsonl")] == [4, 1]


def test_the_gold_file_is_read_by_the_agreement_command(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "gold.jsonl"
    adjudicate(run, ["anna", "bert", "cleo"], name="gold", gold=path)
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for record, chain in zip(records, CHAINS, strict=True):
        assert list(record) == ["chain_id", "question", "reasoning", "units"]
        units = units_of(chain.reasoning)
        rows = zip(units, ELECTED[chain.chain_id], VOTES[chain.chain_id], strict=True)
        assert record["units"] == [
            {"start": start, "end": end, "category": category, "votes": votes} for (start, end), category, votes in rows
        ]
    assert [chain.category for chain in read_gold(path)] == [tuple(ELECTED["c0"]), tuple(ELECTED["c1"])]
    main([str(path), "--annotator", "rules:model=blank"])
    assert "units                  8" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("annotators", "name", "words"),
    [
        (["anna"], "gold", "anna: a vote needs two or more; the run has anna, bert, cleo"),
        (["anna", "anna"], "gold", "a vote needs two or more"),
        ([], "gold", "no annotator: a vote needs two or more"),
        (["anna", "dora"], "gold", "has no annotator 'dora'; it has anna, bert, cleo"),
        (["anna", "bert"], "bert", "'bert' is one of the voters, whose labels are kept; choose another name"),
        (["anna", "bert"], "cleo", "already has labels named 'cleo'; choose another name, or replace them with --replace"),
    ],
)
def test_what_cannot_be_counted_is_an_error(run: Run, annotators: list[str], name: str, words: str) -> None:
    with pytest.raises(ReasoningAnatomyError) as error:
        adjudicate(run, annotators, name=name)
    assert words in str(error.value)


def test_labels_are_replaced_only_if_asked_for(run: Run) -> None:
    adjudicate(run, ["anna", "bert"], name="cleo", replace=True)
    assert column(run, "category_cleo")["c1"] == [M, S]
    with pytest.raises(AnnotationError, match="'bert' is one of the voters"):
        adjudicate(run, ["anna", "bert"], name="bert", replace=True)


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr("sys.argv", ["reasoning-anatomy", "annotations", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as exit_:
        return int(exit_.code or 0)
    return 0


def test_the_commands_go_from_sheet_to_gold(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.csv"
    assert call(monkeypatch, "export", run.folder, "--to", sheet, "--annotator", "anna") == 0
    assert capsys.readouterr().out == f"Wrote {sheet}\n"
    lines = sheet.read_text(encoding="utf-8-sig").splitlines()
    filled = [lines[0], *(line + line.rsplit(",", 2)[1] for line in lines[1:])]
    sheet.write_text("\n".join(filled) + "\n", encoding="utf-8")
    assert call(monkeypatch, "import", run.folder, sheet, "--as", "dora") == 0
    assert column(run, "category_dora") == column(run, "category_anna")
    gold = tmp_path / "gold.jsonl"
    arguments = ["adjudicate", run.folder, "--annotators", "anna", "bert", "dora", "--as", "gold", "--gold", gold]
    capsys.readouterr()
    assert call(monkeypatch, *arguments) == 0
    printed = capsys.readouterr().out
    assert printed.endswith(f"8 units have a label, 0 were tied. Wrote {run.folder / 'annotations' / 'gold.parquet'}\n")
    assert len(read_gold(gold)) == 2


def test_a_mistake_is_exit_code_2_and_lists_what_to_repair(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.csv"
    call(monkeypatch, "export", run.folder, "--to", sheet)
    assert call(monkeypatch, "import", run.folder, sheet, "--as", "dora") == 2
    assert 'line 2: "So" has no category; label it, or accept missing labels with --partial' in capsys.readouterr().err
