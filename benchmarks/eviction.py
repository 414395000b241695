"""Writing while policies evict, against plain writing in the same process.

Plain writing is what ``generate`` of this package does without ``--evict``; every policy then writes as many tokens behind the
same prompts. The bytes of keys and values are counted. What a policy costs is the time that it takes between two tokens, for
probes, choices and moving what stays; policies that watch the attention of every token (h2o, r_kv) pay for that within the
step, which shows in tokens a second alone. The ratio to plain writing can be above 1, since a smaller cache is read faster.
On a CPU one thread works, and seconds are those that it worked: other programs do not lengthen them.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import tyro

from benchmarks._models import Dtype, four_layers
from reasoning_anatomy import plugins
from reasoning_anatomy.eviction import EvictionPolicy
from reasoning_anatomy.generation.batch import Batch, Sample
from reasoning_anatomy.generation.completion import Sampling
from reasoning_anatomy.generation.contexts import Context, ContextReader
from reasoning_anatomy.generation.decoding import Decoder, sampler
from reasoning_anatomy.generation.evicting import Evictor
from reasoning_anatomy.generation.rows import bytes_per_token
from reasoning_anatomy.generation.stopping import StopRules
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import LoadedModel, ModelSpec, load_model

_POLICIES = (
    "none",
    "think_clearly:counts=steps,budget=1",
    "think_clearly:budget=0.5",
    "think_clearly:budget=0.5,positions=rerotate",
    "think_clearly:budget=0.5,positions=reprefill",
    "random:budget=0.5",
    "streaming:budget=0.5",
    "h2o:budget=0.5,every=16",
    "r_kv:budget=0.5",
)


@dataclass(frozen=True)
class Options:
    """Writing while policies evict, against plain writing."""

    tokens: tuple[int, ...] = (2048, 8192)
    """That are written."""
    policies: tuple[str, ...] = _POLICIES
    """What evicts; ``think_clearly:counts=steps,budget=1`` probes every 200 tokens and evicts nothing."""
    rows: int = 1
    """Samples that are written at the same time."""
    prompt: int = 64
    """Tokens of the prompt."""
    model: str = ""
    """Hub id or folder; if left out, a small model with random weights."""
    dtype: Dtype = "float32"
    """Of the model."""
    device: str = "auto"
    """Of the model."""


class _TimedEvictor(Evictor):
    """An evictor that knows how long it took between tokens."""

    seconds = 0.0

    def evict(self, batch: Batch[Any]) -> None:
        started = _seconds(self._loaded.device)
        super().evict(batch)
        self.seconds += _seconds(self._loaded.device) - started


def main() -> None:
    """Write, time and print."""
    options = tyro.cli(Options, prog="python -m benchmarks.eviction", description=__doc__)
    if options.model:
        loaded = load_model(ModelSpec(id=options.model, dtype=options.dtype, device=options.device))
    else:
        loaded = four_layers(dtype=options.dtype, device=options.device)
    if loaded.device.type == "cpu":
        torch.set_num_threads(1)
    print(f"{loaded.id}, {options.dtype}, {loaded.device}, {options.rows} rows, prompt of {options.prompt} tokens")
    print(
        f"{'policy':<46} {'written':>8} {'tokens/s':>9} {'of plain':>9} {'cache, MiB':>11} {'of plain':>9} {'policy':>7} "
        f"{'evictions':>9}"
    )
    for n_tokens in options.tokens:
        _write(loaded, options, 64, None)  # warms up
        plain_seconds, plain_bytes, *_ = _write(loaded, options, n_tokens, None)
        _say("plain", n_tokens, options, plain_seconds, plain_bytes, plain_seconds, plain_bytes, 0.0, 0)
        for policy in options.policies:
            rule = plugins.load("policy", policy)
            seconds, n_bytes, of_policy, n_events = _write(loaded, options, n_tokens, rule)
            _say(policy, n_tokens, options, seconds, n_bytes, plain_seconds, plain_bytes, of_policy / seconds, n_events)


def _say(
    policy: str, n_tokens: int, options: Options, seconds: float, n_bytes: int, plain_seconds: float, plain_bytes: int,
    share: float, n_events: int,
) -> None:  # fmt: skip
    print(
        f"{policy:<46} {n_tokens:>8,} {n_tokens * options.rows / seconds:>9.1f} {plain_seconds / seconds:>9.2f} "
        f"{n_bytes / 2**20:>11.1f} {n_bytes / plain_bytes:>9.2f} {share:>7.1%} {n_events:>9,}"
    )


def _write(
    loaded: LoadedModel, options: Options, n_tokens: int, policy: EvictionPolicy | None
) -> tuple[float, int, float, int]:
    """Write, and return seconds, peak bytes of a row, seconds between tokens, and evictions of a row."""
    evictor = None
    if policy is not None:
        n_positions = options.prompt + n_tokens
        evictor = _TimedEvictor(loaded, policy, ChainEncoder(loaded.tokenizer), n_positions=n_positions)
    rules = StopRules(ends_of_turn=frozenset(), loop_tokens=0)
    decoder = Decoder[int](
        loaded, choose=sampler(Sampling(top_p=0.5)), rules=rules, n_rows=options.rows, evictor=evictor
    )  # fmt: skip
    prompt = np.random.default_rng(0).integers(100, int(loaded.text_config.vocab_size) - 100, options.prompt)
    opened = ContextReader(loaded, keeps_all=policy is not None).open(Context(prompt))
    samples = [Sample(row, row, n_tokens) for row in range(options.rows)]
    started = _seconds(loaded.device)
    for _ in decoder.write([(opened, samples)]):
        pass
    seconds = _seconds(loaded.device) - started
    if evictor is None:
        return seconds, (options.prompt + n_tokens - 1) * bytes_per_token(loaded), 0.0, 0
    transcripts = [evictor.transcript(sample) for sample in samples]
    return seconds, max(each.peak_bytes for each in transcripts), evictor.seconds, len(transcripts[0].events)


def _seconds(device: torch.device) -> float:
    """Read the time that the processor has worked, or, elsewhere, the clock once the device has done what it was given."""
    if device.type == "cpu":
        return time.process_time()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


if __name__ == "__main__":
    main()
