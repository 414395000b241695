"""Chains measured by two workers of Ray, one of which is killed half-way: ``python -m benchmarks.lost_worker``.

The run must be that of one process, to the last byte.
"""

import os
import signal
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]
import tyro

from benchmarks._workers import work_on, write_model, write_short_chains
from reasoning_anatomy.pipeline.executors import Executor, Local, Ray, execute
from reasoning_anatomy.pipeline.measuring import n_left
from reasoning_anatomy.progress import Stages

_RESULTS: Final = ("chains.jsonl", "tokens.parquet", "paths.parquet", "chains/**/*.safetensors")


def main(chains: int = 2000, sentences: int = 1) -> None:
    """Print seconds, who was killed when, and how many files are the same.

    Parameters
    ----------
    chains
        Their number.
    sentences
        Of each of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = write_model(Path(folder) / "model")
        file = write_short_chains(Path(folder) / "chains.jsonl", chains, sentences)
        whole, shared = Path(folder) / "whole", Path(folder) / "shared"
        _say(f"{chains:,} chains by one process: {_seconds(file, whole, model, Local(1)):.0f} s")
        killer = threading.Thread(target=_kill_half_way, args=(shared, chains), daemon=True)
        killer.start()
        _say(f"by two workers of Ray, one of them killed: {_seconds(file, shared, model, Ray(2)):.0f} s")
        killer.join()
        one, two = _content(whole), _content(shared)
        same = sum(two.get(name) == content for name, content in one.items())
        left = [path.name for path in shared.rglob("*") if path.name.startswith(".tmp-") or path.name.endswith(".lease")]
        _say(f"{same:,} of {len(one):,} files are the same, {len(set(two) - set(one))} are more, {len(left)} were left behind")


def _seconds(file: Path, out: Path, model: Path, executor: Executor) -> float:
    begin = time.perf_counter()
    execute(work_on(file, out, model, scorer="surprisal"), executor, n_left=partial(n_left, out), stages=Stages())
    if left := n_left(out):
        raise SystemExit(f"{left} chains were not measured")
    return time.perf_counter() - begin


def _kill_half_way(out: Path, n_chains: int) -> None:
    """Kill one of the workers when half of the chains are done."""
    while not (out / "run.json").exists() or n_left(out) > n_chains / 2:
        time.sleep(0.5)
    children = psutil.Process().children(recursive=True)
    workers = [each for each in children if "ray::_Worker" in " ".join(each.cmdline())]
    victim = min(workers, key=lambda worker: worker.pid)
    os.kill(victim.pid, signal.SIGKILL)
    _say(f"killed process {victim.pid}, one of {len(workers)} workers, with {n_left(out):,} chains left")


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for pattern in _RESULTS for path in folder.glob(pattern)}


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    tyro.cli(main)
