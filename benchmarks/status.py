"""How long it takes to say how far a large run is: ``python -m benchmarks.status``.

A run is made up in which half of the chains are measured and answered; what is measured is empty files, because names and times
are all that is read of them. Then ``reasoning-anatomy status`` is run, in a process of its own.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import numpy as np
import tyro

from reasoning_anatomy.chains import write_chains
from reasoning_anatomy.claims import claimed
from reasoning_anatomy.run import Run
from reasoning_anatomy.run.evaluations import Answer, GoldLikelihood
from reasoning_anatomy.run.layout import CHAINS_NAME, artefact_name
from reasoning_anatomy.run.manifest import Condition, Configuration, Manifest, write_manifest
from reasoning_anatomy.run.selection import Kept
from reasoning_anatomy.run.sweep import SweepFolder
from reasoning_anatomy.types import ReasoningChain
from reasoning_anatomy.version import __version__

_WORDS: Final = "So we add 3 and 4, which gives 7 apples. "
_SECONDS: Final = 15.0


def main(chains: int = 10_000, tokens: int = 500, scorers: int = 16, strategies: int = 4, thresholds: int = 0) -> None:
    """Print the seconds.

    Parameters
    ----------
    chains, tokens
        Number of chains, and about how many tokens each has.
    scorers, strategies
        Of the run.
    thresholds
        At which one strategy is swept; 0 = the run has no sweep.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = plant(Path(folder) / "run", chains, tokens, scorers, strategies, thresholds)
        n_files = sum(len(files) for _, _, files in os.walk(run.folder))
        begin, before = time.perf_counter(), _of_children()
        command = [sys.executable, "-c", "from reasoning_anatomy.cli import main; main()", "status", str(run.folder)]
        first, second = (run.layout.claim(f"c{chains // 2 + number}", "path g0") for number in range(2))
        with claimed(first, []), claimed(second, []):
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        seconds, of_processor = time.perf_counter() - begin, _of_children() - before
    _say(said.replace(folder, "…").rstrip("\n"))
    _say(f"\n{chains:,} chains, {n_files:,} files: {seconds:.1f} s, {of_processor:.1f} s of a processor")


def plant(folder: Path, n_chains: int, n_tokens: int, n_scorers: int, n_strategies: int, n_thresholds: int) -> Run:
    """Write a run of which the first half of the chains is done, one every fifteen seconds, the last one now."""
    folder.mkdir()
    scorers, strategies = [f"s{number}" for number in range(n_scorers)], [f"g{number}" for number in range(n_strategies)]
    swept = [
        Condition(strategy="random_steps", threshold=number / n_thresholds, samples=1, plugins=("RandomSteps()",))
        for number in range(n_thresholds)
    ]
    configuration = Configuration(
        model=None,
        encoding="words",
        scorers={label: f"{label}()" for label in scorers},
        strategies={label: f"{label}()" for label in strategies},
        answering="Answering()" if swept else None,
        conditions={condition.label: condition for condition in swept},
    )
    reasoning = _WORDS * (n_tokens // 11)
    records = [
        ReasoningChain(
            chain_id=f"c{number}", question_id=f"q{number}", question="How many?", reasoning=reasoning, answer="7",
            gold_answer="7",
        )
        for number in range(n_chains)
    ]  # fmt: skip
    write_chains(folder / CHAINS_NAME, records)
    write_manifest(folder, Manifest(package=__version__, configuration=configuration, versions={}))
    run = Run(folder)
    names = [artefact_name("score", label) for label in scorers] + [artefact_name("path", label) for label in strategies]
    ends = {chain.chain_id: time.time() - _SECONDS * place for place, chain in enumerate(reversed(records[: n_chains // 2]))}
    for chain in records[: n_chains // 2]:
        of_chain = run.layout.chain(chain.chain_id)
        of_chain.mkdir(parents=True)
        for name in (run.layout.encoded(chain.chain_id).name, *names):
            (of_chain / name).touch()
            os.utime(of_chain / name, (ends[chain.chain_id],) * 2)
        os.utime(of_chain, (ends[chain.chain_id],) * 2)
        _answer(SweepFolder(run, configuration), chain.chain_id, n_tokens)
    run.layout.claims.mkdir()
    for chain in records[: n_chains // 2]:
        for work in ("encoded", "scores", *(f"path {label}" for label in strategies)):
            run.layout.claim(chain.chain_id, work).touch()
    return run


def _answer(folder: SweepFolder, chain_id: str, n_tokens: int) -> None:
    for condition in folder.of_pruned:
        kept = Kept(np.arange(n_tokens - int(n_tokens * condition.threshold)), n_tokens)
        folder.add_kept(chain_id, condition, kept)
        folder.add_answers(chain_id, condition.reading, kept, [Answer(0, 0, "It is 7.", 4, "eos")])
        folder.add_gold(chain_id, condition.reading, kept, GoldLikelihood(1.0, 1))


def _of_children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    tyro.cli(main)
