"""What it costs to read and write a run folder, in files and bytes: ``python -m benchmarks.run_folder``.

A run is made up with every scorer that needs nothing else and an exact path: one token per word, random numbers in the shapes
of SmolLM2-135M. Then the files of arrays that ordinary uses of a run open, and the bytes that they read and write, are counted.
Nothing is timed: the counts are the same on every machine.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import tyro
from safetensors import safe_open

from annotations import annotate_run
from reasoning_anatomy import plugins
from reasoning_anatomy.run import Run, arrays
from reasoning_anatomy.run.manifest import Configuration, ModelIdentity
from reasoning_anatomy.run.writer import begin_run
from reasoning_anatomy.types import AttentionProfile, EncodedChain, PruningPath, ReasoningChain, TokenScores

N_LAYERS, N_HEADS, N_KV_HEADS = 30, 9, 3
GREEDY = "greedy"
BY_HEAD = ("attention", "contribution", "end_of_thinking")
BY_KEY = ("key_norm", "key_diff", "expected_attention")


@dataclass
class Count:
    """Files of arrays that were opened, and bytes that were read from them, headers included."""

    files: int = 0
    bytes: int = 0


@contextmanager
def counting() -> Iterator[Count]:
    """Count what is read from files of arrays."""
    count = Count()

    class Counting:
        def __init__(self, path: Path, **options: Any) -> None:
            self._file: Any = safe_open(path, **options)
            count.files += 1
            with path.open("rb") as file:
                count.bytes += 8 + int.from_bytes(file.read(8), "little")

        def __enter__(self) -> "Counting":
            self._file.__enter__()
            return self

        def __exit__(self, *error: Any) -> None:
            self._file.__exit__(*error)

        def metadata(self) -> Any:
            return self._file.metadata()

        def keys(self) -> Any:
            return self._file.keys()

        def get_tensor(self, name: str) -> Any:
            tensor = self._file.get_tensor(name)
            count.bytes += tensor.nbytes
            return tensor

    with mock.patch.object(arrays, "safe_open", Counting):
        yield count


def main(chains: int = 200, tokens: int = 500, seed: int = 0) -> None:
    """Print the counts.

    Parameters
    ----------
    chains, tokens
        Number of chains, and of reasoning tokens in each.
    seed
        Of the planted numbers.
    """
    scorers = [key for key, info in plugins.available("scorer").items() if not info.needs]
    with tempfile.TemporaryDirectory() as folder:
        run = plant(Path(folder) / "run", chains, tokens, scorers, np.random.default_rng(seed))
        size = sum(path.stat().st_size for path in run.folder.glob("chains/**/*.safetensors"))
        _say(f"{chains} chains of {tokens} tokens, {len(scorers)} scorers, one exact path: {size:,} bytes of arrays")
        _show("annotate (labels and roles)", lambda: annotate_run(run, annotator="rules:model=blank"))
        _show("run again, nothing left", lambda: resume(run))
        _say(f"{'checkpoint of a path, half-way':<44} {1:>6} file written {checkpoint(run):>14,} bytes")
        run.layout.artefact(run.measured[0], "path", GREEDY).unlink()
        _show("run again, one path left, and tables", lambda: resume(run, path_of(tokens, np.random.default_rng(1))))


def plant(folder: Path, n_chains: int, n_tokens: int, scorers: list[str], rng: np.random.Generator) -> Run:
    """Write a run of chains with one token per word."""
    words = ("First", "we", "add", "3", "and", "4", ",", "so", "she", "has", "7", "apples", ".")
    reasoning = " ".join(words[position % len(words)] for position in range(n_tokens))
    chains = [
        ReasoningChain(chain_id=f"c{n}", question_id=f"q{n}", question="How many?", reasoning=reasoning, answer="7")
        for n in range(n_chains)
    ]
    ends = np.cumsum([len(word) + 1 for word in reasoning.split(" ")])
    spans = np.stack([ends - [len(word) + 1 for word in reasoning.split(" ")], ends - 1], axis=1)
    with begin_run(folder, configuration_of(scorers), chains) as writer:
        for chain in chains:
            writer.add_encoded(EncodedChain(chain, np.arange(40), np.arange(n_tokens), np.arange(20), spans))
            for label in scorers:
                writer.add_scores(chain.chain_id, label, scores_of(label, n_tokens, rng))
            writer.add_path(chain.chain_id, GREEDY, path_of(n_tokens, rng))
    return Run(folder)


def configuration_of(scorers: list[str]) -> Configuration:
    """Return the configuration of the planted run."""
    model = ModelIdentity(
        id="planted", revision=None, architecture="planted", n_layers=N_LAYERS, n_heads=N_HEADS, weights="planted",
        template="planted", dtype="float32", device="cpu", quantization=None,
    )  # fmt: skip
    return Configuration(
        model=model, encoding="words", scorers={label: f"{label}()" for label in scorers}, strategies={GREEDY: "Greedy()"}
    )


def scores_of(label: str, n_tokens: int, rng: np.random.Generator) -> TokenScores:
    """Scores and, for scorers that have one, a profile of the right shape and precision."""
    if label in BY_KEY:
        received = rng.random((N_LAYERS, N_KV_HEADS, n_tokens), dtype=np.float32)
        return TokenScores(rng.random(n_tokens), AttentionProfile(label, received, "none", "none", full_precision=True))
    if any(word in label for word in BY_HEAD):
        received = rng.random((N_LAYERS, N_HEADS, n_tokens), dtype=np.float32)
        return TokenScores(rng.random(n_tokens), AttentionProfile(label, received, "none", "none"))
    return TokenScores(rng.random(n_tokens))


def path_of(n_tokens: int, rng: np.random.Generator, share: float = 1.0) -> PruningPath:
    """Make a path, or its beginning."""
    deleted = rng.permutation(n_tokens)[: int(n_tokens * share)]
    curve = rng.random(len(deleted) + 1)
    return PruningPath("Greedy()", n_tokens, deleted, rng.random(len(deleted)), 0, curve, curve, curve)


def resume(run: Run, path: PruningPath | None = None) -> None:
    """Do what the same command does again, with the path that is left."""
    with begin_run(run.folder, run.manifest.configuration, list(run.chains.values())) as writer:
        for chain_id, missing in writer.missing(list(run.chains)).items():
            for label in missing.strategies:
                assert path is not None
                writer.add_path(chain_id, label, path)


def checkpoint(run: Run) -> int:
    """Write the first half of a path of the first chain, and return the bytes that it took."""
    chain_id, n_tokens = run.measured[0], run.encoded(run.measured[0]).n_reasoning
    with begin_run(run.folder, run.manifest.configuration, list(run.chains.values())) as writer:
        writer.add_begun_path(chain_id, GREEDY, path_of(n_tokens, np.random.default_rng(2), share=0.5))
    return run.layout.begun_path(chain_id, GREEDY).stat().st_size


def _show(what: str, use: Callable[[], object]) -> None:
    with counting() as count:
        use()
    _say(f"{what:<44} {count.files:>6} files opened {count.bytes:>14,} bytes read")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    tyro.cli(main)
