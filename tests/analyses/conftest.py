"""Runs whose attention and deletion order the tests choose."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reasoning_anatomy.run import Run, open_run
from reasoning_anatomy.run.manifest import Configuration, ModelIdentity
from reasoning_anatomy.run.writer import RunWriter, begin_run
from reasoning_anatomy.types import AttentionProfile, EncodedChain, PruningPath, ReasoningChain, TokenScores


@pytest.fixture(scope="session")
def make_chains() -> Callable[..., list[ReasoningChain]]:
    """``n_questions`` x ``per_question`` chains of ``n_tokens`` words each."""

    def make(n_questions: int, per_question: int = 1, n_tokens: int = 30) -> list[ReasoningChain]:
        return [
            ReasoningChain(
                chain_id=f"q{question}-{chain}", question_id=f"q{question}", question=f"How many in {question}?",
                reasoning=" ".join(f"w{word}" for word in range(n_tokens)), answer="5",
            )
            for question in range(n_questions)
            for chain in range(per_question)
        ]  # fmt: skip

    return make


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Run]:
    """Write a run from ``(question_id, received, deleted)`` per chain; ``received`` None = measured by nothing."""

    def make(
        folder: Path, content: Sequence[tuple[str, np.ndarray | None, Sequence[int]]], *, imported_from: str | None = None
    ) -> Run:
        chains = [
            ReasoningChain(
                chain_id=f"c{number}", question_id=question, question=f"Q of {question}", reasoning="text", answer="A"
            )
            for number, (question, _, _) in enumerate(content)
        ]
        model = ModelIdentity(
            id="tiny", revision="abc", architecture="none", n_layers=1, n_heads=1, weights="none", template="none",
            dtype="float32", device="cpu", quantization="nf4",
        )  # fmt: skip
        configuration = Configuration(
            model=None if imported_from else model,
            encoding=imported_from or "ids",
            scorers={"answer_attention": "AnswerAttention()", "surprisal": "Surprisal()"},
            strategies={"greedy": "Greedy(objective='joint')"},
        )
        with begin_run(folder, configuration, chains) as writer:
            for chain, (_, received, deleted) in zip(chains, content, strict=True):
                if received is not None:
                    _add(writer, chain, received, np.array(deleted))
        return open_run(folder)

    return make


def _add(writer: RunWriter, chain: ReasoningChain, received: np.ndarray, deleted: np.ndarray) -> None:
    n, k = received.shape[-1], len(deleted)
    curve = np.linspace(1, 2, k + 1)
    scores = received.mean(axis=(0, 1), dtype=np.float64)
    spans = np.stack([np.arange(n), np.arange(n) + 1], axis=1)
    profile = AttentionProfile("answer_attention", received, "answer tokens", "none")
    writer.add_encoded(EncodedChain(chain, np.array([1]), np.arange(n), np.array([2]), spans))
    writer.add_scores(chain.chain_id, "answer_attention", TokenScores(scores, profile))
    writer.add_scores(chain.chain_id, "surprisal", TokenScores(-scores))
    writer.add_path(chain.chain_id, "greedy", PruningPath("Greedy()", n, deleted, np.full(k, 0.1), 0, curve, curve, curve))


@pytest.fixture(scope="session")
def add_scorers() -> Callable[..., Run]:
    """Add scores without a profile, drawn from the seed of each scorer, to the measured chains of a run."""

    def add(run: Run, seeds: Mapping[str, int]) -> Run:
        scorers = {label: f"{label}()" for label in seeds}
        more = run.manifest.configuration.model_copy(update={"scorers": scorers, "strategies": {}})
        with begin_run(run.folder, more, list(run.chains.values())) as writer:
            for label, seed in seeds.items():
                rng = np.random.default_rng(seed)
                for chain_id in run.measured:
                    writer.add_scores(chain_id, label, TokenScores(rng.random(run.encoded(chain_id).n_reasoning)))
        return open_run(run.folder)

    return add


@pytest.fixture(scope="session")
def add_answers() -> Callable[..., Run]:
    """Add the answers of a sweep to a run, one row each: what is not told is the same for all answers, and unremarkable."""

    def add(run: Run, rows: Sequence[Mapping[str, object]]) -> Run:
        usual: dict[str, object] = {
            "strategy": "s", "reference": None, "threshold": 0.0, "reading": "closed_up", "restatements": "kept", "sample": 0,
            "tokens_before": 100, "steps_before": 10, "tokens_generated": 50, "finish_reason": "eos", "verdict": "correct",
            "same_as_chain": "correct", "states_answer": False, "nll_gold": 0.5, "response": "5", "extracted": "5",
            "rule": "number", "seed": 0, "peak_cache_tokens": np.nan,
        }  # fmt: skip
        table = pd.DataFrame([{**usual, **row} for row in rows])
        table["question_id"] = [run.chains[chain_id].question_id for chain_id in table["chain_id"]]
        kept = 1 - table["threshold"]
        for unit in ("steps", "tokens"):
            left = (table[f"{unit}_before"] * kept).round()
            table[f"{unit}_after"] = table[f"{unit}_after"].fillna(left) if f"{unit}_after" in table else left
        table["requested_ratio"], table["achieved_ratio"] = kept, table["tokens_after"] / table["tokens_before"]
        table.to_parquet(run.folder / "evaluations.parquet")
        return Run(run.folder)

    return add
