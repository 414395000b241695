"""How fast a run goes, what is being worked on, and how long the rest will take: from its files alone."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reasoning_anatomy.claims import claimed, is_held
from reasoning_anatomy.run import Run, pace
from reasoning_anatomy.run.layout import artefact_name
from reasoning_anatomy.run.manifest import Configuration
from reasoning_anatomy.run.pace import Pace, run_pace, students_pace
from reasoning_anatomy.run.running import running
from reasoning_anatomy.run.students import Arm, Student, Students
from reasoning_anatomy.run.writer import begin_run
from reasoning_anatomy.types import EncodedChain, ReasoningChain, TokenScores

Call = Callable[..., Any]
NOW = 1_800_000_000.0
MINUTE = 60.0
CONFIGURATION = Configuration(model=None, encoding="words", scorers={"s": "S()"}, strategies={"g": "G()"})
WORDS = (8, 7, 6, 5, 4, 3)
CHAINS = [
    ReasoningChain(chain_id=f"c{n}", question_id="q", question="Q", reasoning=" ".join("x" * n_words), answer="A")
    for n, n_words in enumerate(WORDS)
]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace.time, "time", lambda: NOW)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """All chains are encoded and nothing is measured."""
    with begin_run(tmp_path / "run", CONFIGURATION, CHAINS) as writer:
        for chain, n_words in zip(CHAINS, WORDS, strict=True):
            spans = [[2 * n, 2 * n + 1] for n in range(n_words)]
            writer.add_encoded(EncodedChain(chain, [1], [7] * n_words, [2], spans))
        writer.add_scores("c5", "s", TokenScores(np.ones(3)))
    Run(tmp_path / "run").layout.artefact("c5", "score", "s").unlink()
    return Run(tmp_path / "run")


def finish(run: Run, chain_id: str, label: str, minutes_ago: float) -> None:
    """Put an artefact there that was written so many minutes ago; only its name and its time count."""
    stage = "score" if label == "s" else "path"
    path = run.layout.chain(chain_id) / artefact_name(stage, label)
    path.touch()
    os.utime(path, (NOW - minutes_ago * MINUTE,) * 2)
    newest = max(each.stat().st_mtime for each in path.parent.iterdir() if each.name != "encoded.safetensors")
    os.utime(path.parent, (newest,) * 2)


def length(n: int) -> int:
    return 2 * WORDS[n] - 1


@pytest.mark.usefixtures("clock")
def test_what_is_left_takes_as_long_for_its_size_as_what_was_done(run: Run) -> None:
    for n, minutes_ago in ((0, 25), (1, 15), (2, 5)):
        finish(run, f"c{n}", "s", minutes_ago + 1)
        finish(run, f"c{n}", "g", minutes_ago)
    found = run_pace(run, run.status())
    assert (found.n_finished, found.seconds) == (2, 26 * MINUTE)
    left, done = (sum(length(n) ** 2 for n in numbers) for numbers in ((3, 4, 5), (1, 2)))
    of_scores = sum(map(length, (3, 4, 5))) / sum(map(length, (1, 2)))
    assert of_scores > left / done
    assert found.seconds_left == pytest.approx(26 * MINUTE * of_scores)


@pytest.mark.usefixtures("clock")
def test_a_strategy_that_was_added_is_compared_with_itself(run: Run) -> None:
    for n in range(6):
        finish(run, f"c{n}", "s", 600 + n)
    for n, minutes_ago in ((0, 20), (1, 10)):
        finish(run, f"c{n}", "g", minutes_ago)
    found = run_pace(run, run.status())
    assert (found.n_finished, found.seconds) == (1, 20 * MINUTE)
    left = sum(length(n) ** 2 for n in (2, 3, 4, 5))
    assert found.seconds_left == pytest.approx(20 * MINUTE * left / length(1) ** 2)


@pytest.mark.usefixtures("clock")
def test_a_run_that_was_begun_long_ago_and_continued_has_the_pace_of_now(run: Run) -> None:
    for n, minutes_ago in ((0, 9000), (1, 8000), (2, 10), (3, 4)):
        for label in "sg":
            finish(run, f"c{n}", label, minutes_ago)
    found = run_pace(run, run.status())
    assert (found.n_finished, found.seconds) == (1, 10 * MINUTE)
    assert found.seconds_left == pytest.approx(10 * MINUTE * sum(map(length, (4, 5))) / length(3))


@pytest.mark.usefixtures("clock")
def test_a_slow_run_has_the_pace_since_its_first_chain(run: Run) -> None:
    for n, minutes_ago in ((0, 180), (1, 100), (2, 20)):
        for label in "sg":
            finish(run, f"c{n}", label, minutes_ago)
    assert (run_pace(run, run.status()).n_finished, run_pace(run, run.status()).seconds) == (2, 180 * MINUTE)


@pytest.mark.usefixtures("clock")
def test_without_two_finished_chains_no_time_is_given(run: Run) -> None:
    assert run_pace(run, run.status()) == Pace(0, 0.0, None)
    finish(run, "c0", "s", 1)
    finish(run, "c0", "g", 1)
    assert (run_pace(run, run.status()).n_finished, run_pace(run, run.status()).seconds_left) == (0, None)
    finish(run, "c1", "s", 0.5)
    assert run_pace(run, run.status()).seconds_left is None  # nobody knows how long a path takes


@pytest.mark.usefixtures("clock")
def test_failed_chains_are_not_left(run: Run) -> None:
    with begin_run(run.folder, CONFIGURATION, CHAINS) as writer:
        for n in range(6):
            finish(run, f"c{n}", "s", 20 - n)
        finish(run, "c0", "g", 10)
        finish(run, "c1", "g", 5)
        for n in (2, 3, 4, 5):
            writer.add_failure(f"c{n}", "path", "g", "no memory")
        assert run_pace(run, run.status()).seconds_left == 0
        (run.folder / "tokens.parquet").unlink()
        for n in (2, 3, 4, 5):
            run.layout.artefact(f"c{n}", "score", "s").unlink()
        for path in run.folder.glob("chains/*/*-*.safetensors"):
            path.unlink()  # so that the run ends as it began
        writer.add_scores("c5", "s", TokenScores(np.ones(3)))


def test_claims_that_are_held_are_what_is_running(run: Run) -> None:
    with begin_run(run.folder, CONFIGURATION, CHAINS) as writer:
        assert running(run) == {}
        with writer.claim_path("c1", "g") as first, writer.claim_path("c2", "g") as second, writer.claim_fit("s"):
            assert first
            assert second
            with writer.claim_scores("c1", ["s"]):
                assert running(run) == {"strategy g": ["c1", "c2"], "scores": ["c1"], "scorer s": ["all chains"]}
            assert running(run) == {"strategy g": ["c1", "c2"], "scorer s": ["all chains"]}
        assert running(run) == {}
        writer.add_scores("c5", "s", TokenScores(np.ones(3)))


def test_what_a_killed_process_held_is_not_running(run: Run) -> None:
    lock = run.layout.claim("c0", "path g")
    script = (
        "import sys, time; from pathlib import Path; from reasoning_anatomy.claims import claimed\n"
        "with claimed(Path(sys.argv[1]), []): print('held', flush=True); time.sleep(100)"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(lock)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "held\n"
        assert running(run) == {"strategy g": ["c0"]}
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert lock.exists()
    assert running(run) == {}


def test_looking_whether_a_claim_is_held_takes_no_work_from_anybody(tmp_path: Path) -> None:
    lock, stop = tmp_path / "a.lease", threading.Event()

    def look() -> None:
        while not stop.is_set():
            is_held(lock)
            time.sleep(0.0005)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(200):
            with claimed(lock, []) as is_ours:
                assert is_ours
                assert is_held(lock)
    finally:
        stop.set()
        thread.join()
    assert not is_held(tmp_path / "none.lease")


def test_status_says_what_runs_how_fast_and_how_long_it_will_take(call: Call, run: Run) -> None:
    done = call("status", run.folder)
    assert "Rate: not known before two chains are finished" in done.out
    assert "Running: nothing that can be seen from here; the same command as before continues" in done.out
    now = time.time()
    for n, minutes_ago in ((0, 20), (1, 15), (2, 10)):
        for label in "sg":
            finish(run, f"c{n}", label, (NOW - now) / MINUTE + minutes_ago)
    with claimed(run.layout.claim("c3", "path g"), []):
        done = call("status", run.folder)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert f"3 of 6 chains are measured in {run.folder}" in lines
    assert "Running: strategy g (c3)" in lines
    (rate,) = [line for line in lines if line.startswith("Rate: ")]
    assert rate.startswith("Rate: 2 chains in the last 20 min")
    assert rate.endswith((", 6 an hour", ", 5.9 an hour"))
    assert any(line.startswith("Time left: about ") for line in lines)


def test_status_is_said_until_nothing_is_left(call: Call, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    slept = []

    def finish_one(seconds: float) -> None:
        chain_id = f"c{len(slept)}"
        slept.append(seconds)
        for label in "sg":
            finish(run, chain_id, label, 0)

    monkeypatch.setattr("reasoning_anatomy.cli.following.time.sleep", finish_one)
    done = call("status", run.folder, "--watch", "3")
    assert (done.code, slept) == (0, [3.0] * 6)
    counts = [line for line in done.out.splitlines() if "chains are measured in" in line]
    assert counts == [f"{n} of 6 chains are measured in {run.folder}" for n in range(7)]
    assert call("status", run.folder, "--watch", "0").err == "error: --watch is 0; give seconds above 0\n"


def test_status_works_while_files_come_and_go(run: Run) -> None:
    with begin_run(run.folder, CONFIGURATION, CHAINS) as writer:
        stop = threading.Event()

        def fail_and_try_again() -> None:
            while not stop.is_set():
                writer.add_failure("c0", "path", "g", "no memory")
                writer.forget_failure("c0", "path", "g")

        thread = threading.Thread(target=fail_and_try_again)
        thread.start()
        try:
            for _ in range(100):
                assert run.status().failed in ({}, {"c0": {"strategy g": "no memory"}})
                run_pace(run, run.status())
        finally:
            stop.set()
            thread.join()
        writer.add_scores("c5", "s", TokenScores(np.ones(3)))


@pytest.fixture
def students(make_students: Callable[..., Students], tmp_path: Path) -> Students:
    arm = Arm(strategy="greedy", keep_ratio=0.5)
    answers = {"q0": ("c", 5), "q1": ("w", 5)}
    return make_students(tmp_path / "students", {Student(arm=arm, seed=seed): answers for seed in range(4)})


@pytest.fixture
def half(students: Students) -> Iterator[Students]:
    """Two of four students are done, one is being taught and has answered one question, one was not begun."""
    for student, minutes_ago in zip(students.manifest.students[:2], (12, 2), strict=True):
        students.trained_file(student).parent.mkdir(parents=True)
        students.trained_file(student).write_text('{"steps": 1}')
        os.utime(students.likelihoods_file(student), (NOW - minutes_ago * MINUTE,) * 2)
    third, fourth = students.manifest.students[2:]
    for student in (third, fourth):
        students.likelihoods_file(student).unlink()
    students.answers_file(fourth).unlink()
    shutil.copytree(students.trained_file(students.manifest.students[0]).parent, students.trained_file(third).parent)
    first_line = students.answers_file(third).read_text().splitlines()[0]
    students.answers_file(third).write_text(first_line + "\n")
    with claimed(students.claim(third), []):
        yield students


@pytest.mark.usefixtures("clock")
def test_students_count_alike(half: Students) -> None:
    assert students_pace(half) == Pace(1, 12 * MINUTE, 2 * 12 * MINUTE)


def test_status_of_students(call: Call, half: Students) -> None:
    done = call("status", half.folder)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[:3] == [
        f"3 of 4 students are trained and 2 have answered all 2 questions, in {half.folder}",
        "Running: greedy at 0.5, seed 2 (1 of 2 answers)",
        "Left: 2 of 4 students",
    ]
    assert lines[-1] == f"Next: python -m analyses.distillation {half.folder}"
