"""What it takes to train a student of 7 billion parameters: memory and operations, counted from its configuration alone.

``python -m benchmarks.distillation_cost`` prints the table of docs/distillation.md. No weights are needed, and no accelerator.
"""

import sys
from dataclasses import dataclass

import tyro
from transformers import PreTrainedConfig, Qwen2Config

from reasoning_anatomy.distillation.forecast import count_step
from reasoning_anatomy.distillation.recipe import Recipe
from reasoning_anatomy.specs import ModelSpec


@dataclass(frozen=True)
class Options:
    """Shape of the model, by default that of Qwen2.5-7B, and of what it is taught."""

    layers: int = 28
    width: int = 3584
    feed_forward: int = 18944
    heads: int = 28
    key_value_heads: int = 4
    vocabulary: int = 152064
    tokens: tuple[int, ...] = (1024, 2048, 4096)
    """Of the longest row."""
    prompt: int = 200
    """Of them, those of the prompt, whose logits are not computed."""
    chains: int = 7000
    """That are taught, all as long as the longest row."""
    epochs: int = 3
    """Passes over them."""
    rate: float = 1e14
    """Operations a second, at which hours are stated."""

    @property
    def config(self) -> PreTrainedConfig:
        """Configuration of such a model."""
        return Qwen2Config(
            vocab_size=self.vocabulary, hidden_size=self.width, intermediate_size=self.feed_forward,
            num_hidden_layers=self.layers, num_attention_heads=self.heads, num_key_value_heads=self.key_value_heads,
            tie_word_embeddings=False,
        )  # fmt: skip


def main(options: Options) -> None:
    """Print a table in Markdown: one row of a pass at a time, in bfloat16."""
    heads = ("longest row", "base", "trained", "weights", "optimiser", "one pass", "GiB together", "hours of a student")
    sys.stdout.write(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|\n")
    recipes = (("lora", None), ("lora", "4bit"), ("full", None))
    for n_tokens in options.tokens:
        for method, quantize in recipes:
            recipe = Recipe(method=method, rows_at_once=1)  # type: ignore[arg-type]
            spec = ModelSpec("student", dtype="bfloat16", quantize=quantize)  # type: ignore[arg-type]
            cost = count_step(options.config, spec, recipe, n_tokens, n_tokens - options.prompt)
            hours = cost.per_token * n_tokens * options.chains * options.epochs / options.rate / 3600
            trained = "adapter of rank 8" if method == "lora" else "all weights"
            sizes = [f"{size / 2**30:.1f}" for size in (cost.weights, cost.optimiser, cost.saved, cost.memory)]
            cells = [f"{n_tokens:,}", quantize or "bfloat16", trained, *sizes, f"{hours:.1f}"]
            sys.stdout.write(f"| {' | '.join(cells)} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(tyro.cli(Options))
