"""What leaves the cache while a model thinks, and what does that save and cost?

    python examples/what_eviction_costs.py RUN cache.png

RUN holds chains that were sampled under a policy: `reasoning-anatomy generate PROBLEMS --evict think_clearly`.
"""

# %% Open the run.
import sys
from pathlib import Path

import pandas as pd

from reasoning_anatomy import open_run
from reports import figure

run_folder, picture = map(Path, sys.argv[1:])
run = open_run(run_folder)

transcripts = run.transcripts()
if not transcripts:
    sys.exit(f"{run_folder} holds no chain that was sampled under a policy; how_much_can_be_pruned.py shows a sweep under one")

# %% The size of the cache while every text is written: a fall is an eviction.
figure("cache_size", run).savefig(picture)

# %% One row per text. Tokens that are written again had been evicted, and were needed.
texts = pd.DataFrame(
    {
        "policy": text.policy,
        "is_correct": run.chains[chain_id].is_correct,
        "was_cut_off": text.finish_reason != "eos",
        "evictions": len(text.events),
        "peak_tokens": text.peak_tokens,
        "tokens_without_eviction": text.n_prompt + text.n_written,
        "written_again": len(text.rewritten),
    }
    for chain_id, text in transcripts.items()
)
texts["saved"] = 1 - texts["peak_tokens"] / texts["tokens_without_eviction"]

# %% Means by policy. Compare accuracies only on the same problems, and beside random eviction at the same budget:
# `reasoning-anatomy sweep RUN --evict think_clearly` and `python -m analyses.threshold_comparison RUN` do that, with intervals.
saved = texts["saved"].mean()
print(f"At its peak, the cache holds {saved:.0%} fewer tokens than without evictions (mean of {len(texts)} texts).")
print(texts.groupby("policy").mean(numeric_only=True).round(2).to_string())
