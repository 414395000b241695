"""A progress bar per stage, and the time that each stage took."""

import threading
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Item = TypeVar("Item")


class Stages:
    """Times stages and, where ``show`` is true, draws a bar for each on standard error.

    Used as a context manager around all stages; a stage is one too, around each piece of its work.
    """

    def __init__(self, *, show: bool = False) -> None:
        columns = (
            TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
        )  # fmt: skip
        self._progress = Progress(*columns, console=Console(stderr=True, quiet=not show))
        self._stages: dict[str, Stage] = {}
        self._is_live = False

    def add(self, name: str, total: int) -> "Stage":
        """Begin a stage of ``total`` steps, or go on with the one of this name."""
        if name not in self._stages:
            self._stages[name] = Stage(self._progress, name)
        if self._is_live:
            self._progress.start()
        self._stages[name].extend(total)
        return self._stages[name]

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time by stage, rounded to milliseconds."""
        return {name: round(stage.seconds, 3) for name, stage in self._stages.items()}

    def __enter__(self) -> Self:
        self._is_live = True  # drawn from the first stage on, so that an error before it stands alone
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._stages:
            self._progress.stop()


class Stage:
    """One stage: a bar, and a clock that runs while any thread is inside."""

    def __init__(self, progress: Progress, name: str) -> None:
        self.seconds = 0.0
        self._progress = progress
        self._task: TaskID = progress.add_task(name, total=0, start=False)
        self._total = 0
        self._lock = threading.Lock()
        self._n_inside = 0

    def extend(self, total: int) -> None:
        """Add ``total`` steps."""
        self._total += total
        self._progress.update(self._task, total=self._total)

    def advance(self, steps: int = 1) -> None:
        """Count steps as done."""
        self._progress.advance(self._task, steps)

    def finish(self) -> None:
        """Let the bar end here, where fewer steps were needed than foreseen."""
        self._progress.update(self._task, total=self._progress.tasks[self._task].completed)

    def each(self, items: Iterable[Item]) -> Iterator[Item]:
        """Iterate over ``items``, one step each."""
        for item in items:
            with self:
                yield item
            self.advance()

    def __enter__(self) -> Self:
        with self._lock:
            if not self._n_inside:
                self._progress.start_task(self._task)
                self._entered = time.perf_counter()
            self._n_inside += 1
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._lock:
            self._n_inside -= 1
            if not self._n_inside:
                self.seconds += time.perf_counter() - self._entered
