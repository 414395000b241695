"""Workers on this machine: one process for each GPU, or several that share the processor cores."""

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Final

import torch

from reasoning_anatomy.pipeline.executors.work import MOST_RESTARTS, SECONDS_BETWEEN_LOOKS, Outcome, Work

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

_DEVICES: Final = "CUDA_VISIBLE_DEVICES"
_DEALT: Final = ("auto", "cuda")
_CRASHED: Final = 1
_KILLED: Final = "workers ended {} times without a word"
_REMEDY: Final = "if memory ran out, take fewer: --processes"


@dataclass(frozen=True)
class Local:
    """Workers that are processes of this machine.

    In a script, call it below ``if __name__ == "__main__":``, since every process reads the script again.

    Attributes
    ----------
    processes
        How many; None takes one for each GPU that is dealt out, and at least one.
    device
        Of their models. GPUs are dealt out to ``auto`` and ``cuda``, one to a worker; workers on another device share it, and
        those on ``cpu`` its threads.
    """

    processes: int | None = None
    device: str = "auto"

    def n_processes(self) -> int:
        """How many workers there are."""
        return self.processes or max(1, self.n_dealt())

    def n_dealt(self) -> int:
        """How many GPUs are dealt out."""
        return torch.cuda.device_count() if self.device in _DEALT else 0

    def outcomes(self, work: Work) -> Iterator[Outcome | None]:
        """See `Executor`."""
        workers = dict(_started(work, self, number) for number in range(self.n_processes()))
        n_restarts = 0
        try:
            while workers:
                ended = wait(list(workers), timeout=SECONDS_BETWEEN_LOOKS)
                if not ended:
                    yield None
                for results in [each for each in workers if each in ended]:
                    number, worker = workers.pop(results)
                    try:
                        yield results.recv()
                    except EOFError:
                        worker.join()
                        if worker.exitcode == _CRASHED:
                            yield Outcome(error="a worker crashed; its traceback stands above")
                        elif n_restarts < MOST_RESTARTS:
                            n_restarts += 1
                            workers |= [_started(work, self, number)]
                        else:
                            yield Outcome(error=f"{_KILLED.format(n_restarts + 1)} (exit code {worker.exitcode}); {_REMEDY}")
        finally:
            for _, worker in workers.values():
                worker.kill()
                worker.join()


def _started(work: Work, local: Local, number: int) -> tuple[Connection, tuple[int, BaseProcess]]:
    """Start a worker -> where its outcome comes from, its number, and its process."""
    context = _context()
    results, sender = context.Pipe(duplex=False)
    worker = context.Process(target=_work, args=(work, local, number, sender), daemon=True)
    worker.start()
    sender.close()  # so that the pipe ends with the worker
    return results, (number, worker)


def _context() -> "ForkServerContext | SpawnContext":
    """How processes start: as copies of one that has imported everything; with GPUs, which forbid that, each anew."""
    if sys.platform != "linux" or torch.cuda.device_count():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _end_with_command() -> None:
    """Wait until the command has ended, however that was, and end without a word."""
    command = multiprocessing.parent_process()
    if command is not None:
        wait([command.sentinel])
        os._exit(_CRASHED)


def _work(work: Work, local: Local, number: int, sender: Connection) -> None:
    threading.Thread(target=_end_with_command, daemon=True).start()
    n_dealt = local.n_dealt()
    if n_dealt:
        visible = os.environ.get(_DEVICES, ",".join(map(str, range(n_dealt)))).split(",")
        os.environ[_DEVICES] = visible[number % len(visible)]
    else:
        torch.set_num_threads(max(1, torch.get_num_threads() // local.n_processes()))
    sender.send(work())
