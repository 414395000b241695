"""What all commands share: where they are registered, how they print, and how they fail."""

import ast
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from rich.console import Console
from tyro.conf import Positional, arg
from tyro.extras import SubcommandApp

from reasoning_anatomy import plugins
from reasoning_anatomy.cli._places import Folder, named, open_stores
from reasoning_anatomy.errors import MissingError, ReasoningAnatomyError, RunError
from reasoning_anatomy.generation.completion import Sampling
from reasoning_anatomy.plugins import key_of
from reasoning_anatomy.specs import BUNDLED, EncodingOptions, ModelSpec

if TYPE_CHECKING:
    from reasoning_anatomy.pipeline.executors import Local, Ray, Slurm
    from reasoning_anatomy.progress import Stages
    from reasoning_anatomy.run import Run
    from reasoning_anatomy.run.students import Students
    from reasoning_anatomy.types import AnalysisResult

EXIT_BAD_INPUT: Final = 2
_NAMED: Final = 4

RunArgument = Annotated[Positional[Folder], arg(help="Folder of the run.", metavar="RUN")]
FolderArgument = Annotated[Positional[Folder], arg(help="Folder of the run, or of students.", metavar="RUN")]
PluginsOption = Annotated[
    Path | None, arg(name="plugins", help="Folder with your own plugins, one per file.", metavar="FOLDER")
]
OnlyOption = Annotated[
    tuple[str, ...],
    arg(
        name="only",
        help="Labels of scorers, strategies, segmenters, names of annotators: of these kinds nothing else is shown. Strategies "
        "of a sweep are a kind of their own, and bring their baselines.",
    ),
]


@dataclass(frozen=True)
class ModelOption(ModelSpec):
    """Which model to load, and how to hold it."""

    id: Annotated[str, arg(name="model")] = BUNDLED


@dataclass(frozen=True)
class EncodingOption(EncodingOptions):
    r"""How a chain becomes one sequence; ``\n`` is a line break."""

    def with_line_breaks(self) -> EncodingOptions:
        r"""Read ``\n`` as a line break, which no shell writes easily."""
        before, between = (
            None if text is None else text.replace(r"\n", "\n") for text in (self.before_reasoning, self.before_answer)
        )
        return EncodingOptions(before, between, self.joints, self.template_variables, self.date)


@dataclass(frozen=True)
class SamplingOption(Sampling):
    """How tokens are drawn."""

    def __post_init__(self) -> None:
        """Leave the checks to the command, whose errors are one line."""

    def checked(self) -> Sampling:
        """Refuse what is out of its range."""
        try:
            return Sampling(**asdict(self))
        except ValueError as error:
            raise RunError(str(error)) from None


@dataclass(frozen=True)
class WorkersOption:
    """Who does the work: this process, or several that share it; all of them must see the same files."""

    executor: Annotated[
        Literal["local", "ray", "slurm"],
        arg(help="local: processes of this machine; ray: of a Ray cluster; slurm: an array of jobs."),
    ] = "local"
    processes: Annotated[
        int | None,
        arg(
            help="Workers, each with the model. If left out, one for each GPU; without GPUs, or with a --device, this process."
        ),
    ] = None
    address: Annotated[str | None, arg(help="Of the Ray cluster, such as auto; if left out, one begins on this machine.")] = (
        None
    )
    gpus: Annotated[
        float | None,
        arg(
            help="Of each worker of Ray; a fraction lets several share one. If left out, one if the cluster has any now: "
            "say it for one that grows from none."
        ),
    ] = None
    slurm: Annotated[
        tuple[str, ...],
        arg(
            help="How to submit jobs: slurm_partition=gpu timeout_min=240 gpus_per_node=1 and other parameters of submitit.",
            metavar="KEY=VALUE",
        ),
    ] = ()

    def workers(self, out: Path, device: str) -> "Local | Ray | Slurm | None":
        """Who makes a folder or a file with models on a device; None = this process.

        Raises
        ------
        RunError
            Options contradict each other.
        """
        for name, owner in {"address": "ray", "gpus": "ray", "slurm": "slurm", "dry_run": "slurm"}.items():
            is_given = getattr(self, name, None) != getattr(type(self), name, None)
            if is_given and self.executor != owner:
                raise RunError(f"--{name.replace('_', '-')} is for --executor {owner}, not for {self.executor}")
        if self.processes is not None and self.processes < 1:
            raise RunError(f"processes is {self.processes}; give 1 or more")
        if device.startswith("cuda:") and (self.executor != "local" or (self.processes or 1) > 1):
            raise RunError(f"--device {device} is one GPU, and workers get one each: give cuda, or leave the workers out")
        if self.executor != "local" and named(out) != str(out):
            raise RunError(
                f"{named(out)}: its local copy is on this machine, and workers of {self.executor} must see the same files; "
                "give a folder that all of them see"
            )
        from reasoning_anatomy.pipeline.executors import Local, Ray, Slurm

        if self.executor == "ray":
            return Ray(self.processes, self.address, 0 if self.gpus is None and device == "cpu" else self.gpus)
        if self.executor == "slurm":
            if self.processes is None:
                raise RunError("how many jobs there are to be is not said: --processes N")
            return Slurm(out.with_name(f"{out.name}.jobs"), self.processes, dict(map(_parameter, self.slurm)))
        local = Local(self.processes, device)
        return local if local.n_processes() > 1 else None


@dataclass(frozen=True)
class ExecutorOption(WorkersOption):
    """Who does the work: this process, or several that share it; all of them must see the same files."""

    dry_run: Annotated[bool, arg(help="Show the script for SLURM, and submit nothing.")] = False

    def do(
        self,
        function: Callable[..., object],
        arguments: Mapping[str, Any],
        *,
        folder: Path,
        device: str,
        n_left: Callable[[], int],
        plugins: Path | None,
        stages: "Stages",
    ) -> bool:
        """Make a call here, or let workers make it; False if only the script was shown.

        Parameters
        ----------
        function, arguments
            The call; ``stages`` is added to its arguments.
        folder, device
            That is worked on, and where the model is.
        n_left, plugins
            As of `execute` and `Work`.
        stages
            Shows progress.

        Raises
        ------
        RunError
            Options contradict each other.
        """
        workers = self.workers(folder, device)
        if self.dry_run:
            say(workers.script())  # type: ignore[union-attr]
            return False
        if workers is None:
            function(**arguments, stages=stages)
        else:
            from reasoning_anatomy.pipeline.executors import Work, execute

            execute(Work(function, arguments, plugins), workers, n_left=n_left, stages=stages)
        return True


WORKERS: Final = WorkersOption()
EXECUTOR: Final = ExecutorOption()


def _parameter(typed: str) -> tuple[str, Any]:
    """Take ``KEY=VALUE`` apart; a value that reads as a number is one."""
    key, equals, value = typed.partition("=")
    if not equals:
        raise RunError(f"--slurm {typed}: expected KEY=VALUE, such as timeout_min=240")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


app = SubcommandApp()


def flags(options: object, default: object) -> list[str]:
    """Write the fields of a dataclass that differ from those of another as they are typed on a command line."""
    typed = []
    for field in fields(options):  # type: ignore[arg-type]
        value = getattr(options, field.name)
        if value != getattr(default, field.name):
            typed += [f"--{field.name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return typed


def say(text: str) -> None:
    """Write a line to standard output."""
    sys.stdout.write(text + "\n")


def use_plugins(folder: Path | None) -> None:
    """Add the plugins of the folder that was named, if one was."""
    if folder is not None:
        plugins.add_folder(folder)


def print_result(result: "AnalysisResult") -> None:
    """Say what was found, then show the table, what was left out and what a reader must know."""
    say(f"\n{result.name}: {result.finding}\n{result.config}")
    shown = result.table if result.printed is None else result.printed
    say(shown.to_string(index=False, float_format="{:.4g}".format))
    for reason, count in result.exclusions.items():
        say(f"left out: {count} ({reason})")
    for warning in result.warnings:
        say(f"note: {warning}")


def open_folder(folder: Path, only: tuple[str, ...]) -> "Run | Students":
    """Open a run, or students if the folder holds these."""
    from reasoning_anatomy.run.folder import open_run
    from reasoning_anatomy.run.layout import STUDENTS_NAME
    from reasoning_anatomy.run.students import open_students

    if not (folder / STUDENTS_NAME).exists():
        return open_run(folder, only=only)
    if only:
        raise RunError(f"{folder}: holds students, and --only chooses what is shown of a run; leave it out")
    return open_students(folder)


def analyse_and_write(opened: "Run | Students", spec: str) -> "AnalysisResult":
    """Run an analysis and write its result."""
    analysis = plugins.load("analysis", spec)
    expect_to_read(opened, key_of(analysis))
    result: AnalysisResult = analysis.analyse(opened)
    opened.write_analysis(result)
    return result


def expect_to_read(opened: "Run | Students", key: str) -> None:
    """Refuse students for an analysis of runs; an analysis of students refuses runs itself, and says how to make them."""
    from reasoning_anatomy.run.students import Students

    if isinstance(opened, Students) and plugins.available("analysis")[key].opens == "run":
        raise MissingError(
            f"{opened.folder}: holds students, and this reads a run, such as theirs, {opened.manifest.run}: "
            f"python -m analyses.{key} RUN"
        )


def named_chains(chain_ids: Sequence[str]) -> str:
    """Name a chain, or the first of several with their number."""
    return chain_ids[0] if len(chain_ids) == 1 else f"{len(chain_ids)} chains, such as {chain_ids[0]}"


def listed(names: Sequence[str]) -> str:
    """Name the first few, and say how many more there are."""
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"


def named_scorers(scorers: tuple[str, ...]) -> list[str]:
    """Replace ``all`` by every scorer that needs nothing beyond the model, and say which are left out."""
    if "all" not in scorers:
        return list(scorers)
    infos = plugins.available("scorer")
    named = {spec.partition(":")[0] for spec in scorers}
    for info in infos.values():
        if info.needs and info.key not in named:
            say(f"Left out of all: {info.key} needs {info.needs}")
    everything = [key for key, info in infos.items() if not info.needs and key not in scorers]
    return [each for spec in scorers for each in (everything if spec == "all" else [spec])]


def unchecked(plugin_class: type[Any]) -> type[Any]:
    """Extend a plugin to one whose options are not checked, so that a mistake is reported in one line by who makes it."""
    return type(plugin_class.__name__, (plugin_class,), {"__post_init__": lambda self: None, "__doc__": plugin_class.__doc__})


@contextmanager
def errors_as_one_line() -> Iterator[None]:
    """Turn what a user can act on into one line on standard error and exit code 2."""
    try:
        with open_stores:
            yield
    except ReasoningAnatomyError as error:
        _fail(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has gone, as `| head` does
        raise SystemExit(1) from None
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted; the same command continues from here")
        raise SystemExit(130) from None


def _fail(message: str) -> None:
    sys.stderr.write(f"error: {message}\n")
    raise SystemExit(EXIT_BAD_INPUT)
