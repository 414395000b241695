"""How many workers there are, what each of them gets, and when they end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest
import torch

from reasoning_anatomy.cli._app import WorkersOption
from reasoning_anatomy.errors import RunError
from reasoning_anatomy.generation.chain_file import SampledChains
from reasoning_anatomy.generation.completion import Sampling
from reasoning_anatomy.generation.generate import sample_name
from reasoning_anatomy.pipeline.executors import Local, Outcome, Ray, Slurm, Work
from reasoning_anatomy.pipeline.executors.local import _work
from reasoning_anatomy.pipeline.sampling import Asked, generate_together
from reasoning_anatomy.problems import Problem
from reasoning_anatomy.progress import Stages
from reasoning_anatomy.specs import ModelSpec


@pytest.fixture
def eight_gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What torch says on such a machine; and the environment and threads of this process are as before once it is done."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4,5,6,7")
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("eight_gpus")
@pytest.mark.parametrize(("device", "n_workers"), [("auto", 8), ("cuda", 8), ("cuda:3", None), ("cpu", None)])
def test_gpus_are_dealt_out_unless_a_device_is_named(tmp_path: Path, device: str, n_workers: int | None) -> None:
    workers = WorkersOption().workers(tmp_path, device)
    assert (workers and workers.n_processes()) == n_workers


@pytest.mark.parametrize("options", [{"processes": 2}, {"executor": "ray"}, {"executor": "slurm", "processes": 2}])
def test_several_workers_are_not_put_on_one_gpu(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(RunError, match="--device cuda:3 is one GPU, and workers get one each: give cuda, or leave"):
        WorkersOption(**options).workers(tmp_path, "cuda:3")


def look(found: list[tuple[str, int]], stages: Stages) -> None:
    found.append((os.environ["CUDA_VISIBLE_DEVICES"], torch.get_num_threads()))


@pytest.mark.usefixtures("eight_gpus")
@pytest.mark.parametrize(
    ("device", "gpus", "n_threads"), [("cuda", "1", 4), ("cpu", "0,1,2,3,4,5,6,7", 2)], ids=["one GPU each", "half the threads"]
)
def test_a_worker_gets_its_part_of_the_machine(device: str, gpus: str, n_threads: int) -> None:
    found: list[tuple[str, int]] = []
    results, sender = Pipe(duplex=False)
    _work(Work(look, {"found": found}), Local(2, device), 1, sender)
    assert results.recv().error == ""
    assert found == [(gpus, n_threads)]


@pytest.mark.parametrize(
    ("options", "device", "n_gpus", "expected"),
    [
        ({}, "auto", 4, (1, 4)),
        ({}, "auto", 0, (0, 1)),
        ({}, "cpu", 4, (0, 1)),
        ({"gpus": 0.5}, "auto", 4, (0.5, 8)),
        ({"gpus": 2.0}, "auto", 4, (2, 2)),
        ({"gpus": 1.0, "processes": 8}, "auto", 0, (1, 8)),
    ],
    ids=["one each", "no GPU", "on the CPU", "two share one", "two each", "a cluster that grows from none"],
)
def test_workers_of_ray_ask_for_what_they_need(
    tmp_path: Path, options: dict[str, Any], device: str, n_gpus: int, expected: tuple[float, int]
) -> None:
    workers = WorkersOption(executor="ray", **options).workers(tmp_path, device)
    assert isinstance(workers, Ray)
    assert workers.shares(n_gpus) == expected


@pytest.mark.parametrize("gpus", [-1, 1.5, float("nan")])
def test_gpus_that_no_worker_can_have_are_refused(gpus: float) -> None:
    with pytest.raises(RunError, match=f"gpus is {gpus}; give a whole number, or a fraction of one"):
        Ray(gpus=gpus)


STANDING = """
import os, sys, time
from pathlib import Path
from reasoning_anatomy.pipeline.executors import Local, Work, execute
from reasoning_anatomy.progress import Stages

def stand(folder, stages):
    (folder / str(os.getpid())).touch()
    time.sleep(300)

if __name__ == "__main__":
    execute(Work(stand, {"folder": Path(sys.argv[1])}), Local(2), n_left=lambda: 1, stages=Stages())
"""


def is_running(pid: int) -> bool:
    """Whether a process is there, and not only its entry, which stands until somebody asks how it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks processes up in /proc")
def test_workers_end_with_their_command_however_that_ends(tmp_path: Path) -> None:
    script, folder = tmp_path / "standing.py", tmp_path / "pids"
    script.write_text(STANDING)
    folder.mkdir()
    with subprocess.Popen([sys.executable, str(script), str(folder)]) as command:
        while len(pids := [int(path.name) for path in folder.iterdir()]) < 2:
            assert command.poll() is None
            time.sleep(0.05)
        command.send_signal(signal.SIGKILL)
    until = time.monotonic() + 30
    while any(map(is_running, pids)):
        assert time.monotonic() < until, "workers outlive their command"
        time.sleep(0.05)


PROBLEMS = [Problem(question_id=f"q{n}", question=f"What is {n} + {n}?", gold_answer=f"{2 * n}") for n in range(40)]


@dataclass(frozen=True)
class Refusing:
    """An executor whose workers never begin; it keeps the blocks that they were to sample."""

    blocks: dict[Path, Sequence[Problem]] = field(default_factory=dict)

    def outcomes(self, work: Work) -> Iterator[Outcome]:
        self.blocks.update(work.arguments["blocks"])
        yield Outcome(error="no room")


def blocks_of(out: Path, samples: int) -> dict[Path, Sequence[Problem]]:
    """Blocks of a command, which the workers of another may still write."""
    asked = Asked(
        model=ModelSpec(), samples=samples, sampling=Sampling(), instruction="", until_correct=False, template_variables=(),
        ends_with_thinking=False, loop_tokens=0, policy=None,
    )  # fmt: skip
    executor = Refusing()
    with pytest.raises(RunError, match="no room"), Stages() as stages:
        generate_together(PROBLEMS, asked, out=out, executor=executor, plugins=None, stages=stages)
    return executor.blocks


def test_a_block_has_the_same_samples_for_the_workers_of_every_command(tmp_path: Path) -> None:
    out = tmp_path / "chains.jsonl"
    first = blocks_of(out, 1)
    with SampledChains(out, {}) as file:
        for each in PROBLEMS[:6]:
            file.add({"chain_id": sample_name(each, 0), "question_id": each.question_id})
    second = blocks_of(out, 1)
    assert [sum(map(len, blocks.values())) for blocks in (first, second)] == [40, 34]
    assert second.items() <= first.items()
    assert not first.keys() & blocks_of(out, 2).keys()


def test_workers_compare_their_options_with_a_file_that_lacks_nothing(tmp_path: Path) -> None:
    out = tmp_path / "chains.jsonl"
    with SampledChains(out, {}) as file:
        for each in PROBLEMS:
            file.add({"chain_id": sample_name(each, 0), "question_id": each.question_id})
    assert blocks_of(out, 1) == {}


def test_the_script_is_shown_where_slurm_is_not_and_nothing_is_submitted(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    script = Slurm(tmp_path / "jobs", 8, {"slurm_partition": "gpu", "timeout_min": 240, "gpus_per_node": 1}).script()
    assert "#SBATCH --array=0-7" in script
    assert "#SBATCH --partition=gpu" in script
    assert "#SBATCH --time=240" in script
    assert "#SBATCH --gpus-per-node=1" in script
    assert not list(tmp_path.glob("jobs/*"))


@pytest.mark.parametrize(("name", "value"), [("slurm_partitoin", "gpu"), ("timeout_min", "long")])
def test_a_parameter_that_slurm_does_not_have_is_named(tmp_path: Path, name: str, value: str) -> None:
    pytest.importorskip("submitit")
    with pytest.raises(RunError, match=f"SLURM parameters: .*{name}"):
        Slurm(tmp_path, 1, {name: value}).script()


def test_where_slurm_is_not_the_error_says_where_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunError, match=r"there is no srun here.*login node.*--dry-run"):
        next(Slurm(tmp_path / "jobs", 1).outcomes(Work(look, {})))


def test_what_sbatch_says_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    for name in ("srun", "sbatch"):
        (tmp_path / name).write_text("#!/bin/bash\necho 'invalid partition' >&2; exit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(RunError, match=r"SLURM refused the jobs: .*invalid partition"):
        next(Slurm(tmp_path / "jobs", 2).outcomes(Work(look, {})))
