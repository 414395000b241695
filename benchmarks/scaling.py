"""What many workers are worth: ``python -m benchmarks.scaling``.

Three tables. **Efficiency**: a small model prunes chains with 1, 2 and 4 local workers; more workers than cores show what the
machine limits. **Overhead**: what claims, files and tables cost a chain when no pass through a model is made. **Schedule**:
exact greedy paths on many GPUs, some of which fail, simulated with costs that are measured here, against the shortest time that
any schedule could take.
"""

import heapq
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import tyro
from scipy.optimize import nnls

from benchmarks._models import four_layers, random_chain
from benchmarks._workers import work_on, write_model, write_short_chains
from reasoning_anatomy.claims import LEASE_SECONDS
from reasoning_anatomy.pipeline.executors import Local, execute
from reasoning_anatomy.pipeline.measuring import n_left
from reasoning_anatomy.progress import Stages
from reasoning_anatomy.pruning.greedy import Greedy
from reasoning_anatomy.types import FloatArray, IntArray

_MEASURED: Final = ((20, 20, 4), (20, 80, 16), (30, 40, 8), (30, 120, 4), (40, 40, 4), (40, 80, 16), (50, 20, 2), (50, 40, 12))
"""Reasoning, prompt and answer tokens of the chains whose cost is measured."""
_VOCABULARY: Final = 1000


@dataclass(frozen=True)
class Options:
    """What many workers are worth."""

    workers: tuple[int, ...] = (1, 2, 4)
    """Of this machine, of which efficiency is measured; none leaves it out."""
    pruned: int = 24
    """Chains of which efficiency is measured."""
    sentences: int = 2
    """Of each of them."""
    repeats: int = 3
    """Times that each is measured, in turn; the shortest counts, since what else the machine does only adds to it."""
    measured: int = 10_000
    """Chains of which overhead is measured; 0 leaves it out."""
    gpus: tuple[int, ...] = (8, 64, 512)
    """Of which a schedule is simulated; none leaves it out."""
    scheduled: int = 7500
    """Chains of the schedule."""
    tokens: float = 200
    """Median of the reasoning tokens of a scheduled chain; their logarithm has a standard deviation of 0.5, up to 1,000."""
    minutes: float = 4
    """That a GPU takes for the exact path of a chain of median length."""
    hours_between_failures: float = 24
    """Of one GPU, on average."""
    minutes_to_restart: float = 3
    """Until a GPU that failed has loaded the model again."""
    seed: int = 0
    """Of lengths and failures."""


@dataclass(frozen=True, eq=False)
class Job:
    """Exact path of one chain.

    Attributes
    ----------
    n
        Reasoning tokens, by which jobs are ordered.
    checkpoints
        (k,) seconds of work after which it is saved; the last is its end.
    """

    n: int
    checkpoints: FloatArray


def main(options: Options) -> None:
    """Print the tables."""
    os.environ["OMP_NUM_THREADS"] = "1"  # of workers, which read it when they start
    with tempfile.TemporaryDirectory() as folder:
        model = write_model(Path(folder) / "model")
        if options.workers:
            _efficiency(Path(folder), model, options)
        if options.measured:
            _overhead(Path(folder), model, options.measured)
    if options.gpus:
        _schedules(options)


def _efficiency(folder: Path, model: Path, options: Options) -> None:
    _say(f"{options.pruned} chains pruned by local workers of one thread each, on {os.cpu_count()} cores")
    _say("  workers  seconds  of which work  speed-up of the work  efficiency  repeats differ by")
    file = write_short_chains(folder / "pruned.jsonl", options.pruned, options.sentences)
    short = write_short_chains(folder / "one.jsonl", 1, 1)
    wholes, starts = ({n_workers: list[float]() for n_workers in options.workers} for _ in range(2))
    for repeat in range(options.repeats):
        for n_workers in options.workers:
            out = folder / f"{n_workers} workers, {repeat}"
            wholes[n_workers].append(_seconds(file, out / "pruned", model, n_workers, "greedy"))
            starts[n_workers].append(_seconds(short, out / "started", model, n_workers, "none"))
    of_work = {n_workers: min(wholes[n_workers]) - min(starts[n_workers]) for n_workers in options.workers}
    one, *_ = (n_workers * seconds for n_workers, seconds in of_work.items())
    for n_workers, seconds in of_work.items():
        whole, speed_up = wholes[n_workers], one / seconds
        _say(
            f"  {n_workers:>7}  {min(whole):>7.1f}  {seconds:>13.1f}  {speed_up:>20.2f}  {speed_up / n_workers:>10.0%}"
            f"  {max(whole) / min(whole) - 1:>17.0%}"
        )


def _overhead(folder: Path, model: Path, n_chains: int) -> None:
    _say(f"\n{n_chains:,} chains scored by their position, which takes no pass through a model")
    file = write_short_chains(folder / "measured.jsonl", n_chains, 1)
    for n_workers in (1, 2):
        seconds = _seconds(file, folder / f"overhead {n_workers}", model, n_workers, "none")
        _say(f"  {n_workers} workers: {seconds:.0f} s, {1000 * seconds / n_chains:.1f} ms a chain")


def _seconds(file: Path, out: Path, model: Path, n_workers: int, strategy: str) -> float:
    """Seconds that local workers take for a file of chains, from start to the last table."""
    work = work_on(file, out, model, strategy=strategy)
    begin = time.perf_counter()
    execute(work, Local(n_workers), n_left=partial(n_left, out), stages=Stages())
    seconds = time.perf_counter() - begin
    if left := n_left(out):
        raise SystemExit(f"{left} chains were not measured")
    return seconds


def _schedules(options: Options) -> None:
    """Simulate the schedules of a corpus."""
    costs, error = measured_costs()
    jobs = _jobs(options, costs)
    total = sum(float(job.checkpoints[-1]) for job in jobs)
    longest = max(float(job.checkpoints[-1]) for job in jobs)
    _say(
        f"\nExact paths of {len(jobs):,} chains of {min(job.n for job in jobs)} to {max(job.n for job in jobs)} tokens, "
        f"{total / 3600:,.0f} GPU hours, the longest {longest / 3600:.1f}; by costs measured here, which meet "
        f"{len(_MEASURED)} chains within {error:.0%}"
    )
    _say("  GPUs  failures  makespan (h)  bound (h)  above it  without failures")
    for n_workers in options.gpus:
        bound = max(total / n_workers, longest)
        failing = schedule(jobs, n_workers, options)
        steady = schedule(jobs, n_workers, options, can_fail=False)
        _say(
            f"  {n_workers:>4}  {failing.n_failures:>8}  {failing.seconds / 3600:>12.2f}  {bound / 3600:>9.2f}"
            f"  {failing.seconds / bound - 1:>8.1%}  {steady.seconds / bound - 1:>16.1%}"
        )


def measured_costs() -> tuple[FloatArray, float]:
    """Measure what exact paths cost on this machine.

    Returns
    -------
    Seconds of a token run through the model, of an answer token whose logits are made, of a candidate and of a deletion; and
    the largest relative error by these.
    """
    loaded = four_layers(dtype="float32", device="cpu")
    counts, seconds = [], []
    for n, p, m in (_MEASURED[0], *_MEASURED):  # once for the caches
        begin = time.process_time()
        path = Greedy().prune(random_chain(p, n, m, _VOCABULARY), loaded=loaded)
        seconds.append(time.process_time() - begin)
        candidates = n * (n + 1) / 2
        counts.append((path.token_forwards, m * candidates, candidates, n))
    relative = np.array(counts[1:]) / np.array(seconds[1:])[:, None]
    costs, _ = nnls(relative, np.ones(len(relative)))
    return costs, float(np.abs(relative @ costs - 1).max())


def _jobs(options: Options, costs: FloatArray) -> list[Job]:
    """Draw the chains of a corpus, and count what their paths cost, if that of the median one takes so many minutes."""
    rng = np.random.default_rng(options.seed)
    lengths = np.clip(options.tokens * np.exp(0.5 * rng.standard_normal(options.scheduled)), 20, 1000).astype(int)
    answers = rng.integers(4, 20, options.scheduled)

    def seconds(n: int, m: int) -> FloatArray:
        left = np.arange(n, 0, -1)
        return np.asarray(np.stack([left * ((left - 1) / 2 + m), left * m, left, np.ones(n)], axis=1) @ costs)

    unit = 60 * options.minutes / seconds(round(options.tokens), 12).sum()
    return [Job(int(n), unit * _at_checkpoints(seconds(int(n), int(m)))) for n, m in zip(lengths, answers, strict=True)]


def _at_checkpoints(seconds: FloatArray) -> FloatArray:
    """(n,) seconds of each deletion -> seconds of work at every checkpoint."""
    every = Greedy().checkpoint_every
    ends: IntArray = np.unique([*range(every - 1, len(seconds), every), len(seconds) - 1])
    return np.asarray(np.cumsum(seconds)[ends])


@dataclass(frozen=True)
class Scheduled:
    """How long all jobs took, and how often a worker failed."""

    seconds: float
    n_failures: int


def schedule(jobs: Sequence[Job], n_workers: int, options: Options, *, can_fail: bool = True) -> Scheduled:
    """Let workers take jobs as those of a run do: the longest that is free, from its last checkpoint on.

    A job whose worker fails is free again when its claim has run out.

    Parameters
    ----------
    jobs
        What is to be done.
    n_workers
        Each of which does one job at a time.
    options
        How often workers fail, and how long they take to come back.
    can_fail
        False = none fails.
    """
    rng = np.random.default_rng(options.seed)
    mean = 3600 * options.hours_between_failures

    def failure(now: float) -> float:
        return now + rng.exponential(mean) if can_fail else np.inf

    free = [(0.0, number) for number in range(n_workers)]
    failures = [failure(0.0) for _ in range(n_workers)]
    waiting = [(-job.n, number, 0.0) for number, job in enumerate(jobs)]
    heapq.heapify(waiting)
    held: list[tuple[float, int, float]] = []  # until when a dead worker's claim stands, job, seconds of it that are done
    end, n_failures = 0.0, 0
    while waiting or held:
        now, worker = heapq.heappop(free)
        while held and held[0][0] <= now:
            _, number, done = heapq.heappop(held)
            heapq.heappush(waiting, (-jobs[number].n, number, done))
        if failures[worker] <= now:
            failures[worker] = failure(now)
        if not waiting:
            heapq.heappush(free, (held[0][0], worker))
            continue
        _, number, done = heapq.heappop(waiting)
        checkpoints = jobs[number].checkpoints
        finished = now + checkpoints[-1] - done
        if finished <= failures[worker]:
            end = max(end, finished)
            heapq.heappush(free, (finished, worker))
            continue
        n_failures += 1
        died = failures[worker]
        saved = checkpoints[checkpoints <= done + died - now]
        heapq.heappush(held, (died + LEASE_SECONDS, number, float(saved[-1]) if len(saved) else done))
        heapq.heappush(free, (died + 60 * options.minutes_to_restart, worker))
        failures[worker] = failure(died + 60 * options.minutes_to_restart)
    return Scheduled(end, n_failures)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(tyro.cli(Options))
