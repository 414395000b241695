"""Runs whose attention and deletion order the tests choose."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.run import Run, open_run
from reasoning_anatomy.run.manifest import Configuration, ModelIdentity
from reasoning_anatomy.run.writer import RunWriter, begin_run
from reasoning_anatomy.types import (
    Annotation,
    AttentionProfile,
    EncodedChain,
    PathStages,
    PruningPath,
    ReasoningChain,
    TokenScores,
)


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
def add_labels() -> Callable[..., Run]:
    """Label every token by chance, or as ``choose`` says: table of a chain's tokens and generator to numbers of categories."""

    def by_chance(rows: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
        return rng.integers(0, len(CATEGORIES), len(rows))

    def add(
        run: Run,
        choose: Callable[[pd.DataFrame, np.random.Generator], np.ndarray] = by_chance,
        *,
        name: str = "rules",
        seed: int = 0,
    ) -> Run:
        rng = np.random.default_rng(seed)
        labels = {
            str(chain_id): Annotation(
                "Planted()", tuple(CATEGORIES[place] if place >= 0 else None for place in choose(rows, rng))
            )
            for chain_id, rows in run.tokens().groupby("chain_id", sort=False)
        }
        run.write_annotations(name, labels)
        return run

    return add


@pytest.fixture(scope="session")
def add_surprisal() -> Callable[..., Run]:
    """Add surprisal to a run: a function of the table of a chain's tokens; None = the chain has none."""

    def add(run: Run, surprisal: Callable[[pd.DataFrame], np.ndarray | None]) -> Run:
        configuration = run.manifest.configuration.model_copy(
            update={"scorers": {"surprisal": "Surprisal()"}, "strategies": {}}
        )
        with begin_run(run.folder, configuration, list(run.chains.values())) as writer:
            for chain_id, rows in run.tokens().groupby("chain_id", sort=False):
                if (scores := surprisal(rows)) is not None:
                    writer.add_scores(str(chain_id), "surprisal", TokenScores(scores))
        return open_run(run.folder)

    return add


@pytest.fixture(scope="session")
def make_curves() -> Callable[..., Run]:
    """Write a run from ``(question_id, {strategy: nll of the answer after each deletion})`` per chain.

    Deletion is in the order of position. NaN = not evaluated; a strategy that a chain lacks has no path of it. ``provenance``
    is what the strategies are, by label, if not the label with empty brackets. The other nlls are twice and three times that.
    """

    def make(
        folder: Path,
        content: Sequence[tuple[str, Mapping[str, Sequence[float]]]],
        *,
        n_tokens: int = 10,
        provenance: Mapping[str, str] | None = None,
    ) -> Run:
        chains = [
            ReasoningChain(
                chain_id=f"c{number}", question_id=question, question=f"Q of {question}", reasoning="t" * n_tokens, answer="A"
            )
            for number, (question, _) in enumerate(content)
        ]
        labels = dict.fromkeys(label for _, curves in content for label in curves)
        strategies = {label: f"{label}()" for label in labels} | dict(provenance or {})
        configuration = Configuration(model=None, encoding="letters", scorers={}, strategies=strategies)
        spans = np.stack([np.arange(n_tokens), np.arange(n_tokens) + 1], axis=1)
        with begin_run(folder, configuration, chains) as writer:
            for chain, (_, curves) in zip(chains, content, strict=True):
                writer.add_encoded(EncodedChain(chain, np.array([1]), np.arange(n_tokens), np.array([2]), spans))
                for label, nll in curves.items():
                    k, curve = len(nll) - 1, np.array(nll, dtype=float)
                    path = PruningPath("P()", n_tokens, np.arange(k), np.full(k, 0.1), 0, curve, 2 * curve, 3 * curve)
                    writer.add_path(chain.chain_id, label, path)
        return open_run(folder)

    return make


@pytest.fixture(scope="session")
def make_stages() -> Callable[..., Run]:
    """Write a run of greedy paths with stages from ``(question_id, deleted, nll)`` per chain.

    ``nll`` is (stages, n), of every token at every stage; those that are deleted there are taken out. None = not scored. The
    scorer ``recency`` says that later tokens are more important.
    """

    def make(
        folder: Path,
        content: Sequence[tuple[str, Sequence[int], np.ndarray | None]],
        *,
        n_tokens: int,
        keep_ratios: tuple[float, ...] = (1.0, 0.5),
    ) -> Run:
        chains = [
            ReasoningChain(
                chain_id=f"c{number}", question_id=question, question=f"Q of {question}", reasoning="t" * n_tokens, answer="A"
            )
            for number, (question, _, _) in enumerate(content)
        ]
        scorer = f"CandidateNll(keep_ratios={keep_ratios}, strategy='greedy', token_budget=None)"
        configuration = Configuration(
            model=None,
            encoding="letters",
            scorers={"candidate_nll": scorer, "recency": "Recency()"},
            strategies={"greedy": "Greedy()"},
        )
        spans = np.stack([np.arange(n_tokens), np.arange(n_tokens) + 1], axis=1)
        with begin_run(folder, configuration, chains) as writer:
            for chain, (_, deleted, nll) in zip(chains, content, strict=True):
                k, curve = len(deleted), np.linspace(1, 2, len(deleted) + 1)
                path = PruningPath("Greedy()", n_tokens, np.array(deleted), np.full(k, 0.1), 0, curve, curve, curve)
                writer.add_encoded(EncodedChain(chain, np.array([1]), np.arange(n_tokens), np.array([2]), spans))
                writer.add_path(chain.chain_id, "greedy", path)
                writer.add_scores(chain.chain_id, "recency", TokenScores(np.arange(n_tokens, dtype=float)))
                if nll is not None:
                    stages = _stages(np.array(nll, dtype=float), np.array(deleted, dtype=int), keep_ratios)
                    writer.add_scores(chain.chain_id, "candidate_nll", TokenScores(nll[0], stages=stages), follows="greedy")
        return open_run(folder)

    return make


def _stages(nll: np.ndarray, deleted: np.ndarray, keep_ratios: tuple[float, ...]) -> PathStages:
    n = nll.shape[1]
    left = nll.copy()
    for row, ratio in zip(left, keep_ratios, strict=True):
        row[deleted[: n - max(1, int(n * ratio))]] = np.nan
    received = np.where(np.isnan(left), np.nan, 0.1).astype(np.float32)[:, None, None]
    return PathStages(np.array(keep_ratios), (~np.isnan(left)).mean(axis=1), left, received)


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


@pytest.fixture(scope="session")
def curve_of() -> Callable[..., Callable[[np.ndarray], np.ndarray]]:
    """Make statsmodels' Kaplan-Meier curve from times and whether they end in a deletion, a function of time."""

    def make(time: np.ndarray, is_deleted: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        survival = sm.SurvfuncRight(time, is_deleted.astype(int))

        def curve(at: np.ndarray) -> np.ndarray:
            last = np.searchsorted(survival.surv_times, at, side="right") - 1
            return np.where(last < 0, 1, survival.surv_prob[last])

        return curve

    return make


@pytest.fixture(scope="session")
def area() -> Callable[..., float]:
    """Sum the rectangles under a curve that steps at given times, from 0 up to a horizon: the restricted mean."""

    def sum_up(curve: Callable[[np.ndarray], np.ndarray], time: np.ndarray, horizon: float) -> float:
        edges = np.unique([0, *time[time < horizon], horizon])
        return float((np.diff(edges) * curve(edges[:-1])).sum())

    return sum_up
