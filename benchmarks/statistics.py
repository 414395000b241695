"""What the analyses cost, in seconds and in peak memory: ``python -m benchmarks.statistics``.

Two runs are made up and written as every run is, so that reading them is measured too. One has few chains and many heads, as a
model of 28 layers with 28 heads gives them; the other has many chains, no heads, and the answers of a sweep. Every analysis
is run on them, each in a process of its own; one that needs what a run does not hold is named with the reason.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Final, TypeVar
from unittest import mock

import numpy as np
import pandas as pd
import tyro

from benchmarks._memory import peak_mib
from reasoning_anatomy import files
from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.errors import AnalysisError, MissingError
from reasoning_anatomy.plugins import available, load
from reasoning_anatomy.run import Run, open_run
from reasoning_anatomy.run.layout import EVALUATIONS_NAME
from reasoning_anatomy.run.manifest import Configuration, ModelIdentity
from reasoning_anatomy.run.writer import begin_run
from reasoning_anatomy.types import (
    Annotation,
    AttentionProfile,
    EncodedChain,
    PathStages,
    PruningPath,
    ReasoningChain,
    TokenScores,
)

Returned = TypeVar("Returned")

OF_HEADS: Final = ("rank_correlation", "best_head", "predict_likelihood")
"""Analyses of heads, which the run with heads is for."""

_WITH_STAGES: Final = "candidate_nll"
_WITH_HEADS: Final = ("answer_attention", _WITH_STAGES)
_WITHOUT_HEADS: Final = ("answer_attention", "surprisal", "attention_sparsity", _WITH_STAGES)
_WITH_A_PROFILE: Final = "attention_sparsity"
"""Whose analysis reads a profile; of one head, in the run without heads."""
_KEEP_RATIOS: Final = (1.0, 0.9, 0.7, 0.5)
_LAYERS_WITHOUT_HEADS: Final = 28
"""Of the stages of the run without heads: one head each, as if they were averages."""
_REPRS: Final = {_WITH_STAGES: f"CandidateNll(strategy='greedy', keep_ratios={_KEEP_RATIOS})"}
"""Provenance of scorers whose options an analysis reads."""
_ANNOTATORS: Final = ("first", "second")
_STRATEGIES: Final = ("greedy", "random")
_SWEPT: Final = (("greedy", None), ("random", "greedy"))
"""Strategies of the sweep, and of which each is the baseline."""
_THRESHOLDS: Final = (0.0, 0.2, 0.4, 0.6, 0.8)
_SAMPLES: Final = 2
_WORDS: Final = ("First", "we", "add", "3", "and", "4", ",", "so", "she", "has", "7", "apples", ".")


@dataclass(frozen=True)
class Options:
    """What the analyses cost."""

    analyses: tuple[str, ...] = ()
    """That are run on the large run; all that there are if left out."""
    chains: int = 7500
    """Of the large run."""
    chains_with_heads: int = 200
    """Of the run with heads; 0 leaves it out."""
    per_question: int = 4
    """Chains on one question."""
    tokens: int = 200
    """Of a chain."""
    scorers: int = 4
    """Of the large run; those beyond four are further random numbers."""
    layers: int = 28
    """Of the run with heads."""
    heads: int = 28
    """Of each layer."""
    draws: int = 10_000
    """Resamples of the analyses of heads; the others have those that they have by default."""


@dataclass(frozen=True)
class Cost:
    """Of one analysis: seconds of the clock and of the processors, peak memory of its process, or why it could not be run."""

    analysis: str
    seconds: float = 0.0
    processor_seconds: float = 0.0
    peak_mib: float = 0.0
    skipped: str = ""


def main(options: Options) -> None:
    """Write the runs, run the analyses, and print what they cost."""
    with tempfile.TemporaryDirectory() as folder:
        if options.chains_with_heads:
            shape = (options.layers, options.heads)
            n_heads = options.layers * options.heads
            _say(f"{options.chains_with_heads} chains x {options.tokens} tokens x {n_heads} heads, {options.draws} draws")
            run = Path(folder) / "heads"
            in_a_process(plant, run, options.chains_with_heads, options.per_question, options.tokens, shape)
            _print([in_a_process(cost_of, f"{name}:draws={options.draws}", run) for name in OF_HEADS])
        n_scorers = max(options.scorers, len(_WITHOUT_HEADS))
        _say(f"{options.chains} chains x {options.tokens} tokens x {n_scorers} scorers, without heads, draws as by default")
        run = Path(folder) / "large"
        in_a_process(plant, run, options.chains, options.per_question, options.tokens, None, options.scorers)
        of_runs = [name for name, info in available("analysis").items() if info.opens == "run"]
        _print([in_a_process(cost_of, name, run) for name in options.analyses or of_runs])


def in_a_process(call: Callable[..., Returned], *given: object) -> Returned:
    """Call a function in a process that is begun for it, so that its peak memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(call, *given).result()


def cost_of(spec: str, folder: Path) -> Cost:
    """Run an analysis on a run; of `MissingError` and `AnalysisError` the message is kept."""
    name = spec.partition(":")[0]
    analysis, run = load("analysis", spec), open_run(folder)
    start, start_of_processors = time.perf_counter(), time.process_time()
    try:
        analysis.analyse(run)
    except (MissingError, AnalysisError) as error:
        return Cost(name, skipped=str(error).replace(str(folder), "RUN"))
    return Cost(name, time.perf_counter() - start, time.process_time() - start_of_processors, peak_mib())


def plant(
    folder: Path,
    n_chains: int,
    per_question: int,
    n_tokens: int,
    heads: tuple[int, int] | None,
    n_scorers: int = 0,
    seed: int = 0,
) -> None:
    """Write a run of made-up numbers.

    Parameters
    ----------
    folder
        Of the run.
    n_chains, per_question, n_tokens
        Chains, chains on a question, tokens of a chain.
    heads
        Layers, and heads of each, of the attention of the answer; None = it has none, and there are further scorers, two
        annotators and a sweep.
    n_scorers
        Of a run without heads, if they are to be more than it needs for the analyses.
    seed
        Of the numbers.
    """
    rng = np.random.default_rng(seed)
    further = [f"random:seed={number}" for number in range(n_scorers - len(_WITHOUT_HEADS))]
    scorers = _WITH_HEADS if heads else (*_WITHOUT_HEADS, *further)
    words = [_WORDS[position % len(_WORDS)] for position in range(n_tokens)]
    reasoning = " ".join(words)
    ends = np.cumsum([len(word) + 1 for word in words]) - 1
    spans = np.stack([ends - [len(word) for word in words], ends], axis=1)
    chains = [
        ReasoningChain(
            chain_id=f"c{number}",
            question_id=f"q{number // per_question}",
            question=f"How many in {number // per_question}?",
            reasoning=reasoning,
            answer="7",
            gold_answer="7",
            is_correct=bool(number % 2),
        )
        for number in range(n_chains)
    ]
    is_on_disk = mock.patch.object(files, "_sync")  # what is made up need not outlive a power cut
    with is_on_disk, begin_run(folder, _configuration(scorers, heads), chains) as writer:
        for chain in chains:
            ids = rng.integers(0, 1000, n_tokens)
            writer.add_encoded(EncodedChain(chain, np.arange(20), ids, np.arange(5), spans))
            for scorer in scorers:
                writer.add_scores(chain.chain_id, scorer, _scores(scorer, n_tokens, heads, rng))
            for strategy in _STRATEGIES:
                writer.add_path(chain.chain_id, strategy, _path(n_tokens, rng))
    if heads:
        return
    _answers(chains, n_tokens, rng).to_parquet(folder / EVALUATIONS_NAME)
    for annotator in _ANNOTATORS:
        labels = {chain.chain_id: tuple(rng.choice(CATEGORIES, n_tokens).tolist()) for chain in chains}
        run = Run(folder)
        run.write_annotations(annotator, {chain_id: Annotation(f"{annotator}()", each) for chain_id, each in labels.items()})


def _configuration(scorers: Sequence[str], heads: tuple[int, int] | None) -> Configuration:
    n_layers, n_heads = heads or (1, 1)
    model = ModelIdentity(
        id="planted", revision=None, architecture="planted", n_layers=n_layers, n_heads=n_heads, weights="planted",
        template="planted", dtype="float32", device="cpu", quantization=None,
    )  # fmt: skip
    return Configuration(
        model=model,
        encoding="words",
        scorers={label: _REPRS.get(label, f"{label}()") for label in scorers},
        strategies={label: f"{label}()" for label in _STRATEGIES},
    )


def _scores(scorer: str, n_tokens: int, heads: tuple[int, int] | None, rng: np.random.Generator) -> TokenScores:
    if scorer == _WITH_STAGES:
        stages = _stages(n_tokens, heads or (_LAYERS_WITHOUT_HEADS, 1), rng)
        return TokenScores(stages.nll[0], stages=stages)
    if heads is None and scorer != _WITH_A_PROFILE:
        return TokenScores(rng.random(n_tokens))
    received = rng.random((*(heads or (1, 1)), n_tokens), dtype=np.float32)
    profile = AttentionProfile(scorer, received, "answer tokens", "none")
    return TokenScores(received.mean(axis=(0, 1), dtype=np.float64), profile)


def _stages(n_tokens: int, heads: tuple[int, int], rng: np.random.Generator) -> PathStages:
    """Delete tokens in an order that has nothing to do with anything, and let the nll follow one head a little."""
    order, kept = rng.permutation(n_tokens), [int(n_tokens * ratio) for ratio in _KEEP_RATIOS]
    left = np.stack([np.isin(np.arange(n_tokens), order[:n_kept]) for n_kept in kept])
    received = rng.random((len(kept), *heads, n_tokens), dtype=np.float32)
    nll = rng.normal() + received[:, 0, 0] + rng.random((len(kept), n_tokens))
    return PathStages(
        keep_ratios=np.array(_KEEP_RATIOS),
        achieved=left.mean(axis=1),
        nll=np.where(left, nll, np.nan),
        received=np.where(left[:, None, None], received, np.float32(np.nan)),
    )


def _path(n_tokens: int, rng: np.random.Generator) -> PruningPath:
    """Delete nine tenths of the tokens, in an order that has nothing to do with anything."""
    deleted = rng.permutation(n_tokens)[: n_tokens * 9 // 10]
    curve = np.sort(rng.random(len(deleted) + 1))
    return PruningPath("Planted()", n_tokens, deleted, rng.random(len(deleted)), 0, curve, curve, curve)


def _answers(chains: Sequence[ReasoningChain], n_tokens: int, rng: np.random.Generator) -> pd.DataFrame:
    """Answer at every threshold, with restatements kept and stripped; the more is deleted, the less is right."""
    asked = pd.DataFrame(
        {"chain_id": [chain.chain_id for chain in chains], "question_id": [chain.question_id for chain in chains]}
    )
    for column, values in {
        "strategy": [strategy for strategy, _ in _SWEPT],
        "restatements": ["kept", "stripped"],
        "threshold": list(_THRESHOLDS),
        "sample": list(range(_SAMPLES)),
    }.items():
        asked = asked.merge(pd.DataFrame({column: values}), how="cross")
    is_correct = rng.random(len(asked)) < 0.8 - 0.4 * asked["threshold"]
    kept = 1 - asked["threshold"]
    return asked.assign(
        reference=asked["strategy"].map(dict(_SWEPT)),
        reading="closed_up",
        requested_ratio=kept,
        achieved_ratio=kept,
        tokens_before=n_tokens,
        tokens_after=(n_tokens * kept).round(),
        steps_before=n_tokens // 10,
        steps_after=(n_tokens // 10 * kept).round(),
        tokens_generated=rng.integers(5, 50, len(asked)),
        finish_reason="eos",
        verdict=np.where(is_correct, "correct", "wrong"),
        same_as_chain=np.where(is_correct, "correct", "wrong"),
        states_answer=is_correct,
        nll_gold=rng.random(len(asked)),
        response=np.where(is_correct, "7", "8"),
        extracted=np.where(is_correct, "7", "8"),
        rule="number",
        seed=0,
        peak_cache_tokens=np.nan,
    )


def _print(costs: Sequence[Cost]) -> None:
    for cost in costs:
        times = f"{cost.seconds:>7.1f} s, {cost.processor_seconds:.1f} s of processors, {cost.peak_mib:,.0f} MiB"
        _say(f"  {cost.analysis:<24}" + (f" skipped: {cost.skipped}" if cost.skipped else times))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(tyro.cli(Options))
