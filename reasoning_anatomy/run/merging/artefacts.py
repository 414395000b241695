"""What was measured on the chains of the runs that are merged: each artefact once, if it is the same wherever it is."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from reasoning_anatomy.errors import RunError
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.layout import ENCODED_NAME, artefact_name, missing_score_name
from reasoning_anatomy.run.merging.answers import answers
from reasoning_anatomy.run.merging.copies import Copy, are_equal, once
from reasoning_anatomy.run.merging.together import Together, contradiction
from reasoning_anatomy.run.status import names_in, plugins_of


def artefacts(together: Together) -> Iterator[Copy]:
    """List the files of the chains; `RunError` if two runs differ in one."""
    wanted = {ENCODED_NAME: "ids and spans", "transcript.json": "transcript"}
    for stage, label in plugins_of(together.configuration):
        wanted[artefact_name(stage, label)] = f"{'scores' if stage == 'score' else 'deletions'} by {label!r}"
    for label in together.configuration.scorers:
        wanted[missing_score_name(label)] = f"reasons for no score by {label!r}"
    for chain_id in together.chains:
        folder = together.layout.chain(chain_id)
        names = [(run, names_in(run.layout.chain(chain_id))) for run in together.with_chain(chain_id)]
        _expect_score_or_reason(together, chain_id, names)
        for name, what in wanted.items():
            files = [(run, run.layout.chain(chain_id) / name) for run, in_run in names if name in in_run]
            yield from once(files, folder / name, chain_id, what)
        yield from _unfinished(together, chain_id, {name for _, in_run in names for name in in_run})
        yield from answers(together, chain_id)


def fits(together: Together) -> Iterator[Copy]:
    """List what scorers found in all chains; `RunError` if two runs have scores that were made with different ones."""
    for label in together.configuration.scorers:
        runs = [run for run in together.runs if run.layout.fit(label).exists() or _is_scored(run, label)]
        files = [run.layout.fit(label) for run in runs]
        for run, fit in list(zip(runs, files, strict=True))[1:]:
            if fit.exists() != files[0].exists() or (fit.exists() and not are_equal(fit, files[0])):
                raise RunError(
                    f"{run.folder}: scorer {label!r} looked at all chains of the run before it scored one, and found something "
                    f"else than in {runs[0].folder}, so that their scores do not go together; measure the chains in one run, "
                    f"or leave the scorer out, to measure it in the merged run: --without {label}"
                )
        yield from (Copy(fit, together.layout.fit(label)) for fit in files[:1] if fit.exists())


def _is_scored(run: Run, label: str) -> bool:
    if label not in run.manifest.configuration.scorers:
        return False
    return any(run.layout.artefact(chain_id, "score", label).exists() for chain_id in run.chains)


def _expect_score_or_reason(together: Together, chain_id: str, names: Sequence[tuple[Run, Collection[str]]]) -> None:
    """Refuse a chain that has scores in one run, and a reason why there are none in another."""
    for label in together.configuration.scorers:
        scored = [run for run, in_run in names if artefact_name("score", label) in in_run]
        unscored = [run for run, in_run in names if missing_score_name(label) in in_run]
        if scored and unscored:
            raise contradiction(unscored[0], scored[0], f"chain {chain_id!r} has no score by {label!r} for a reason, other")


def _unfinished(together: Together, chain_id: str, names: Collection[str]) -> Iterator[Copy]:
    """Of paths that are begun the longest, and of what failed the first reason, if no run has the artefact."""
    layouts = [run.layout for run in together.with_chain(chain_id)]
    for stage, label in plugins_of(together.configuration):
        if artefact_name(stage, label) in names or (stage == "score" and missing_score_name(label) in names):
            continue
        begun = _there(layout.begun_path(chain_id, label) for layout in layouts)
        if stage == "path" and begun:
            longest = max(begun, key=lambda path: path.stat().st_size)
            yield Copy(longest, together.layout.begun_path(chain_id, label), replaces=True)
        failed = _there(layout.failure(chain_id, stage, label) for layout in layouts)
        yield from (Copy(path, together.layout.failure(chain_id, stage, label)) for path in failed[:1])
    failed = _there(layout.evaluation_failure(chain_id) for layout in layouts)
    yield from (Copy(path, together.layout.evaluation_failure(chain_id)) for path in failed[:1])


def _there(paths: Iterator[Path]) -> list[Path]:
    return [path for path in paths if path.exists()]
