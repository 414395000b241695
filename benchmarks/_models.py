"""Models and chains of chosen shapes."""

from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from reasoning_anatomy.chains import read_chains
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import LoadedModel, ModelSpec, load_model, load_tokenizer
from reasoning_anatomy.types import EncodedChain, ReasoningChain

Shape = Literal["smollm2-135m", "qwen2.5-7b"]
Dtype = Literal["float32", "bfloat16"]

_QWEN: Final = {
    "vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
    "num_attention_heads": 28, "num_key_value_heads": 4, "max_position_embeddings": 32768, "tie_word_embeddings": False,
}  # fmt: skip
_TWELVE_LAYERS: Final = {
    "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 12, "num_attention_heads": 9,
    "num_key_value_heads": 3, "max_position_embeddings": 131072, "tie_word_embeddings": True,
}  # fmt: skip
_FOUR_LAYERS: Final = {
    "vocab_size": 49152, "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 131072, "tie_word_embeddings": True, "initializer_range": 0.1,
}  # fmt: skip
_TINY: Final = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 2048, "initializer_range": 0.3,
}  # fmt: skip


def model_of(shape: Shape, *, dtype: Dtype, device: str) -> LoadedModel:
    """Load SmolLM2, or make the shape of another model with random weights."""
    if shape == "smollm2-135m":
        return load_model(ModelSpec(dtype=dtype, device=device))
    return _random("qwen2", _QWEN, shape, getattr(torch, dtype), device)


def tiny_model() -> LoadedModel:
    """Make a very small model with random weights, for when only counts matter."""
    return _random("llama", _TINY, "tiny", torch.float32, "cpu")


def twelve_layers(*, dtype: Dtype, device: str) -> LoadedModel:
    """Make a model as wide as SmolLM2-135M, of 12 layers, with random weights and a long context."""
    return _random("llama", _TWELVE_LAYERS, "twelve layers", getattr(torch, dtype), device)


def four_layers(*, dtype: Dtype, device: str) -> LoadedModel:
    """Make a model of 4 layers with random weights, a long context, and the tokenizer of SmolLM2."""
    loaded = _random("llama", _FOUR_LAYERS, "four layers", getattr(torch, dtype), device)
    return LoadedModel(loaded.model, load_tokenizer(ModelSpec()), loaded.id)


def example_chains() -> list[ReasoningChain]:
    """Read the chains that ship with the package."""
    return read_chains(Path(str(files("reasoning_anatomy") / "data" / "example_chains.jsonl")))


def chain_of(loaded: LoadedModel, *, p: int, n: int, m: int | None = None) -> EncodedChain:
    """Cut shipped text to p prompt, n reasoning and m answer tokens (None: all of them).

    If the model has no tokenizer, the ids are random.
    """
    if loaded.tokenizer is None:
        return random_chain(p, n, m or 16, int(loaded.text_config.vocab_size))
    encoder = ChainEncoder(loaded.tokenizer)
    encoded = [encoder.encode(chain) for chain in example_chains()]
    chain = min((chain for chain in encoded if chain.n_reasoning >= n), key=lambda chain: chain.n_reasoning, default=None)
    if chain is None:
        raise SystemExit(f"no shipped chain has {n} reasoning tokens; the longest has {max(c.n_reasoning for c in encoded)}")
    prompt = np.concatenate([*(other.prompt_ids for other in encoded), chain.prompt_ids])[-p:]
    return EncodedChain(chain.chain, prompt, chain.reasoning_ids[:n], chain.answer_ids[:m], chain.spans[:n])


def random_chain(p: int, n: int, m: int, vocab_size: int) -> EncodedChain:
    """Draw a chain of p prompt, n reasoning and m answer tokens."""
    rng = np.random.default_rng(0)
    text = ReasoningChain(chain_id="random", question_id="random", question="?", reasoning="x" * n, answer="x")
    prompt, reasoning, answer = (rng.integers(3, vocab_size, size) for size in (p, n, m))
    return EncodedChain(text, prompt, reasoning, answer, np.stack([np.arange(n), np.arange(1, n + 1)], axis=1))


def _random(family: str, sizes: dict[str, Any], name: str, dtype: torch.dtype, device: str) -> LoadedModel:
    torch.manual_seed(0)
    target = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    with torch.device(target):
        config = AutoConfig.for_model(family, **sizes)
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)  # type: ignore[no-untyped-call]
    return LoadedModel(model.eval(), None, name)  # type: ignore[arg-type]
