"""Exact greedy pruning against the published algorithm, batched, in the same process.

The published algorithm scores every candidate of every step by a forward pass from the first token. Here it runs all
candidates of a step in batches without padding, computes only the logits of the answer, and uses the best of several batch
sizes. It would take hours, so some of its batches are timed, spread over our run so that both meet the same conditions. Its
time is the sum, over all steps, of their tokens divided by the throughput at that length.

Tokens run through the model are counted, not estimated; the counts of the first table are the same on every machine.
"""

import time
from dataclasses import dataclass

import numpy as np
import torch
import tyro

from benchmarks._models import Dtype, Shape, chain_of, model_of, tiny_model
from reasoning_anatomy.likelihood.full import FullLikelihood
from reasoning_anatomy.likelihood.opening import open_likelihood
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.pruning import PruningJob
from reasoning_anatomy.pruning.greedy import Greedy
from reasoning_anatomy.types import EncodedChain, FloatArray, IntArray

_BUDGETS = (256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)


@dataclass(frozen=True)
class Options:
    """Exact greedy pruning against the published algorithm: tokens and seconds."""

    shape: Shape = "smollm2-135m"
    """Model to time; other models than SmolLM2 are of that shape, with random weights."""
    cases: tuple[str, ...] = ("75x70", "150x150")
    """Lengths to time: reasoning x prompt tokens."""
    dtype: Dtype = "float32"
    """Of the timed model."""
    device: str = "auto"
    """Of the timed model."""
    timings: int = 8
    """Number of batches of the published algorithm to time in each case."""
    counts: bool = True
    """First count tokens at p = 150, n = 200, m = 20."""


def reference_tokens(p: int, n: int, m: int) -> IntArray:
    """(n,) tokens of the published algorithm at each step, with k = n down to 1 tokens left."""
    k = np.arange(n, 0, -1)
    return k * (p + k - 1 + m)


class Reference:
    """Times samples of the published algorithm."""

    def __init__(self, loaded: LoadedModel, chain: EncodedChain) -> None:
        self._loaded, self._chain = loaded, chain
        self.budget = max(_affordable(loaded), key=lambda budget: self._throughput(chain.n_reasoning, budget))
        self._left: list[int] = []
        self._rates: list[float] = []

    def time(self, n_left: int) -> None:
        """Time one batch of the step at which ``n_left`` tokens are left."""
        self._left.append(n_left)
        self._rates.append(self._throughput(n_left, self.budget))

    def seconds(self) -> FloatArray:
        """(n,) seconds of each step, by the throughput at the nearest lengths that were timed."""
        tokens = reference_tokens(len(self._chain.prompt_ids), self._chain.n_reasoning, len(self._chain.answer_ids))
        left = np.arange(self._chain.n_reasoning, 0, -1)
        order = np.argsort(self._left)
        seconds: FloatArray = tokens / np.interp(left, np.array(self._left)[order], np.array(self._rates)[order])
        return seconds

    def _throughput(self, n_left: int, budget: int) -> float:
        """Tokens per second of one batch of candidates, after a batch that is not timed."""
        likelihood = FullLikelihood(self._loaded, self._chain.keep(np.arange(n_left)), token_budget=budget)
        length = len(self._chain.prompt_ids) + n_left - 1 + likelihood.n_answer
        candidates = np.arange(max(1, min(n_left, budget // length)))
        for _ in range(2):
            begin = time.perf_counter()
            likelihood.score_deletions(reasoning=False, candidates=candidates)
            seconds = time.perf_counter() - begin
        return len(candidates) * length / seconds


def _affordable(loaded: LoadedModel) -> list[int]:
    return [budget for budget in _BUDGETS if budget <= (4096 if loaded.device.type == "cpu" else 65536)]


def time_case(loaded: LoadedModel, *, n: int, p: int, timings: int) -> None:
    """Prune one chain, time samples of the published algorithm meanwhile, and print both."""
    chain = chain_of(loaded, p=p, n=n)
    m = len(chain.answer_ids)
    reference = Reference(loaded, chain)
    samples = set(np.linspace(0, n - 2, timings).astype(int).tolist())
    n_done, elsewhere = 0, 0.0

    def advance() -> None:
        nonlocal n_done, elsewhere
        begin = time.perf_counter()
        if n_done in samples:
            reference.time(n - n_done)
        n_done += 1
        elsewhere += time.perf_counter() - begin

    begin = time.perf_counter()
    path = Greedy().prune(chain, loaded=loaded, job=PruningJob(advance=advance))
    seconds = time.perf_counter() - begin - elsewhere
    published = float(reference.seconds().sum())
    tokens = int(reference_tokens(p, n, m).sum())
    print(f"n={n} p={p} m={m}, {loaded.model.dtype} on {_device(loaded)}")
    print(f"  token-forwards  published {tokens:>10,}   ours {path.token_forwards:>10,}   {path.token_forwards / tokens:.3f}")
    print(f"  seconds         published {published:>10,.1f}   ours {seconds:>10,.1f}   {published / seconds:.2f} times as fast")
    print(f"  tokens/s        published {tokens / published:>10,.0f}   ours {path.token_forwards / seconds:>10,.0f}")
    print(f"  tokens of a pass: published {reference.budget}, ours {path.token_budget}; ties {path.n_ties}", flush=True)


def print_counts(*, p: int, n: int, m: int) -> None:
    """Count the tokens that the engine runs, with and without what candidates store between steps."""
    loaded = tiny_model()
    chain = chain_of(loaded, p=p, n=n, m=m)
    tokens = int(reference_tokens(p, n, m).sum())
    orders = {
        "from the end": np.arange(n)[::-1],
        "at random": np.random.default_rng(0).permutation(n),
        "from the start": np.arange(n),
    }
    print(f"n={n} p={p} m={m}, token-forwards; published {tokens:,}")
    print(f"  prefix sharing alone, in any order        {_count(loaded, chain, orders['at random'], 0, n) / tokens:.3f}")
    for name, order in orders.items():
        count, continuous = (_count(loaded, chain, order, None, every) for every in (Greedy().checkpoint_every, n))
        print(
            f"  candidates stored, deletions {name:<14} {count / tokens:.3f}, "
            f"of it for checkpoints {1 - continuous / count:.1%}",
            flush=True,
        )


def _count(loaded: LoadedModel, chain: EncodedChain, order: IntArray, store_gib: float | None, every: int) -> int:
    """Tokens to score every candidate of every step of a given order, starting afresh after ``every`` deletions."""
    count, kept = 0, np.arange(chain.n_reasoning)
    for first in range(0, len(order), every):
        likelihood = open_likelihood(loaded, chain.keep(kept), store_gib=store_gib)
        for position in order[first : first + every]:
            likelihood.score_deletions(reasoning=False)
            likelihood.delete(int(np.searchsorted(kept, position)))
        count += likelihood.token_forwards
        kept = np.setdiff1d(kept, order[first : first + every])
    return count


def _device(loaded: LoadedModel) -> str:
    if loaded.device.type == "cuda":
        return torch.cuda.get_device_name(loaded.device)
    return f"{torch.get_num_threads()} CPU threads"


def main() -> None:
    """Run the benchmark."""
    options = tyro.cli(Options, prog="python -m benchmarks.greedy_speed", description=__doc__)
    if options.counts:
        print_counts(p=150, n=200, m=20)
    loaded = model_of(options.shape, dtype=options.dtype, device=options.device)
    for case in options.cases:
        n, p = map(int, case.split("x"))
        time_case(loaded, n=n, p=p, timings=options.timings)


if __name__ == "__main__":
    main()
