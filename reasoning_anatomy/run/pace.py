"""How fast a run goes, and how long the rest will take, from the times of its files."""

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.layout import artefact_name
from reasoning_anatomy.run.status import Status, plugins_of
from reasoning_anatomy.run.students import Students
from reasoning_anatomy.run.sweep import SweepFolder, SweepStatus

_RECENT: Final = 30 * 60.0

Piece = tuple[float, float]
"""A piece of work that is done: when it was, in seconds since 1970, and its size."""


@dataclass(frozen=True)
class Pace:
    """How fast a run goes.

    Attributes
    ----------
    n_finished
        Chains, or students, that were finished in this time.
    seconds
        The last half hour, or less if the first of that half hour was finished later; all the time since the first was
        finished, if fewer than two were in the last half hour.
    seconds_left
        How long the rest will take at this pace, if what is left costs as much for its size; None if nothing that says so is
        finished.
    """

    n_finished: int
    seconds: float
    seconds_left: float | None


def run_pace(run: Run, status: Status) -> Pace:
    """Pace of the scorers and strategies of a run, whose status says which chains failed.

    The size of a score is the length of the chain's reasoning in characters, that of a path the square of it. Each scorer and
    strategy is compared with itself, and the one that takes longest says how long the rest will take.
    """
    configuration, now = run.manifest.configuration, time.time()
    lengths = {chain_id: len(chain.reasoning) for chain_id, chain in run.chains.items()}
    names = {artefact_name(*plugin): plugin for plugin in plugins_of(configuration)}
    lacking = run.inventory().lacking(configuration)
    times = _recent_times({chain_id: run.layout.chain(chain_id) for chain_id in run.chains}, names, now)
    finished: dict[str, list[Piece]] = {name: [] for name in names}
    left = dict.fromkeys(names, 0.0)
    ends = []
    for chain_id, length in lengths.items():
        of_chain = times.get(chain_id, {})
        for name, when in of_chain.items():
            finished[name].append((when, _size(names[name][0], length)))
        if chain_id not in status.failed:
            for plugin in lacking[chain_id]:
                left[artefact_name(*plugin)] += _size(plugin[0], length)
        if of_chain and not lacking[chain_id]:
            ends.append(max(of_chain.values()))
    return _pace(ends, finished, left, now)


def sweep_pace(folder: SweepFolder, status: SweepStatus) -> Pace:
    """Pace of the answers; the size of a chain is the length of its reasoning in characters."""
    chains, now = folder.run.chains, time.time()
    pieces = [(_time_of(folder.run.layout.evaluations(name)), float(len(chains[name].reasoning))) for name in status.done]
    pieces = [piece for piece in pieces if piece[0] > 0]  # a chain that has nothing of its own to answer has no folder
    return _pace(*_of_one_kind(pieces, sum(len(chains[name].reasoning) for name in status.left), now))


def students_pace(students: Students) -> Pace:
    """Pace of the students, which all count alike; one is finished when the likelihoods of its answers are written."""
    files = [students.likelihoods_file(student) for student in students.manifest.students]
    pieces = [(when, 1.0) for when in map(_time_of, files) if when]
    return _pace(*_of_one_kind(pieces, len(files) - len(pieces), time.time()))


def _of_one_kind(
    pieces: Sequence[Piece], left: float, now: float
) -> tuple[list[float], dict[str, list[Piece]], dict[str, float], float]:
    recent = [piece for piece in pieces if piece[0] > now - _RECENT]
    counted = recent if len(recent) > 1 else list(pieces)
    return [when for when, _ in counted], {"all": counted}, {"all": left}, now


def _pace(ends: Sequence[float], finished: Mapping[str, Sequence[Piece]], left: Mapping[str, float], now: float) -> Pace:
    """Count from the end of the first piece on; of each kind the first was begun before, and does not count."""
    times = [when for pieces in finished.values() for when, _ in pieces]
    if not times or min(times) == max(times):
        return Pace(0, 0.0, None)
    seconds = max(now, *times) - min(times)  # clocks of machines differ
    done = {kind: sum(size for _, size in sorted(pieces)[1:]) for kind, pieces in finished.items()}
    wanting = [kind for kind, size in left.items() if size]
    is_known = all(done[kind] for kind in wanting)
    seconds_left = seconds * max((left[kind] / done[kind] for kind in wanting), default=0.0) if is_known else None
    return Pace(max(len(ends) - 1, 0), seconds, seconds_left)


def _recent_times(folders: Mapping[str, Path], names: Iterable[str], now: float) -> dict[str, dict[str, float]]:
    """When files of these names were written, by chain_id: in the last half hour, or ever if those are fewer than 2 chains."""
    changed = {chain_id: _time_of(folder) for chain_id, folder in folders.items()}
    wanted = frozenset(names)
    for since in (now - _RECENT, 0.0):  # a folder changes with its last file, so that few of them are listed
        found = {
            chain_id: times
            for chain_id, folder in folders.items()
            if changed[chain_id] > since and (times := _times_in(folder, wanted, since))
        }
        if len(found) > 1:
            break
    return found


def _times_in(folder: Path, wanted: frozenset[str], since: float) -> dict[str, float]:
    times = {}
    for entry in os.scandir(folder):
        if entry.name in wanted and (when := entry.stat().st_mtime) > since:
            times[entry.name] = when
    return times


def _time_of(path: Path) -> float:
    """Time of the last change; 0 if it is not there."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _size(stage: str, length: int) -> float:
    return float(length if stage == "score" else length**2)
