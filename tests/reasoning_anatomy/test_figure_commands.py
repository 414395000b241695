"""``reasoning-anatomy figure KEY RUN`` with the options of the figure, and ``python -m reports.figures RUN``."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from reasoning_anatomy.run import Run
from reasoning_anatomy.types import ReasoningChain

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def planted(make_planted_run: Callable[..., Run], tmp_path_factory: pytest.TempPathFactory) -> Run:
    chains = [
        ReasoningChain(
            chain_id=f"c{number}", question_id=f"q{number}", question="How many?", reasoning="Take 3 apples .", answer="3"
        )
        for number in range(3)
    ]
    return make_planted_run(tmp_path_factory.mktemp("planted") / "run", chains)


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_options_of_a_figure_are_options_of_the_command(call: Call, planted: Run, tmp_path: Path) -> None:
    done = call("figure", "likelihood_curve", planted.folder, "--points", "3", "--width", "column", "--out", "a.svg")
    assert (done.code, done.err) == (0, "")
    assert done.out == "Wrote a.svg\nWrote a.csv\n"
    assert sorted(pd.read_csv(tmp_path / "a.csv")["fraction_deleted"].unique()) == [0, 0.5, 1]
    assert 'width="241.2pt"' in (tmp_path / "a.svg").read_text(), "3.35 inches"
    assert call("figure", "likelihood_curve:points=3,width=column", planted.folder, "--out", "b.svg").code == 0
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes(), "however options are written"


def test_several_formats_are_one_file_each_in_the_run(call: Call, planted: Run) -> None:
    done = call("figure", "score_by_deletion_step", planted.folder, "--format", "png", "svg")
    assert (done.code, done.err) == (0, "")
    folder = planted.folder / "figures"
    assert written(folder) == [f"score_by_deletion_step.{kind}" for kind in ("csv", "png", "svg")]


def test_help_of_a_figure_shows_its_options(call: Call) -> None:
    done = call("figure", "token_strip", "--help")
    assert done.code == 0
    assert all(
        option in done.out for option in ("--chain", "--colour", "{category,score,step}", "--width", "--format", "--out")
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope"], "error: unknown figure 'nope'; available: annotator_confusion, "),
        (["token_strip", "--tokens", "0"], "error: figure 'token_strip': tokens=0: expected 1 or more"),
        (["head_map:colour=red"], "error: figure 'head_map:colour=red': head_map has no option colour; it has alpha, scorer, "),
        (["likelihood_curve", "--out", "a.pdf", "--format", "png"], "error: --out a.pdf is one file and its ending says the "),
        (["token_strip"], "has no annotator; add one: reasoning-anatomy annotate "),
        (["survival_curves"], "has no analysis 'category_survival'; make it with: python -m analyses.category_survival "),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    call: Call, planted: Run, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = call("figure", arguments[0], planted.folder, *arguments[1:])
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert message in done.err
    assert written(tmp_path) == []


@pytest.mark.parametrize(("option", "value"), [("--format", "jpg"), ("--width", "wide"), ("--color", "red")])
def test_an_option_or_value_that_there_is_not_is_refused(call: Call, planted: Run, option: str, value: str) -> None:
    done = call("figure", "head_map", planted.folder, option, value)
    assert done.code == 2
    assert option in done.err


def test_all_figures_that_a_run_allows_are_written_and_the_others_named(planted: Run, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "reports.figures", str(planted.folder), "--format", "svg", "--out"]
    done = subprocess.run([*command, str(tmp_path / "out")], capture_output=True, text=True, check=True, timeout=120)
    assert done.stderr == ""
    drawn = ["likelihood_curve", "score_by_deletion_step"]
    assert written(tmp_path / "out") == sorted(f"{key}.{kind}" for key in drawn for kind in ("csv", "svg"))
    lines = done.stdout.splitlines()
    named = [line.removeprefix(f"Wrote {tmp_path / 'out'}/") for line in lines if line.startswith("Wrote ")]
    assert named == [f"{key}.{kind}" for key in drawn for kind in ("svg", "csv")]
    assert any(line.startswith("skipped head_map: ") and "python -m analyses.rank_correlation" in line for line in lines)
