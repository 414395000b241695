"""A sweep against one call of ``generate`` per answer, in the same process.

A script that prunes at thresholds and answers again calls ``model.generate`` for every answer: each reads its context from the
first token, alone. Here the contexts of a chain are read as a tree, what they begin with once, whatever threshold, strategy or
sample they belong to, and answers are written together. The answers are those of the sweep: ``generate`` is made to write as
many tokens as each of ours has, so that both do the same work.

Tokens that are read are counted, not estimated; with the same chains the counts are the same on every machine. Some of the
calls of ``generate`` are timed, spread over all of them; their time is scaled up by the tokens that they read and write.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from transformers import GenerationConfig

from benchmarks._models import Dtype, example_chains
from reasoning_anatomy.evaluation.answering import Answering
from reasoning_anatomy.evaluation.questions import Asker
from reasoning_anatomy.evaluation.sweeping import SweepPlan, sweep
from reasoning_anatomy.evaluation.work import SweepWork
from reasoning_anatomy.generation.completion import Sampling
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import LoadedModel, ModelSpec, load_model
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.sweep import SweepFolder
from reasoning_anatomy.types import IntArray, ReasoningChain


@dataclass(frozen=True)
class Options:
    """A sweep against one call of generate per answer: tokens read, and seconds."""

    problems: int = 20
    """Number of shipped chains, each on another question."""
    strategies: tuple[str, ...] = ("step_percentile:steps=sentences",)
    """Whose thresholds are swept."""
    baselines: tuple[str, ...] = ("random_steps",)
    """Of the same lengths."""
    thresholds: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    """What strategies are told."""
    samples: int = 4
    """Answers for each chain and condition."""
    max_tokens: int = 48
    """Of an answer."""
    timings: int = 24
    """Calls of generate to time; 0 counts only."""
    dtype: Dtype = "float32"
    """Of the model."""
    device: str = "auto"
    """Of the model."""


@dataclass(frozen=True, eq=False)
class Call:
    """One call of generate: what it reads, and how much it writes."""

    ids: IntArray
    n_written: int


def different_questions(n: int) -> list[ReasoningChain]:
    """Take the shipped chains on n different questions, without their gold answers, which a script does not score."""
    by_question = {chain.question_id: chain for chain in reversed(example_chains())}
    if len(by_question) < n:
        raise SystemExit(f"--problems {n}: the shipped chains are on {len(by_question)} questions")
    return [chain.model_copy(update={"gold_answer": None}) for chain in list(by_question.values())[:n]]


def calls_of(run: Run, loaded: LoadedModel, answering: Answering) -> list[Call]:
    """List the calls that a script would make: one for each row of the table."""
    configuration = run.manifest.configuration
    folder, encoder = SweepFolder(run, configuration), ChainEncoder(loaded.tokenizer)
    calls = []
    for chain_id in run.measured:
        asker = Asker(run.encoded(chain_id), encoder, answering.resolved(encoder.options))
        for condition in configuration.conditions.values():
            kept = folder.kept(chain_id, condition)
            if kept is not None:
                ids = asker.to_answer(kept, condition.reading).ids
                answers = folder.answers(chain_id, condition.reading, kept)
                calls += [Call(ids, answer.n_tokens) for answer in answers]
    return calls


@torch.inference_mode()
def seconds_of(call: Call, loaded: LoadedModel) -> float:
    """Time one call of generate, sampled, that writes as many tokens as our answer has."""
    model: Any = loaded.model
    make: Any = GenerationConfig
    n_written = {"min_new_tokens": call.n_written, "max_new_tokens": call.n_written}
    config = make(do_sample=True, temperature=0.6, top_p=0.95, **n_written)
    config.pad_token_id = config.eos_token_id = loaded.tokenizer.eos_token_id
    batch = torch.from_numpy(call.ids)[None].to(loaded.device)
    begin = time.perf_counter()
    model.generate(batch, attention_mask=torch.ones_like(batch), generation_config=config)
    return time.perf_counter() - begin


def seconds_of_all(calls: Sequence[Call], loaded: LoadedModel, n_timed: int) -> float:
    """Time some of the calls, and scale up by least squares on the tokens that each reads and writes."""
    chosen = np.unique(np.linspace(0, len(calls) - 1, n_timed).astype(int))
    seconds_of(calls[int(chosen[0])], loaded)  # warm
    timed = np.array([seconds_of(calls[int(index)], loaded) for index in chosen])
    work = np.array([[len(call.ids), call.n_written] for call in calls], dtype=np.float64)
    per_token, *_ = np.linalg.lstsq(work[chosen], timed, rcond=None)
    return float((work @ per_token).sum())


def main() -> None:
    """Run the benchmark."""
    options = tyro.cli(Options, prog="python -m benchmarks.sweep_speed", description=__doc__)
    loaded = load_model(ModelSpec(dtype=options.dtype, device=options.device))
    answering = Answering(sampling=Sampling(max_tokens=options.max_tokens))
    plan = SweepPlan(
        strategies=options.strategies,
        baselines=options.baselines,
        thresholds=options.thresholds,
        samples=options.samples,
    )
    read, written = [], []
    finished = SweepWork.answer

    def counting(work: SweepWork, chains: Any) -> None:
        finished(work, chains)
        read.append(work.reader.token_forwards)
        written.append(work.decoder.row_forwards)

    SweepWork.answer = counting  # type: ignore[method-assign, assignment]
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        run = sweep(Path(folder) / "run", plan, chains=different_questions(options.problems), model=loaded, answering=answering)
        seconds = time.perf_counter() - begin
        calls = calls_of(run, loaded, answering)
        n_read, n_written = sum(len(call.ids) for call in calls), sum(call.n_written for call in calls)
        contexts = {call.ids.tobytes() for call in calls}
        print(
            f"{options.problems} problems, {len(options.thresholds)} thresholds, {1 + len(options.baselines)} strategies, "
            f"{options.samples} samples: {len(calls):,} answers from {len(contexts):,} different contexts"
        )
        print(f"  tokens read     generate {n_read:>10,}   ours {sum(read):>10,}   {sum(read) / n_read:.3f}")
        print(f"  tokens written  generate {n_written:>10,}   ours {sum(written):>10,}   {sum(written) / n_written:.3f}")
        if options.timings:
            alone = seconds_of_all(calls, loaded, options.timings)
            threads = f"{torch.get_num_threads()} threads" if loaded.device.type == "cpu" else str(loaded.device)
            print(
                f"  seconds         generate {alone:>10,.1f}   ours {seconds:>10,.1f}   {alone / seconds:.2f} times as fast; "
                f"ours with choosing what is kept ({threads})"
            )


if __name__ == "__main__":
    main()
