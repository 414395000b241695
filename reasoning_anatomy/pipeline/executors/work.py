"""What the workers of a run do, and how to make sure that all of it gets done."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from reasoning_anatomy import plugins
from reasoning_anatomy.errors import ReasoningAnatomyError, RunError
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.progress import Stage, Stages

SECONDS_BETWEEN_LOOKS: Final = 5.0
"""How often an executor lets the progress be counted."""

MOST_RESTARTS: Final = 3
"""How often a worker that was killed is started again."""


@dataclass(frozen=True)
class Outcome:
    """How a worker ended.

    Attributes
    ----------
    said
        What it had to say.
    error
        Why it could not go on; empty if it could.
    """

    said: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Work:
    """A call that any number of processes make on the same folder: each takes, the longest first, what no other has claimed.

    So there are no shards: who is faster does more, and what a lost worker had in hand goes to another.

    Attributes
    ----------
    function
        `measure`, `sweep` or `distill`.
    arguments
        By name. Workers get copies of them, so paths must mean the same where these are, and models are named, not loaded.
    plugins
        Folder with plugins of the user's.
    directory
        To which relative paths belong.

    Raises
    ------
    RunError
        An argument is a model that is loaded.
    """

    function: Callable[..., object]
    arguments: Mapping[str, Any]
    plugins: Path | None = None
    directory: Path = field(default_factory=Path.cwd)

    def __post_init__(self) -> None:
        if loaded := [name for name, value in self.arguments.items() if isinstance(value, LoadedModel)]:
            raise RunError(f"{loaded[0]} is a loaded model, which stays in its process; give its id, and workers load it")

    def __call__(self) -> Outcome:
        """Do it, in a worker."""
        stages = Stages()
        try:
            with chdir(self.directory):
                if self.plugins is not None:
                    plugins.add_folder(self.plugins)
                self.function(**self.arguments, stages=stages)
        except ReasoningAnatomyError as error:
            return Outcome(tuple(stages.said), str(error))
        return Outcome(tuple(stages.said))


class Executor(Protocol):
    """Starts workers, and starts those again that are lost."""

    def outcomes(self, work: Work) -> Iterator[Outcome | None]:
        """Let workers do the work.

        Yields
        ------
        The outcome of each worker when it ends, and None every few seconds in between. Who stops iterating stops the workers.
        """
        ...


def execute(work: Work, executor: Executor, *, n_left: Callable[[], int], stages: Stages) -> None:
    """Do the work until nothing is left that can be done.

    Parameters
    ----------
    work, executor
        What, and where.
    n_left
        Counts what is left to do, from the files alone; it is called in this process only.
    stages
        Shows how much is done, as the files tell it, and says once what the workers say.

    Raises
    ------
    RunError
        The workers could not go on, and something is left; the message is that of the first.
    """
    stage, said, left = stages.add("workers", 0), set[str](), math.inf
    while True:
        outcomes = list[Outcome]()
        with stage:
            for outcome in executor.outcomes(work):
                _show(stage, n_left())
                if outcome is not None:
                    outcomes.append(outcome)
                    for text in outcome.said:
                        if text not in said:
                            said.add(text)
                            stages.say(text)
        before, left = left, n_left()
        errors = list(dict.fromkeys(outcome.error for outcome in outcomes if outcome.error))
        if all(outcome.error for outcome in outcomes) or (errors and left >= before):
            raise RunError(errors[0])
        for error in errors:
            stages.say(f"note: a worker could not go on, and left its part to others: {error}")
        if not left or left >= before:
            return


def _show(stage: Stage, left: int) -> None:
    """Count what is done since the last look, or what was found to do."""
    done = round(stage.total - stage.completed) - left
    if done < 0:
        stage.extend(-done)
    else:
        stage.advance(done)
