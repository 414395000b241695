"""The merged run: checked as a whole, then written."""

from collections.abc import Collection, Sequence
from pathlib import Path

from reasoning_anatomy.chains import write_chains
from reasoning_anatomy.claims import claimed
from reasoning_anatomy.errors import RunError
from reasoning_anatomy.progress import Stages
from reasoning_anatomy.run.evaluation_table import write_evaluations
from reasoning_anatomy.run.folder import Run, open_run
from reasoning_anatomy.run.labels import write_token_table
from reasoning_anatomy.run.layout import CHAINS_NAME, LOCK_NAME, Layout
from reasoning_anatomy.run.manifest import MANIFEST_NAME, write_manifest
from reasoning_anatomy.run.merging.answers import texts
from reasoning_anatomy.run.merging.artefacts import artefacts, fits
from reasoning_anatomy.run.merging.labels import token_tables
from reasoning_anatomy.run.merging.together import Together
from reasoning_anatomy.run.writer import begin_run, expect_run_folder


def merge_runs(
    runs: Sequence[str | Path], *, out: str | Path, without: Collection[str] = (), stages: Stages | None = None
) -> Run:
    """Put runs with the same model and options into one: of different chains, or of different labels on the same chains.

    Everything that was measured is copied: ids, scores, paths, answers, labels, transcripts, failures, what was left out.
    Tables are written as `measure` and `sweep` write them. Analyses, reports and exports are not copied: they are of one run.
    What two runs have in common must be equal to the last bit; of what is unfinished or failed, which is tried again, the
    longest beginning and the first reason are kept. If it is interrupted, the same call completes it.

    Parameters
    ----------
    runs
        Their folders, of which nothing is changed. Chains come in the order of the runs.
    out
        Folder of the merged run: absent, empty, or a run, to which the others are added.
    without
        Labels of scorers that are left out.
    stages
        Shows progress; silent if None.

    Returns
    -------
    The merged run.

    Raises
    ------
    RunError
        The runs differ in an option, in a chain, or in what was measured on a chain under one label, or a scorer looked at all
        chains, which were others in each run; the message says which, and nothing is written then.
    """
    folder, stages = Path(out), stages or Stages()
    expect_run_folder(folder)
    named = [*([folder] if (folder / MANIFEST_NAME).exists() else []), *map(Path, runs)]
    distinct = {path.resolve(): path for path in reversed(named)}
    if len(distinct) < 2:
        raise RunError("there is nothing to merge: name two runs or more, or one and an existing run as --out")
    opened = [open_run(distinct[path]) for path in dict.fromkeys(path.resolve() for path in named)]
    together = Together(tuple(opened), Layout(folder), frozenset(without))
    configuration, chains = together.configuration, together.chains
    copies = [*fits(together), *artefacts(together), *texts(together)]
    tables = token_tables(together)
    _begin(folder, together)
    with begin_run(folder, configuration, list(chains.values()), stages=stages) as writer:
        for copy in stages.add("copy", len(copies)).each(copies):
            copy.make()
        for path, table in tables.items():
            write_token_table(path, table)
        writer.add_unusable([each for run in together.runs for each in run.unusable])
        writer.add_checks(together.checks)
    if configuration.conditions:
        write_evaluations(Run(folder))
    return open_run(folder)


def _begin(folder: Path, together: Together) -> None:
    """Write the record of a new run: the versions are those with which the runs were begun, not those of now."""
    folder.mkdir(parents=True, exist_ok=True)
    with claimed(folder / LOCK_NAME, wait=True):
        if not (folder / MANIFEST_NAME).exists():
            write_chains(folder / CHAINS_NAME, together.chains.values())
            write_manifest(folder, together.manifest)
