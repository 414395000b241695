"""A very small model and many short chains, for when only workers and files matter."""

from pathlib import Path
from typing import Any, Final

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from reasoning_anatomy.chains import write_chains
from reasoning_anatomy.models.loading import ModelSpec, load_tokenizer
from reasoning_anatomy.pipeline.executors import Work
from reasoning_anatomy.pipeline.measuring import measure
from reasoning_anatomy.types import ReasoningChain

_SHAPE: Final[dict[str, Any]] = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 16, "max_position_embeddings": 4096,
}  # fmt: skip
_SENTENCE: Final = "So we add 3 and 4, which gives 7 apples. "


def write_model(folder: Path) -> Path:
    """Write a very small model with random weights and the tokenizer of SmolLM2."""
    tokenizer = load_tokenizer(ModelSpec())
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **_SHAPE)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_short_chains(file: Path, n_chains: int, n_sentences: int) -> Path:
    """Write chains whose reasoning has so many sentences, of 12 tokens each, and a short one before them."""
    chains = [
        ReasoningChain(
            chain_id=f"c{number}",
            question_id=f"q{number}",
            question=f"How many are {number} and {number}?",
            reasoning=f"We take {number} twice. " + _SENTENCE * n_sentences,
            answer=str(2 * number),
        )
        for number in range(n_chains)
    ]
    write_chains(file, chains)
    return file


def work_on(file: Path, out: Path, model: Path, *, scorer: str = "recency", strategy: str = "none") -> Work:
    """Measure a file of chains; by default by the position of tokens alone, which takes no pass through a model."""
    arguments = {
        "chains": str(file), "out": out, "model": str(model), "scorers": [scorer], "strategies": [strategy], "workers": 1,
    }  # fmt: skip
    return Work(measure, arguments)
