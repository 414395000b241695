"""How far the work has come: a bar per stage on a terminal, a plain line now and then elsewhere; and the time of each stage."""

import sys
import threading
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Final, Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Item = TypeVar("Item")

_SECONDS_BETWEEN_LINES: Final = 30.0


class Stages:
    """Times stages and, if ``show`` is true, shows them on standard error.

    On a terminal every stage has a bar. If standard error is a file or a pipe (batch queues, CI), one plain line says every
    ``seconds_between_lines`` how far the running stages are, how fast they go and how long they will take.

    Used as a context manager around all stages; a stage is one too, around each piece of its work.
    """

    def __init__(self, *, show: bool = False, seconds_between_lines: float = _SECONDS_BETWEEN_LINES) -> None:
        columns = (
            TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
        )  # fmt: skip
        console = Console(stderr=True)
        self._show = show
        self._has_bars = show and console.is_terminal
        self._progress = Progress(*columns, console=Console(stderr=True, quiet=not self._has_bars))
        self._stages: dict[str, Stage] = {}
        self._is_live = False
        self.said: list[str] = []
        self._lines = _Lines(self._stages, seconds_between_lines)

    def add(self, name: str, total: int) -> "Stage":
        """Begin a stage of ``total`` steps, or continue the one of this name."""
        if name not in self._stages:
            self._stages[name] = Stage(self._progress, name)
        if self._is_live:
            self._progress.start()
        self._stages[name].extend(total)
        return self._stages[name]

    def say(self, text: str) -> None:
        """Show a sentence above the bars, or as a line of its own; without ``show`` it is only kept, in ``said``."""
        self.said.append(text)
        if self._has_bars:
            self._progress.console.print(text, markup=False, highlight=False)
        elif self._show:
            sys.stderr.write(text + "\n")

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time by stage, rounded to milliseconds."""
        return {name: round(stage.seconds, 3) for name, stage in self._stages.items()}

    def __enter__(self) -> Self:
        self._is_live = True  # drawn from the first stage on, so that an error before it stands alone
        if self._show and not self._has_bars:
            self._lines.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._lines.stop()
        if self._stages:
            self._progress.stop()


class _Lines:
    """Writes a line about the running stages from a thread of its own, so that long steps are seen too."""

    def __init__(self, stages: dict[str, "Stage"], seconds_between: float) -> None:
        self._stages = stages
        self._seconds_between = seconds_between
        self._stopped = threading.Event()
        self._before: dict[str, tuple[float, float]] = {}

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds_between):
            if parts := [self._about(name, stage) for name, stage in list(self._stages.items()) if stage.is_running]:
                sys.stderr.write(" | ".join(parts) + "\n")
                sys.stderr.flush()

    def _about(self, name: str, stage: "Stage") -> str:
        """Say how far a stage is; the rate is that since the previous line."""
        done, seconds = stage.completed, stage.seconds_so_far
        done_before, seconds_before = self._before.get(name, (0.0, 0.0))
        self._before[name] = (done, seconds)
        text = f"{name}: {done:,.0f} of {stage.total:,}"
        if done <= done_before or seconds <= seconds_before:
            return text
        rate = (done - done_before) / (seconds - seconds_before)
        return f"{text}, {rate:.2g} per second, {duration((stage.total - done) / rate)} left"


def duration(seconds: float) -> str:
    """Time in words, in its two largest units.

    Examples
    --------
    >>> duration(42), duration(3 * 60 + 5), duration(26 * 3600)
    ('42 s', '3 min 5 s', '1 d 2 h')
    """
    whole = round(seconds)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    shown = [f"{n} {unit}" for n, unit in parts if n][:2]
    return " ".join(shown) or "0 s"


class Stage:
    """One stage: a bar, and a clock that runs while any thread is inside."""

    def __init__(self, progress: Progress, name: str) -> None:
        self.seconds = 0.0
        self._progress = progress
        self._task: TaskID = progress.add_task(name, total=0, start=False)
        self.total = 0
        self._lock = threading.Lock()
        self._n_inside = 0

    @property
    def completed(self) -> float:
        """Steps that are done."""
        return self._progress.tasks[self._task].completed

    @property
    def is_running(self) -> bool:
        """Whether any thread is inside."""
        return self._n_inside > 0

    @property
    def seconds_so_far(self) -> float:
        """Wall time in seconds, work in progress included."""
        with self._lock:
            return self.seconds + (time.perf_counter() - self._entered if self._n_inside else 0)

    def extend(self, total: int) -> None:
        """Add ``total`` steps."""
        self.total += total
        self._progress.update(self._task, total=self.total)

    def advance(self, steps: int = 1) -> None:
        """Count steps as done."""
        self._progress.advance(self._task, steps)

    def finish(self) -> None:
        """End the bar here, if fewer steps were needed than planned."""
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
