"""The command that says how far a run, or students, are: ``status``."""

import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from reasoning_anatomy.cli._app import FolderArgument, app, listed, open_folder, say
from reasoning_anatomy.cli._places import named
from reasoning_anatomy.cli.measuring import say_measured, say_next
from reasoning_anatomy.cli.sweeping import say_next_of_sweep, say_swept
from reasoning_anatomy.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reasoning_anatomy.run import Run
    from reasoning_anatomy.run.pace import Pace
    from reasoning_anatomy.run.students import Students


@app.command
def status(
    run: FolderArgument,
    watch: Annotated[
        float | None, arg(help="Say it again every so many seconds, until nothing is left.", metavar="SECONDS")
    ] = None,
) -> None:
    """Say how far a run is: what is done, running, failed and why, how fast it goes and how long the rest will take."""
    if watch is not None and watch <= 0:
        raise RunError(f"--watch is {watch:g}; give seconds above 0")
    if watch is not None and named(run) != str(run):
        raise RunError(f"{named(run)}: is fetched once for a command, so --watch would show the same again; leave it out")
    while True:
        is_left = _say_status(run)
        if watch is None or not is_left:
            return
        sys.stdout.flush()
        time.sleep(watch)
        say(f"\n{datetime.now().astimezone():%H:%M:%S}")


def _say_status(folder: Path) -> bool:
    """Say it once; whether something is left to do."""
    from reasoning_anatomy.run.students import Students

    opened = open_folder(folder, ())
    return _say_students(opened) if isinstance(opened, Students) else _say_run(opened)


def _say_run(run: "Run") -> bool:
    from reasoning_anatomy.run.pace import run_pace, sweep_pace
    from reasoning_anatomy.run.running import running
    from reasoning_anatomy.run.sweep import SweepFolder

    status, configuration = say_measured(run), run.manifest.configuration
    n_left = status.n_left
    paces = [("chains", run_pace(run, status))] if n_left else []
    if configuration.conditions:
        folder = SweepFolder(run, configuration)
        of_sweep = say_swept(run)
        n_left += of_sweep.n_left
        paces += [("answered chains", sweep_pace(folder, of_sweep))] if of_sweep.n_left else []
    _say_running([f"{what} ({listed(whom)})" for what, whom in running(run).items()], bool(n_left))
    for what, pace in paces:
        _say_pace(pace, what)
    say_next_of_sweep(run) if configuration.conditions else say_next(run)
    return bool(n_left)


def _say_students(students: "Students") -> bool:
    from reasoning_anatomy.run.pace import students_pace
    from reasoning_anatomy.run.running import held_in

    states = students.states()
    held = set(held_in(students.claims))
    n_left = sum(not state.is_done for state in states)
    say(
        f"{sum(state.is_trained for state in states)} of {len(states)} students are trained and {students.n_answered} have "
        f"answered all {students.n_questions} questions, in {named(students.folder)}"
    )
    _say_running([state.in_words for state in states if students.claim(state.student).stem in held], bool(n_left))
    if n_left:
        say(f"Left: {n_left} of {len(states)} students")
        _say_pace(students_pace(students), "students")
    say(f"Next: python -m analyses.distillation {named(students.folder)}")
    return bool(n_left)


def _say_running(works: "Sequence[str]", is_left: bool) -> None:
    for work in works:
        say(f"Running: {work}")
    if is_left and not works:
        say("Running: nothing that can be seen from here; the same command as before continues")


def _say_pace(pace: "Pace", what: str) -> None:
    from reasoning_anatomy.progress import duration

    if not pace.n_finished:
        say(f"Rate: not known before two {what} are finished")
        return
    per_hour = pace.n_finished / pace.seconds * 3600
    shown = f"{per_hour:,.0f}" if per_hour >= 10 else f"{per_hour:.2g}"
    say(f"Rate: {pace.n_finished:,} {what} in the last {duration(pace.seconds)}, {shown} an hour")
    if pace.seconds_left is not None:
        say(f"Time left: about {duration(pace.seconds_left)} at this rate, by the length of what is left")
