"""What it takes to read the tokens of a large run: ``python -m benchmarks.reading``.

A run is made up of its tables alone, as large as a corpus with many scorers has them. Then all of it is read, some columns,
some chains, and what an analysis needs; each in a process of its own, whose peak memory is printed.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import tyro

from analyses._rank_correlation.competitors import competitors
from analyses._tokens import tokens_with
from benchmarks._memory import peak_mib
from benchmarks.statistics import in_a_process
from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.chains import write_chains
from reasoning_anatomy.plugins import load
from reasoning_anatomy.run import Run, open_run
from reasoning_anatomy.run.layout import CHAINS_NAME, TOKENS_NAME
from reasoning_anatomy.run.manifest import Configuration, Manifest, write_manifest
from reasoning_anatomy.types import ReasoningChain
from reasoning_anatomy.version import __version__

_WORDS: Final = ("First", "we", "add", "3", "and", "4", ",", "so", "she", "has", "7", "apples", ".")
_GREEDY: Final = "greedy"
_ANNOTATOR: Final = "first"
_CHAINS_PER_GROUP: Final = 64


def main(chains: int = 7500, tokens: int = 500, scorers: int = 16, some: int = 500) -> None:
    """Print memory and seconds.

    Parameters
    ----------
    chains, tokens, scorers
        Of the run, and of a chain.
    some
        Chains that are read alone.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        in_a_process(plant, folder, chains, tokens, scorers)
        size = sum(path.stat().st_size for path in folder.rglob("*.parquet"))
        _say(f"{chains:,} chains x {tokens} tokens x {scorers} scorers: {size / 1e6:,.0f} MB of tables")
        for what in READS:
            seconds, mib = in_a_process(cost_of, folder, what, some)
            _say(f"  {what:<62} {mib:>6,.0f} MiB, {seconds:.1f} s of a processor")


def cost_of(folder: Path, what: str, some: int) -> tuple[float, float]:
    """Seconds of the processor, and MiB at the peak."""
    run, begin = open_run(folder), time.process_time()
    READS[what](run, some)
    return time.process_time() - begin, peak_mib()


def _what_rank_correlation_reads(run: Run, _: int) -> object:
    tokens = tokens_with(run, "text", f"deletion_step_{_GREEDY}", labels=run.annotators)
    return competitors(tokens, strategy=_GREEDY, annotators=run.annotators, has_position=False)


READS: Final[Mapping[str, Callable[[Run, int], Any]]] = {
    "open the run": lambda run, some: run.chains,
    "all columns": lambda run, some: run.tokens(),
    "four columns": lambda run, some: run.tokens(columns=["chain_id", "position", "score_s0", f"deletion_step_{_GREEDY}"]),
    "all columns of some chains": lambda run, some: run.tokens(chains=list(run.chains)[:some]),
    "what rank_correlation needs of the tokens, and its competitors": _what_rank_correlation_reads,
    "deletion_by_category": lambda run, some: load("analysis", "deletion_by_category").analyse(run),
}


def plant(folder: Path, n_chains: int, n_tokens: int, n_scorers: int, seed: int = 0) -> None:
    """Write the record, the chains, the tokens and the labels of a run; no file of a chain."""
    words = np.resize(_WORDS, n_tokens)
    chains = [
        ReasoningChain(
            chain_id=f"c{number}", question_id=f"q{number // 4}", question="How many?", reasoning=" ".join(words), answer="7"
        )
        for number in range(n_chains)
    ]
    folder.mkdir()
    (folder / "annotations").mkdir()
    write_chains(folder / CHAINS_NAME, chains)
    scorers = {f"s{number}": f"S{number}()" for number in range(n_scorers)}
    configuration = Configuration(model=None, encoding="words", scorers=scorers, strategies={_GREEDY: "Greedy()"})
    write_manifest(folder, Manifest(package=__version__, configuration=configuration, versions={}))
    rng = np.random.default_rng(seed)
    parts = [chains[first : first + _CHAINS_PER_GROUP] for first in range(0, n_chains, _CHAINS_PER_GROUP)]
    _write(folder / TOKENS_NAME, (_tokens(part, words, list(scorers), rng) for part in parts))
    _write(folder / "annotations" / f"{_ANNOTATOR}.parquet", (_labels(part, n_tokens, rng) for part in parts))


def _tokens(chains: list[ReasoningChain], words: np.ndarray, scorers: list[str], rng: np.random.Generator) -> pa.Table:
    n, times = len(words), len(chains)
    ends = np.cumsum([len(word) + 1 for word in words]) - 1
    starts = ends - [len(word) for word in words]
    steps = np.concatenate([rng.permutation(n) + 1 for _ in chains])
    return pa.table(
        {
            "chain_id": np.repeat([chain.chain_id for chain in chains], n),
            "question_id": np.repeat([chain.question_id for chain in chains], n),
            "position": np.tile(np.arange(n), times),
            "token_id": rng.integers(0, 1000, n * times),
            "text": np.tile(words, times),
            "start": np.tile(starts, times),
            "end": np.tile(ends, times),
            "step_sentences": np.tile(np.arange(n) // len(_WORDS), times),
            **{f"score_{label}": rng.random(n * times) for label in scorers},
            f"deletion_step_{_GREEDY}": pa.array(steps, mask=steps > 0.9 * n),
        }
    )


def _labels(chains: list[ReasoningChain], n_tokens: int, rng: np.random.Generator) -> pa.Table:
    n = n_tokens * len(chains)
    table = pa.table(
        {
            "chain_id": np.repeat([chain.chain_id for chain in chains], n_tokens),
            "position": np.tile(np.arange(n_tokens), len(chains)),
            "category": rng.choice(CATEGORIES, n),
            "confidence": rng.random(n),
        }
    )
    return table.replace_schema_metadata({"PANDAS_ATTRS": f'{{"annotator": "{_ANNOTATOR}()"}}'})


def _write(path: Path, tables: Any) -> None:
    first = next(tables)
    with pq.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    tyro.cli(main)
