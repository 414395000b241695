"""The command line where it needs no model: help, listing, one line for every mistake."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reasoning_anatomy.cli import conversion, demo, figures, following, labels, measuring, merging, results
from reasoning_anatomy.cli._app import named_scorers
from reasoning_anatomy.plugins import KINDS, available, options_of
from reasoning_anatomy.run.folder import Run, open_run
from reasoning_anatomy.run.manifest import write_manifest
from reasoning_anatomy.specs import EncodingOptions, ModelSpec
from reasoning_anatomy.types import ReasoningChain

COMMANDS = (
    "demo",
    "chains",
    "run",
    "import",
    "status",
    "merge",
    "export",
    "annotate",
    "annotations",
    "analyse",
    "figure",
    "report",
    "list",
)


Call = Callable[..., Any]


@pytest.fixture
def planted(tmp_path: Path, make_planted_run: Callable[..., Run]) -> Run:
    chains = [
        ReasoningChain(
            chain_id=f"c{n}",
            question_id=f"q{n}",
            question="How many?",
            reasoning="Take 3 apples. Then 3 * 4 = 12.",
            answer="12",
        )
        for n in range(6)
    ]
    return make_planted_run(tmp_path / "runs" / "planted", chains, strength=0.5)


def one_line(done: Any) -> str:
    """Return the message of a mistake that the user made: exit code 2, and one line on standard error."""
    assert done.code == 2, done
    assert done.err.startswith("error: ")
    assert done.err.endswith("\n")
    assert done.err.count("\n") == 1
    assert "Traceback" not in done.out + done.err
    return done.err.removeprefix("error: ").removesuffix("\n")


def test_help_lists_the_commands(call: Call) -> None:
    done = call("--help")
    assert (done.code, done.err) == (0, "")
    assert all(re.search(rf"\b{command}\b", done.out) for command in COMMANDS)


MODEL_FLAGS = [
    "--model", "--dtype", "--device", "--quantize", "--revision", "--trust-remote-code",
    "--before-reasoning", "--before-answer",
]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "function", "words"),
    [
        ("demo", demo.demo, ["--out", "--chains", "--model"]),
        ("chains", conversion.chains, ["FILE", "--out", "--format", "--map", "--verbose", "--plugins"]),
        (
            "run",
            measuring.run,
            [
                "CHAINS.jsonl",
                "--out",
                "--scorers",
                "--strategies",
                "--segmenters",
                "--workers",
                "--skip-unusable",
                "--plugins",
                *MODEL_FLAGS,
            ],
        ),
        ("import", measuring.import_run, ["FILE", "--out", "--format", "--scorers", "--plugins", *MODEL_FLAGS]),
        ("status", following.status, ["RUN", "--watch"]),
        ("merge", merging.merge, ["RUN_A", "--out", "--without", "--plugins"]),
        ("export", measuring.export_run, ["RUN", "--format", "--out", "--strategy", "--annotator", "--plugins"]),
        ("annotate", labels.annotate, ["RUN", "--annotator", "--as", "--plugins"]),
        ("analyse", results.analyse, ["RUN", "--analyses", "--plugins"]),
        ("figure", figures.figure, ["KEY", "RUN", "--out", "--format", "--plugins"]),
        ("report", results.report, ["RUN", "--max-chains", "--plugins"]),
        ("list", results.list_plugins, ["KEY", "--plugins", *(room.plural for room in KINDS.values())]),
    ],
)
def test_every_command_has_help(call: Call, command: str, function: Callable[..., None], words: list[str]) -> None:
    done = call(command, "--help")
    assert (done.code, done.err) == (0, "")
    assert [word for word in words if not re.search(rf"(?<![\w-]){word}(?![\w-])", done.out)] == []
    assert " ".join((function.__doc__ or "").split()) in " ".join(done.out.split())


def test_the_options_of_a_model_are_explained_by_its_dataclasses(call: Call) -> None:
    text = " ".join(call("run", "--help").out.replace("│", " ").split())
    for words in (
        "--model STR Hub id, local folder, LoRA folder (loaded with its base), GGUF file, or ``smollm2-135m`` for the bundled "
        "one. (default: smollm2-135m)",
        "--quantize {None,4bit,8bit} ``4bit`` (NF4) or ``8bit`` through bitsandbytes",
        r"--before-answer {None}|STR Text between the reasoning and the answer, part of the answer. If left out it is found out"
        r" likewise: ``\n</think>\n\n`` for models that think in tags, a line break for others. (default: None)",
        "--joints {auto,none} ``auto`` finds out what is left out",
    ):
        assert words in text


def test_a_line_break_is_written_as_on_a_command_line(monkeypatch: pytest.MonkeyPatch, call: Call, tmp_path: Path) -> None:
    from reasoning_anatomy import interchange

    given = {}
    monkeypatch.setattr(interchange, "import_run", lambda *_, **options: given.update(options) or exit())
    call("import", "file.jsonl", "--out", "out")
    assert (given["model"], given["encoding"]) == (None, EncodingOptions())
    call("import", "file.jsonl", "--out", "out", "--model", "gguf", "--dtype", "float16", "--before-reasoning", r"<think>\n",
         "--template-variables", "thinking=true")  # fmt: skip
    assert given["model"] == ModelSpec("gguf", dtype="float16")
    assert given["encoding"] == EncodingOptions(before_reasoning="<think>\n", template_variables=("thinking=true",))
    assert repr(given["encoding"]) == (
        r"EncodingOptions(before_reasoning='<think>\n', before_answer=None, template_variables=('thinking=true',), date=None)"
    )


@pytest.mark.parametrize(
    "arguments", [["nope"], [], ["report"], ["list", "nope"], ["demo", "--chains", "x"], ["demo", "--nope"]]
)
def test_a_wrong_use_exits_with_2_and_points_to_help(call: Call, arguments: list[str]) -> None:
    done = call(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "--help" in done.err
    assert "Traceback" not in done.err


def test_list_shows_every_plugin_with_its_summary(call: Call) -> None:
    done = call("list")
    assert (done.code, done.err) == (0, "")
    for kind in KINDS:
        for info in available(kind).values():
            assert f"  {info.key:<28} {info.summary}\n" in done.out
            assert info.source in done.out
            assert info.needs in done.out
    headings = [line for line in done.out.splitlines() if not line.startswith(" ")]
    assert headings == [f"{room.plural}:" for room in KINDS.values()]


def test_list_of_one_kind_shows_that_kind(call: Call) -> None:
    done = call("list", "strategies")
    assert done.out.startswith("strategies:\n  ")
    assert "\n  greedy " in done.out
    assert "scorers" not in done.out


def test_list_of_scorers_gives_one_line_and_the_source_of_each(call: Call) -> None:
    done = call("list", "scorers")
    lines = done.out.splitlines()
    known = available("scorer")
    assert [line.split()[0] for line in lines[1:] if not line.startswith(" " * 30)] == list(known)
    for key, info in known.items():
        place = lines.index(f"  {key:<28} {info.summary}")
        assert lines[place + 1] == f"{'':<30} {info.source}" or not info.source


@pytest.mark.parametrize(
    ("kind", "key"), [(kind, key) for kind in KINDS for key in [*available(kind)][:1]] + [("strategy", "greedy_rounds")]
)
def test_list_of_a_plugin_shows_its_options_with_defaults_and_texts(call: Call, kind: str, key: str) -> None:
    done = call("list", KINDS[kind].plural, key)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{available(kind)[key].summary}\n")
    assert f"Source: {available(kind)[key].source}\n" in done.out or not available(kind)[key].source
    text = " ".join(done.out.split())
    for option in options_of(kind, key):
        assert f"{option.name}={option.default!r} {option.text}" in text


def test_list_of_an_unknown_plugin_lists_those_that_exist(call: Call) -> None:
    expected = f"unknown strategy 'nope'; available: {', '.join(available('strategy'))}"
    assert one_line(call("list", "strategies", "nope")) == expected


def test_all_takes_every_scorer_that_needs_nothing_else_and_says_which_it_leaves_out(capsys) -> None:
    known = available("scorer")
    needy = [key for key, info in known.items() if info.needs]
    assert "llmlingua2" in needy
    assert named_scorers(("all", "random:seed=3")) == [*(key for key in known if key not in needy), "random:seed=3"]
    assert capsys.readouterr().out.splitlines() == [f"Left out of all: {key} needs {known[key].needs}" for key in needy]
    assert named_scorers(("all", "llmlingua2:model=here"))[-1] == "llmlingua2:model=here"
    assert "llmlingua2" not in capsys.readouterr().out
    assert named_scorers(("surprisal",)) == ["surprisal"]
    assert capsys.readouterr().out == ""
    assert named_scorers(("surprisal", "all"))[0] == "surprisal"
    assert named_scorers(("surprisal", "all")).count("surprisal") == 1


@pytest.mark.parametrize("command", ["report", "annotate"])
def test_a_folder_that_is_no_run_is_told_in_one_line(call: Call, tmp_path: Path, command: str) -> None:
    for folder in ("none", "."):
        message = one_line(call(command, folder))
        assert message.startswith(f"{folder}: is not a run folder (no run.json); make one with: reasoning-anatomy run ")
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_chains_with_a_mistake_is_told_with_its_line(call: Call, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"chain_id": "a"}\n')
    message = one_line(call("run", "bad.jsonl", "--out", "out"))
    assert message.startswith("bad.jsonl, line 1: has no field 'question_id'; every chain needs ")
    assert one_line(call("run", "none.jsonl", "--out", "out")).startswith("none.jsonl: No such file or directory; give ")
    assert one_line(call("run", ".", "--out", "out")).startswith(".: Is a directory; give a JSONL file")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", ["0", "-1", "44"])
def test_a_number_of_example_chains_that_are_not_there_is_refused(call: Call, tmp_path: Path, number: str) -> None:
    message = one_line(call("demo", "--chains", number, "--out", "out"))
    assert message == f"--chains {number}: expected 1..43, the number of example chains"  # 43 are shipped
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_annotator_lists_those_that_exist(call: Call, planted: Run) -> None:
    done = call("annotate", planted.folder, "--annotator", "nope")
    assert done.code == 2
    assert f"error: unknown annotator 'nope'; available: {', '.join(available('annotator'))}\n" in done.err
    assert planted.annotators == []


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--strategies", "nope", "unknown strategy 'nope'; available: "),
        ("--scorers", "nope", "unknown scorer 'nope'; available: "),
        (
            "--segmenters",
            "nope",
            "unknown segmenter 'nope'; available: cue_ends, cue_words, given, list_items, paragraphs, sentences",
        ),
        ("--segmenters", "cue_words:match=all", "segmenter 'cue_words:match=all': match='all': Input should be "),
        ("--strategies", "greedy:objective=both", "strategy 'greedy:objective=both': objective='both': Input should be "),
        ("--strategies", "greedy:colour=red", "strategy 'greedy:colour=red': greedy has no option colour; it has "),
    ],
)
def test_an_unknown_scorer_or_strategy_lists_those_that_exist(
    call: Call, tmp_path: Path, option: str, value: str, words: str
) -> None:
    line = '{"chain_id": "a", "question_id": "q", "question": "Q", "reasoning": "r", "answer": "A"}\n'
    (tmp_path / "chains.jsonl").write_text(line)
    done = call("run", "chains.jsonl", "--out", "out", option, value)
    assert one_line(done).startswith(words)
    assert not (tmp_path / "out").exists()


ANALYSIS = "analyses.rank_correlation"


def test_an_analysis_prints_and_writes_its_table(call: Call, planted: Run) -> None:
    done = call(planted.folder, "--draws", "99", module=ANALYSIS)
    assert (done.code, done.err) == (0, "")
    assert "draws=99" in done.out
    assert f"Wrote {planted.folder / 'analyses' / 'rank_correlation'}\n" in done.out
    result = open_run(planted.folder).analysis("rank_correlation")
    raw = result.table[result.table["term"] == "spearman"]
    for scorer, kind, estimate in zip(raw["scorer"], raw["kind"], raw["estimate"], strict=True):
        shown = f"{estimate:.2f}".replace("-", "\N{MINUS SIGN}")
        assert re.search(rf"{scorer}\s+{kind}\s+{shown} ", done.out)
    assert all(f"note: {warning}\n" in done.out for warning in result.warnings)


def test_without_a_run_the_newest_is_taken_and_named(
    call: Call, planted: Run, tmp_path: Path, make_planted_run: Callable[..., Run]
) -> None:
    older = make_planted_run(tmp_path / "runs" / "zz-older", list(planted.chains.values()))
    os.utime(older.folder / "run.json", ns=(0, 0))
    done = call("--draws", "99", module=ANALYSIS)
    assert done.code == 0
    assert done.out.startswith(f"No run was named; this is the newest below runs/: {Path('runs') / 'planted'}\n")
    assert planted.analyses == ["rank_correlation"]
    assert older.analyses == []


def test_without_any_run_the_remedy_is_named(call: Call) -> None:
    message = one_line(call(module=ANALYSIS))
    assert message == "runs: holds no run; name one, or make one with: reasoning-anatomy demo --out runs/demo"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--draws", "3"], "rank_correlation: draws=3: a 0.95 interval needs 19 or more"),  # 1 / 0.05 - 1
        (["--confidence", "1.5"], "rank_correlation: confidence=1.5: expected a share between 0 and 1"),
        (["--seed", "-1"], "rank_correlation: seed=-1: expected 0 or more"),
        (["--strategy", "nope"], "nope"),
        (["--scorer", "nope"], "nope"),
    ],
)
def test_a_bad_value_of_an_option_is_one_line(call: Call, planted: Run, options: list[str], words: str) -> None:
    assert words in one_line(call(planted.folder, *options, module=ANALYSIS))
    assert planted.analyses == []


def test_the_help_of_an_analysis_names_its_options_and_defaults(call: Call) -> None:
    done = call("--help", module=ANALYSIS)
    assert (done.code, done.err) == (0, "")
    text = " ".join(done.out.replace("│", " ").split())
    assert text.startswith(f"usage: python -m {ANALYSIS} ")
    for words in ("--draws INT Bootstrap resamples of the questions. (default: 9999)", "(default: None)"):
        assert words in text


def test_the_options_of_an_analysis_reach_it(call: Call, planted: Run) -> None:
    options = ["--draws", "199", "--confidence", "0.9", "--seed", "4"]
    assert call(planted.folder, *options, module=ANALYSIS).code == 0
    assert planted.analysis("rank_correlation").config == (
        "RankCorrelation(scorer='answer_attention', strategy='greedy', at='token', segmenter=None, competitors=True, "
        "draws=199, confidence=0.9, seed=4)"
    )


def test_report_runs_what_is_missing_and_writes_one_file(call: Call, planted: Run) -> None:
    assert planted.analyses == []
    done = call("report", planted.folder)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-1] == f"Open the report: {planted.folder / 'report.html'}"
    assert (planted.folder / "report.html").read_text(encoding="utf-8").lower().startswith("<!doctype html>")
    assert planted.analyses == ["rank_correlation"]
    before = (planted.folder / "analyses" / "rank_correlation" / "result.json").stat().st_mtime_ns
    again = call("report", planted.folder)
    note, last = again.out.splitlines()
    assert note.startswith("note: deletion_by_category is not in the report: ")
    assert "has no annotator; add one: reasoning-anatomy annotate" in note
    assert last == f"Open the report: {planted.folder / 'report.html'}"
    assert (planted.folder / "analyses" / "rank_correlation" / "result.json").stat().st_mtime_ns == before


def test_analyse_takes_the_first_scorer_and_strategy_of_the_run(call: Call, planted: Run) -> None:
    other = planted.manifest.configuration.model_copy(update={"strategies": {"greedy:keep_ratio=0.5": "Greedy()"}})
    write_manifest(planted.folder, planted.manifest.model_copy(update={"configuration": other}))
    done = call("analyse", planted.folder)
    assert "6 not_measured" in one_line(done)  # the strategy of the manifest was asked for, not the default
    write_manifest(planted.folder, planted.manifest)
    done = call("analyse", planted.folder)
    assert done.code == 0
    assert "\nskipped deletion_by_category: " in done.out
    assert call("analyse", planted.folder, "--analyses", "rank_correlation:draws=99").code == 0
    assert "draws=99" in open_run(planted.folder).analysis("rank_correlation").config


def test_every_analysis_that_the_run_allows_is_run_and_the_others_are_named(planted: Run) -> None:
    command = [sys.executable, "-m", "analyses", str(planted.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    skipped = [line.split(":")[0].removeprefix("skipped ") for line in done.stdout.splitlines() if line.startswith("skipped ")]
    assert "threshold_comparison" in skipped
    assert "rank_correlation" in planted.analyses
    assert sorted([*planted.analyses, *skipped]) == sorted(available("analysis"))


def test_an_unknown_analysis_lists_those_that_exist(call: Call, planted: Run) -> None:
    assert one_line(call("analyse", planted.folder, "--analyses", "nope")).startswith("unknown analysis 'nope'; available: ")


def test_report_without_what_an_analysis_needs_says_so_and_is_written(call: Call, planted: Run) -> None:
    nothing = planted.manifest.configuration.model_copy(update={"scorers": {"astrology": "Astrology()"}})
    write_manifest(planted.folder, planted.manifest.model_copy(update={"configuration": nothing}))
    done = call("report", planted.folder)
    assert done.code == 0
    assert "note: rank_correlation is not in the report: " in done.out
    assert (planted.folder / "report.html").exists()


def test_annotate_says_what_it_wrote(call: Call, planted: Run) -> None:
    done = call("annotate", planted.folder, "--annotator", "rules:model=blank")
    assert done.code == 0
    assert done.out == f"Wrote {planted.folder / 'annotations' / 'rules-model-blank.parquet'}\n"
    assert planted.annotator("rules-model-blank").startswith("Rules(model=")
    assert planted.tokens()["category_rules-model-blank"].notna().all()


def test_a_damaged_run_is_one_line(call: Call, planted: Run) -> None:
    damaged = planted.layout.artefact("c3", "path", "greedy")
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1])
    message = one_line(call("report", planted.folder))
    assert message.startswith(f"{damaged}: cannot be read (")
    assert message.endswith("delete the file and run the same command again")
    damaged.write_bytes(content)
    (planted.folder / "run.json").write_text("{}")
    assert one_line(call("report", planted.folder)).startswith(f"{planted.folder / 'run.json'}: cannot be read (")


def test_the_installed_command_and_the_module_run_as_processes(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("reasoning-anatomy")
    for command in ([str(script), "report", "none"], [sys.executable, "-m", ANALYSIS, "none"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60)
        assert one_line(SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)).startswith(
            "none: is not a run folder"
        )


def test_help_is_there_at_once_and_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from reasoning_anatomy.cli import main; sys.argv = ['reasoning-anatomy', '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'transformers', 'spacy', 'pandas', 'matplotlib', 'scipy'} & sys.modules.keys()))"
    )
    before = os.times().children_user
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, timeout=60)
    seconds = os.times().children_user - before
    assert done.stdout.endswith("\n[]\n")
    assert seconds < 1.5  # of processor time, so that a busy machine does not matter


def test_status_says_what_is_measured_and_what_failed(call: Call, planted: Run) -> None:
    planted.layout.artefact("c1", "path", "greedy").unlink()
    planted.layout.artefact("c2", "path", "greedy").unlink()
    failure = planted.layout.failure("c2", "path", "greedy")
    failure.parent.mkdir(parents=True)
    failure.write_text('{"reason": "a number is not finite"}')
    done = call("status", planted.folder)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[:3] == [
        "Failed: c2, strategy greedy: a number is not finite",
        "Left: 1 of 6 chains have not been measured by strategy greedy",
        f"4 of 6 chains are measured in {planted.folder}",
    ]
