"""Prune a chain, then again with 20 MB of address space left; print both budgets and whether the orders agree."""

import os
import resource
import sys
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.pruning.greedy import Greedy
from reasoning_anatomy.types import EncodedChain, ReasoningChain

VOCABULARY, N = 20_000, 40  # logits of one pass of 1,024 tokens take 80 MB


def main() -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=512, initializer_range=0.3,
    )  # fmt: skip
    loaded = LoadedModel(LlamaForCausalLM(config).eval(), None, "limited")
    rng = np.random.default_rng(0)
    prompt, reasoning, answer = (rng.integers(3, VOCABULARY, size) for size in (5, N, 4))
    text = ReasoningChain(chain_id="c", question_id="q", question="?", reasoning="x" * N, answer="x")
    chain = EncodedChain(text, prompt, reasoning, answer, np.stack([np.arange(N), np.arange(1, N + 1)], axis=1))
    greedy = Greedy(objective="joint", keep_ratio=0.9)
    unlimited = greedy.prune(chain, loaded=loaded)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + 20 * 2**20,) * 2)
    limited = greedy.prune(chain, loaded=loaded)
    same = limited.deleted.tolist() == unlimited.deleted.tolist()
    sys.stdout.write(f"{unlimited.token_budget} {limited.token_budget} {same}\n")


if __name__ == "__main__":
    main()
