"""Sweeps in processes of their own: killed, finished, and several at once."""

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reasoning_anatomy.chains import write_chains
from reasoning_anatomy.types import ReasoningChain

Start = Callable[..., ForkServerProcess]
pytestmark = pytest.mark.slow

IMPORTED_ONCE = [
    "reasoning_anatomy.evaluation", "reasoning_anatomy.evaluation.work", "reasoning_anatomy.run.sweep",
    "transformers.models.auto.modeling_auto", "transformers.models.llama.modeling_llama",
]  # fmt: skip
SCRIPT = """
import os, time
from pathlib import Path
from reasoning_anatomy.evaluation import Answering, SweepPlan, sweep
from reasoning_anatomy.evaluation.work import SweepWork
from reasoning_anatomy.generation.completion import Sampling
from reasoning_anatomy.run.sweep import SweepFolder

announcements = log.with_suffix(".answering")
announcements.mkdir(exist_ok=True)
add, answer = SweepFolder.add_answers, SweepWork.answer

def announced(self, chains):
    (announcements / str(os.getpid())).touch()
    answer(self, chains)

def slowly(self, chain_id, reading, kept, answers):
    while len(list(announcements.iterdir())) < n_processes:
        time.sleep(0.01)
    time.sleep(0.02)
    add(self, chain_id, reading, kept, answers)
    with log.open("a") as file:
        file.write(f"{os.getpid()} {chain_id} {reading} {kept.positions.tolist()}\\n")

SweepFolder.add_answers, SweepWork.answer = slowly, announced
plan = SweepPlan(
    strategies=("random_steps",), baselines=("truncation",), thresholds=(0.2, 0.4, 0.6), samples=2,
    readings=("closed_up", "evicted"),
)
answering = Answering(sampling=Sampling(temperature=1.0, max_tokens=4))
sweep(run, plan, chains=chains, model=model, answering=answering)
"""
"""Of its variables those that are not set in it are given."""


@pytest.fixture(scope="module")
def start(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Start:
    """Start a sweep of four chains into a folder, of which the first answer waits for as many processes as are said.

    Beside the folder, a log says who wrote which answers.
    """
    chains = [
        ReasoningChain(
            chain_id=f"c{n}", question_id=f"q{n}", question=f"What is {n} + 2?", answer=f"It is {n + 2}.",
            gold_answer=str(n + 2),
            reasoning=f"We add. {n} + 2 = {n + 2}. Check it. It holds. " + "Once more. " * n + f"So {n + 2}.",
        )
        for n in range(4)
    ]  # fmt: skip
    file = tmp_path_factory.mktemp("chains") / "chains.jsonl"
    write_chains(file, chains)

    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(IMPORTED_ONCE)

    def begin(run: Path, n_processes: int = 1) -> ForkServerProcess:
        given = {"run": run, "chains": file, "model": str(tiny_model_folder), "log": run.with_suffix(".log")}
        process = processes.Process(target=exec, args=(SCRIPT, {**given, "n_processes": n_processes}))
        process.start()
        return process

    return begin


def end(process: ForkServerProcess) -> None:
    process.join(timeout=300)
    assert process.exitcode == 0


@pytest.fixture(scope="module")
def whole(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sweep by one process."""
    run = tmp_path_factory.mktemp("whole") / "run"
    end(start(run))
    return run


def answer_files(run: Path) -> list[Path]:
    return sorted(run.glob("evaluations/*/answers-*.json"))


def expect_same_table(run: Path, whole: Path) -> None:
    """Likelihoods differ by rounding: which prefixes are shared depends on what was left to read."""
    found, expected = (pd.read_parquet(folder / "evaluations.parquet") for folder in (run, whole))
    pd.testing.assert_frame_equal(found.drop(columns="nll_gold"), expected.drop(columns="nll_gold"), check_exact=True)
    pd.testing.assert_series_equal(found["nll_gold"], expected["nll_gold"], atol=1e-5, rtol=0)


def test_a_sweep_that_was_killed_is_finished_to_the_same_answers(whole: Path, start: Start, tmp_path: Path) -> None:
    run, n_files, rng = tmp_path / "run", len(answer_files(whole)), np.random.default_rng(0)
    for n_more in (1, int(rng.integers(2, n_files // 2))):
        process, before = start(run), len(answer_files(run))
        deadline = time.monotonic() + 120
        while len(answer_files(run)) < before + n_more:
            assert process.exitcode is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
        process.join()
    assert 0 < len(answer_files(run)) < n_files
    assert not (run / "evaluations.parquet").exists()
    end(start(run))
    expect_same_table(run, whole)
    assert [path.name for path in answer_files(run)] == [path.name for path in answer_files(whole)]
    assert not list(run.rglob(".tmp-*"))


def test_two_processes_answer_every_context_once(whole: Path, start: Start, tmp_path: Path) -> None:
    run = tmp_path / "run"
    both = [start(run, 2), start(run, 2)]
    for process in both:
        end(process)
    written = [line.split(" ", 1) for line in run.with_suffix(".log").read_text().splitlines()]
    assert len({who for who, _ in written}) == 2
    assert len({what for _, what in written}) == len(written) == len(answer_files(whole))
    expect_same_table(run, whole)
