"""Memory of a sweep on one GPU, counted from the shape of the model: nothing is loaded, and no GPU is needed.

The default is the setting of the public script for pruning at thresholds: DeepSeek-R1-Distill-Qwen-1.5B in 4 bit on a card of
16 GB, with chains of 12,000 tokens, where the attention weights that the script asks for (layers x heads x tokens x tokens)
do not fit into any card.
"""

from dataclasses import dataclass
from typing import Any, Final

import torch
import tyro
from transformers import AutoConfig, AutoModelForCausalLM

from reasoning_anatomy.generation.rows import bytes_per_token
from reasoning_anatomy.models.loading import LoadedModel

_R1_DISTILL_QWEN: Final = {
    "vocab_size": 151936, "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12,
    "num_key_value_heads": 2, "max_position_embeddings": 131072, "tie_word_embeddings": False,
}  # fmt: skip
"""As in the config.json of DeepSeek-R1-Distill-Qwen-1.5B."""
_BYTES_IN_4_BIT: Final = 0.5 + 4 / 64  # a number, and its share of the float32 scale of 64 numbers
_GIB: Final = 2**30


@dataclass(frozen=True)
class Options:
    """Memory of a sweep on one GPU, counted."""

    tokens: int = 12000
    """Of a chain, prompt included."""
    max_tokens: int = 1024
    """Of an answer."""
    card_gib: float = 14.5
    """Memory of the card that is free."""
    chunk: int = 4096
    """Tokens of one forward pass (``token_budget`` of the scorers)."""


def main() -> None:
    """Count and print."""
    options = tyro.cli(Options, prog="python -m benchmarks.sweep_memory", description=__doc__)
    with torch.device("meta"):
        config = AutoConfig.for_model("qwen2", **_R1_DISTILL_QWEN)
        model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)  # type: ignore[no-untyped-call]
    loaded = LoadedModel(model, None, "r1")  # type: ignore[arg-type]
    n_heads, n_layers = config.num_attention_heads, config.num_hidden_layers
    in_4_bit = sum(p.numel() for name, p in model.named_parameters() if "proj" in name and p.ndim == 2)
    as_it_is = sum(p.numel() for p in model.parameters()) - in_4_bit
    weights = in_4_bit * _BYTES_IN_4_BIT + as_it_is * 2
    row = bytes_per_token(loaded) * (options.tokens + options.max_tokens)
    widest = options.chunk * config.intermediate_size * 2 * 4
    n_rows = int((options.card_gib * _GIB - weights - widest) / 2 // row)
    block = 4 * 2**26  # the recorder computes at most 2**26 weights at a time
    for what, n_bytes in (
        ("weights, 4 bit; embeddings and head as they are", weights),
        (f"activations of {options.chunk:,} tokens, about", widest),
        (f"keys and values of one row of {options.tokens + options.max_tokens:,} tokens", row),
        (f"keys and values of the {n_rows} rows that fit into half of the rest", n_rows * row),
        ("attention recorded for a score: one row a layer and head", 4 * n_layers * n_heads * options.tokens),
        ("attention weights held at a time while recording, at most", block),
        ("for comparison: attention weights of one layer, T x T in float32", 4 * n_heads * options.tokens**2),
        (
            "for comparison: of all layers in float16, as eager attention returns them",
            2 * n_layers * n_heads * options.tokens**2,
        ),
    ):
        print(f"{what:<76} {n_bytes / _GIB:>8.2f} GiB")


if __name__ == "__main__":
    main()
