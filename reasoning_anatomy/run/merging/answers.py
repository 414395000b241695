"""What was kept and answered in the sweeps of the runs that are merged."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from reasoning_anatomy.run.arrays import read_facts, refusing_damage
from reasoning_anatomy.run.evaluations import REMEDY, context_digest
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.merging.copies import Copy, once, read_json
from reasoning_anatomy.run.merging.together import Together, contradiction
from reasoning_anatomy.run.selection import Selection
from reasoning_anatomy.run.status import names_in
from reasoning_anatomy.run.sweep import SweepFolder


def answers(together: Together, chain_id: str) -> Iterator[Copy]:
    """List what is kept of a chain at thresholds, and the answers from it; `RunError` if two runs differ."""
    target = together.layout.evaluations(chain_id)
    shared: dict[str, list[tuple[Run, Path]]] = {}
    contexts: dict[str, dict[Run, list[Path]]] = {}
    for run in together.with_chain(chain_id):
        folder = run.layout.evaluations(chain_id)
        for name in sorted(names_in(folder)):
            if name.startswith("answers-"):
                contexts.setdefault(name.split("-")[1], {}).setdefault(run, []).append(folder / name)
            elif name.startswith(("kept-", "gold-")):
                shared.setdefault(name, []).append((run, folder / name))
    for name, files in shared.items():
        what = _kept_in_words(files[0][1]) if name.startswith("kept-") else "likelihood of the gold answer"
        yield from once(files, target / name, chain_id, what)
    for context, by_run in contexts.items():
        yield from _most(by_run, target, chain_id, context)


def texts(together: Together) -> Iterator[Copy]:
    """List the texts that were written anew on questions, which are with the first chain of their question."""
    first: dict[str, str] = {}
    for chain in together.chains.values():
        first.setdefault(chain.question_id, chain.chain_id)
    found: dict[Path, tuple[Run, Copy]] = {}
    for run in together.runs if together.configuration.writing else ():
        for chain_id, chain in run.chains.items():
            holder, folder = first[chain.question_id], run.layout.evaluations(chain_id)
            for name in sorted(name for name in names_in(folder) if name.startswith("written-")):
                target = together.layout.evaluations(holder) / name
                copy = Copy(folder / name, target, "" if holder == chain_id else holder)
                known, same = found.setdefault(target, (run, copy))
                if _of_text(same.source) != _of_text(copy.source):
                    raise contradiction(run, known, f"question {chain.question_id!r} has another text {name}")
    yield from (copy for _, copy in found.values())


def _most(by_run: Mapping[Run, Sequence[Path]], target: Path, chain_id: str, context: str) -> Iterator[Copy]:
    """Take the answers from one context of the run that has most, if the others have the same as far as they go."""
    found = {run: _by_sample(paths) for run, paths in by_run.items()}
    most = max(found, key=lambda run: len(found[run]))
    for run, of_run in found.items():
        if any(found[most].get(sample) != answer for sample, answer in of_run.items()):
            where = _context_in_words(run, chain_id, context)
            raise contradiction(run, most, f"chain {chain_id!r} has other answers from {where}")
    yield from (Copy(path, target / path.name, replaces=True) for path in by_run[most])


def _by_sample(paths: Iterable[Path]) -> dict[int, dict[str, Any]]:
    """Answers by the number of the sample, each with what it was made from."""
    files = map(read_json, paths)
    return {answer["sample"]: {**answer, "origin": facts["origin"]} for facts in files for answer in facts["answers"]}


def _of_text(path: Path) -> dict[str, Any]:
    """Everything that a text is, but the chain that it is with."""
    return {name: value for name, value in read_json(path).items() if name != "chain_id"}


def _kept_in_words(path: Path) -> str:
    with refusing_damage(path, remedy=REMEDY):
        return f"tokens kept by {Selection(**read_facts(path)['selection']).label}"


def _context_in_words(run: Run, chain_id: str, context: str) -> str:
    """Name the first condition under which a context is read."""
    folder = SweepFolder(run, run.manifest.configuration)
    for condition in folder.of_pruned:
        kept = folder.kept(chain_id, condition)
        if kept is not None and context_digest(condition.reading, kept) == context:
            return condition.label
    return f"context {context}"
