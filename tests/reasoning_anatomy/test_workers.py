"""How many workers there are, what each of them gets, and when they end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest
import torch

from reasoning_anatomy.cli._app import WorkersOption
from reasoning_anatomy.errors import RunError
from reasoning_anatomy.pipeline.executors import Local, Work
from reasoning_anatomy.pipeline.executors.local import _work
from reasoning_anatomy.progress import Stages


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
    _work(Work(look, {"found": found}, lambda: 0), Local(2, device), 1, sender)
    assert results.recv().error == ""
    assert found == [(gpus, n_threads)]


STANDING = """
import os, sys, time
from pathlib import Path
from reasoning_anatomy.pipeline.executors import Local, Work, execute
from reasoning_anatomy.progress import Stages

def stand(folder, stages):
    (folder / str(os.getpid())).touch()
    time.sleep(300)

if __name__ == "__main__":
    execute(Work(stand, {"folder": Path(sys.argv[1])}, int), Local(2), stages=Stages())
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
