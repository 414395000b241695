"""Runs whose attention and deletion order the tests choose."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from reasoning_anatomy.chains import write_chains
from reasoning_anatomy.run.folder import CHAINS_NAME, Run
from reasoning_anatomy.run.manifest import Configuration, Manifest, ModelIdentity, write_manifest
from reasoning_anatomy.run.measurement import Measurement, write_measurement
from reasoning_anatomy.types import AttentionProfile, EncodedChain, PruningPath, ReasoningChain


@pytest.fixture(scope="session")
def make_chains() -> Callable[..., list[ReasoningChain]]:
    """``n_questions`` x ``per_question`` chains of ``n_tokens`` words each."""

    def make(n_questions: int, per_question: int = 1, n_tokens: int = 30) -> list[ReasoningChain]:
        return [
            ReasoningChain(
                chain_id=f"q{question}-{chain}", question_id=f"q{question}", question="How many?",
                reasoning=" ".join(f"w{word}" for word in range(n_tokens)), answer="5",
            )
            for question in range(n_questions)
            for chain in range(per_question)
        ]  # fmt: skip

    return make


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Run]:
    """Write a run from ``(question_id, received, deleted)`` per chain; ``received`` None = measured by nothing."""

    def make(folder: Path, content: Sequence[tuple[str, np.ndarray | None, Sequence[int]]]) -> Run:
        run = Run(folder)
        chains = [
            ReasoningChain(chain_id=f"c{number}", question_id=question, question="Q", reasoning="text", answer="A")
            for number, (question, _, _) in enumerate(content)
        ]
        for chain, (_, received, deleted) in zip(chains, content, strict=True):
            if received is not None:
                path = run.measurement_path(chain.chain_id)
                write_measurement(path, _measurement(chain, received, np.array(deleted)), fingerprint="test")
        write_chains(folder / CHAINS_NAME, chains)
        model = ModelIdentity(
            id="tiny", revision="abc", architecture="none", n_layers=1, n_heads=1, weights="none", template="none",
            dtype="float32", device="cpu", quantization="nf4",
        )  # fmt: skip
        configuration = Configuration(
            package="test", model=model, encoding="ids", chains="test", strategies={"greedy": "Greedy(objective='joint')"},
            scorers={"answer_attention": "AnswerAttention()", "surprisal": "Surprisal()"},
        )  # fmt: skip
        write_manifest(folder, Manifest(configuration=configuration, versions={}, n_chains=len(chains), n_done=len(chains)))
        return run

    return make


def _measurement(chain: ReasoningChain, received: np.ndarray, deleted: np.ndarray) -> Measurement:
    n, k = received.shape[-1], len(deleted)
    curve = np.linspace(1, 2, k + 1)
    scores = received.mean(axis=(0, 1), dtype=np.float64)
    return Measurement(
        encoded=EncodedChain(
            chain, np.array([1]), np.arange(n), np.array([2]), np.stack([np.arange(n), np.arange(n) + 1], axis=1)
        ),
        scores={"answer_attention": scores, "surprisal": -scores},
        profiles={"answer_attention": AttentionProfile("answer_attention", received, "answer tokens", "none")},
        paths={"greedy": PruningPath("Greedy()", n, deleted, np.full(k, 0.1), 0, curve, curve, curve)},
    )
