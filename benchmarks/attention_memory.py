"""Peak memory and time of recording attention, compared with a plain forward pass and eager attention with whole matrices.

Every run is a process of its own, on a model as wide as SmolLM2-135M with 12 layers and random weights in float32, and the
ways take turns, so that a machine that is slow for a while is slow for all of them. Memory is the largest of the runs: the peak
of the process on a CPU (VmHWM: weights, Python and torch included, nothing subtracted), and of what torch allocates on an
accelerator. Time is the shortest of the runs, in processor seconds on a CPU and in wall seconds on an accelerator.

Plain: one scaled-dot-product forward pass. Answer: `answer_attention`. Accumulated: `accumulated_attention`, all rows. All:
every scorer that observes the chain, in one pass. Eager: `output_attentions=True`. The key of a scorer: only that scorer.
"""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd
import torch
import tyro

from benchmarks._memory import peak_mib
from benchmarks._models import chain_of, tiny_model, twelve_layers
from reasoning_anatomy import plugins
from reasoning_anatomy.importance._attention_scorer import AttentionScorer, observe_together
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.types import EncodedChain

_WAYS: Final = ("plain", "answer", "accumulated", "all", "eager")
_N_PROMPT, _N_ANSWER = 100, 20


@dataclass(frozen=True)
class Options:
    """Memory and time of recorded attention, by length of the chain."""

    tokens: tuple[int, ...] = (1024, 4096, 16384)
    """Lengths of chains."""
    ways: tuple[str, ...] = _WAYS
    """What to run: these, or keys of scorers; ratios are to the first."""
    runs: int = 2
    """Turns of each way."""
    tiny: bool = False
    """Use a tiny model: shows that the command works, not what recording costs."""
    device: str = "auto"
    """Of the model."""
    alone: bool = False
    """Measure the first way at the first length in this process and print it as JSON."""


def measure(options: Options) -> dict[str, float]:
    """Megabytes and seconds of one run of one way at one length, in this process."""
    loaded = tiny_model() if options.tiny else twelve_layers(dtype="float32", device=options.device)
    run = way_to(options.ways[0], loaded)
    n_tokens = options.tokens[0]
    chain = chain_of(loaded, p=_N_PROMPT, n=n_tokens - _N_PROMPT - _N_ANSWER, m=_N_ANSWER)
    run(chain_of(loaded, p=2, n=8, m=2))
    seconds = _seconds(lambda: run(chain), loaded)
    return {"megabytes": _peak_bytes(loaded) / 1e6, "seconds": seconds}


def way_to(way: str, loaded: LoadedModel) -> Callable[[EncodedChain], object]:
    """Return what is run on a chain."""
    if way in ("plain", "eager"):
        if way == "eager":
            loaded.model.set_attn_implementation("eager")

        @torch.inference_mode()
        def forward(chain: EncodedChain) -> object:
            ids = torch.from_numpy(chain.ids)[None].to(loaded.device)
            return loaded.model(input_ids=ids, use_cache=False, logits_to_keep=1, output_attentions=way == "eager")

        return forward
    if way not in _WAYS:
        scorer = plugins.load("scorer", way)
        return lambda chain: scorer.score(chain, loaded=loaded)
    keys = {"answer": ["answer_attention"], "accumulated": ["accumulated_attention"]}.get(
        way, list(plugins.available("scorer"))
    )
    scorers = {key: plugins.load("scorer", key) for key in keys}
    observing = {key: scorer for key, scorer in scorers.items() if isinstance(scorer, AttentionScorer)}
    return lambda chain: observe_together(observing, chain, loaded=loaded)


def does_fit(way: str, n_tokens: int, options: Options) -> bool:
    """Tell whether the matrices of all layers, if they are held at all, take less than half of the available memory."""
    return way != "eager" or options.tiny or 12 * 9 * n_tokens**2 * 4 < _available_bytes(options.device) / 2


def _available_bytes(device: str) -> int:
    if device != "cpu" and torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0]
    available = re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())
    return int(available[1]) * 1024 if available else 0


def _seconds(run: Callable[[], object], loaded: LoadedModel) -> float:
    on_cpu = loaded.device.type == "cpu"
    clock = time.process_time if on_cpu else time.perf_counter
    begin = clock()
    run()
    if not on_cpu:
        torch.cuda.synchronize(loaded.device)
    return clock() - begin


def _peak_bytes(loaded: LoadedModel) -> int:
    if loaded.device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(loaded.device))
    return int(peak_mib() * 2**20)


def in_own_process(options: Options, way: str, n_tokens: int) -> dict[str, float] | None:
    """Measure one way at one length in a new process, once; None, and a line that says why, if it fails."""
    flags = ["--tiny" if options.tiny else "--no-tiny", "--alone"]
    command = [
        sys.executable, "-m", "benchmarks.attention_memory", "--tokens", str(n_tokens), "--ways", way, "--device",
        options.device, *flags,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last_words = [f"exit status {done.returncode}", *done.stderr.strip().splitlines()][-1]
        print(f"{way} at {n_tokens} tokens is left out: {last_words}", file=sys.stderr, flush=True)
        return None
    costs: dict[str, float] = json.loads(done.stdout)
    return costs


def compare(options: Options) -> pd.DataFrame:
    """Print and return one row per length and way that fits and does not fail, with ratios to the first of them."""
    if options.runs < 1:
        raise SystemExit(f"--runs {options.runs}: give 1 or more")
    if min(options.tokens) <= (n_around := _N_PROMPT + _N_ANSWER):
        raise SystemExit(f"--tokens {min(options.tokens)}: prompt and answer alone have {n_around} tokens; ask for more")
    for way in set(options.ways) - set(_WAYS):
        plugins.load("scorer", way)
    tables = []
    for n_tokens in options.tokens:
        ways = [way for way in options.ways if does_fit(way, n_tokens, options)]
        turns = [(way, in_own_process(options, way, n_tokens)) for _ in range(options.runs) for way in ways]
        if not (rows := [{"way": way, **costs} for way, costs in turns if costs]):
            continue
        costs = pd.DataFrame(rows).groupby("way", sort=False).agg({"megabytes": "max", "seconds": "min"})
        ratios = (costs / costs.iloc[0]).add_suffix("_ratio")
        table = pd.concat([costs, ratios], axis=1).reset_index()
        table.insert(0, "tokens", n_tokens)
        print(table.to_string(index=False, float_format="{:.2f}".format), flush=True)
        tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def main() -> None:
    """Run the benchmark."""
    options = tyro.cli(Options, prog="python -m benchmarks.attention_memory", description=__doc__)
    if options.alone:
        print(json.dumps(measure(options)))
    else:
        compare(options)


if __name__ == "__main__":
    main()
