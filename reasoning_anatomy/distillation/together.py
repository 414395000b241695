"""Processes that train one student together, as ``accelerate launch`` starts them: one on each device."""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import distributed

from reasoning_anatomy.errors import ModelError


class Together:
    """One process and those that were launched with it; it is alone unless a launcher says otherwise.

    Parameters
    ----------
    device
        As the user named it; each process takes its own if it is an accelerator.
    batch_size
        Rows of a step, which the processes share evenly.

    Attributes
    ----------
    n
        Processes.
    is_main
        Whether this one writes.
    device
        Of this process.

    Raises
    ------
    ModelError
        The rows of a step cannot be shared evenly, all processes would use one device, or one process would use several.
    """

    def __init__(self, device: str, *, batch_size: int) -> None:
        self.n, self.is_main, self.device = int(os.environ.get("WORLD_SIZE", "1")), True, device
        if self.n == 1:
            n_visible = torch.cuda.device_count()
            if device != "cpu" and n_visible > 1:  # the trainer would give each of them a whole batch
                raise ModelError(
                    f"{n_visible} GPUs are visible, and one process trains on one: set CUDA_VISIBLE_DEVICES, or start one "
                    "for each with accelerate launch"
                )
            return
        if batch_size % self.n:
            raise ModelError(f"{self.n} processes cannot share the {batch_size} rows of a step; give a multiple: --batch-size")
        if device not in ("auto", "cuda", "cpu"):
            raise ModelError(
                f"{self.n} processes cannot share the device {device!r}; give --device auto, or launch one process"
            )
        is_cpu = device == "cpu" or not torch.cuda.is_available()
        state: Any = importlib.import_module("accelerate").PartialState(cpu=is_cpu)
        self.is_main = bool(state.is_main_process)
        self.device = "cpu" if is_cpu else f"cuda:{state.local_process_index}"

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Let the main process go through alone; the others follow when it is done."""
        if not self.is_main:
            distributed.barrier()
        yield
        if self.n > 1 and self.is_main:
            distributed.barrier()

    def agreed(self, value: bool) -> bool:
        """Return what the main process says."""
        if self.n == 1:
            return value
        said = [value]
        distributed.broadcast_object_list(said, src=0)
        return said[0]

    def part(self) -> None:
        """End what is common: from here on every process works by itself."""
        if self.n > 1:
            distributed.barrier()
            distributed.destroy_process_group()
