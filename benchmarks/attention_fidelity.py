"""How far recorded attention is from eager attention with the whole matrices, for every scorer that records it.

The reference is each scorer's definition written out over the (layers, heads, T, T) weights that the model returns with
`output_attentions=True` in float32, on SmolLM2-135M and a shipped chain. The deviation is the largest absolute difference over
layers, heads and tokens, for one forward pass and for chunks of 64 tokens. It is also given as a share of the scorer's largest
value, because some scorers are single weights and others sums over many queries or lengths of vectors.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import tyro
from scipy.stats import entropy

from benchmarks._models import example_chains, model_of
from reasoning_anatomy import plugins
from reasoning_anatomy.errors import PluginError
from reasoning_anatomy.importance.end_of_thinking import EndOfThinking
from reasoning_anatomy.importance.receiver_heads import ReceiverHeads
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.types import EncodedChain, FloatArray

Weights = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Options:
    """Recorded attention against eager attention."""

    chain: str = "word-002-s1-short"
    """Chain_id of a shipped chain."""
    pieces: int = 64
    """Tokens of one chunk, if the chain is run in chunks."""


def eager_weights(loaded: LoadedModel, ids: npt.NDArray[np.int64]) -> Weights:
    """(layers, heads, T, T) float32 weights of the model's own eager attention."""
    before = loaded.model.config._attn_implementation
    loaded.model.set_attn_implementation("eager")
    with torch.inference_mode():
        inputs = torch.from_numpy(ids)[None].to(loaded.device)
        attentions = loaded.model(input_ids=inputs, output_attentions=True, use_cache=False).attentions
    loaded.model.set_attn_implementation(before or "sdpa")
    weights: Weights = torch.cat(attentions).float().cpu().numpy()
    return weights


def value_lengths(loaded: LoadedModel, chain: EncodedChain) -> Weights:
    """(layers, heads, T) length of every value times the head's part of the output projection, from hooks on a Llama."""
    values: list[torch.Tensor] = []
    layers: Any = loaded.model.model.layers
    hooks = [layer.self_attn.v_proj.register_forward_hook(lambda *call: values.append(call[2][0])) for layer in layers]
    with torch.inference_mode():
        loaded.model(input_ids=torch.from_numpy(chain.ids)[None].to(loaded.device), use_cache=False)
    for hook in hooks:
        hook.remove()
    lengths = []
    for layer, value in zip(layers, values, strict=True):
        head_dim = layer.self_attn.head_dim
        by_head = value.view(len(value), -1, head_dim).repeat_interleave(layer.self_attn.num_key_value_groups, dim=1)
        projection = layer.self_attn.o_proj.weight.detach()
        added = torch.einsum("jhd,ohd->hjo", by_head, projection.view(len(projection), -1, head_dim))
        lengths.append(added.norm(dim=2).cpu())
    stacked: Weights = torch.stack(lengths).numpy()
    return stacked


def vertical_scores(weights: Weights, step: npt.NDArray[np.int64], proximity: int) -> FloatArray:
    """(layers, heads, steps) vertical scores of the matrix of means over pairs of steps; NaN for the last steps.

    ``weights`` (layers, heads, n, n) are those among the reasoning tokens, ``step`` (n,) their steps.
    """
    n_steps = int(step.max()) + 1
    of_step = np.stack([step == index for index in range(n_steps)]) / np.bincount(step)[:, None]
    means = of_step @ weights @ of_step.T
    vertical = np.full((*means.shape[:2], n_steps), np.nan)
    for j in range(n_steps - proximity):
        vertical[..., j] = means[:, :, j + proximity :, j].mean(axis=2)
    return vertical


def profile_of(label: str, loaded: LoadedModel, chain: EncodedChain, token_budget: int | None) -> Weights:
    """(layers, heads, n) profile of a scorer, recorded in chunks of ``token_budget`` tokens."""
    scorer = replace(plugins.load("scorer", label), token_budget=token_budget)
    profile = scorer.score(chain, loaded=loaded).profile
    if profile is None:
        raise PluginError(f"{label}: has no profile to compare with the model's attention")
    return profile.received


def deviations(loaded: LoadedModel, chain: EncodedChain, token_budget: int | None) -> pd.DataFrame:
    """Largest deviation of every scorer's profile (of the vertical scores for receiver heads), by label.

    Returns
    -------
    Columns ``absolute``, and ``share`` of the largest value of the reference.
    """
    p, end = len(chain.prompt_ids), len(chain.prompt_ids) + chain.n_reasoning
    weights = eager_weights(loaded, chain.ids).astype(np.float64)
    seen = np.arange(len(chain.ids) - p, len(chain.ids) - end, -1)
    rows = {}
    for label, reference in references(loaded, chain, p, end, seen).items():
        rows[label] = _deviation(profile_of(label, loaded, chain, token_budget), reference(weights))
    step = ReceiverHeads().steps_of(chain)
    received = profile_of("receiver_heads:proximity=1,heads=0.0", loaded, chain, token_budget)
    by_step = np.stack([received[..., step == index].mean(axis=2) for index in range(step.max())], axis=2)
    vertical = vertical_scores(weights[:, :, p:end, p:end], step, 1)[..., :-1]
    rows["receiver_heads"] = _deviation(by_step, vertical)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["absolute", "share"])


def _deviation(recorded: Weights, expected: FloatArray) -> tuple[float, float]:
    largest = float(np.abs(recorded - expected).max())
    return largest, largest / float(np.abs(expected).max())


def references(
    loaded: LoadedModel, chain: EncodedChain, p: int, end: int, seen: npt.NDArray[np.int64]
) -> Mapping[str, Callable[[FloatArray], FloatArray]]:
    """Definition of every scorer over the weights (layers, heads, T, T), by label."""
    read: Any = loaded.tokenizer
    after = [id_ for text in (EndOfThinking().probe, "</think>") for id_ in read(text, add_special_tokens=False)["input_ids"]]
    of_probe = eager_weights(loaded, np.concatenate([chain.ids[:end], after]))[:, :, -1, p:end].astype(np.float64)
    lengths = value_lengths(loaded, chain)[..., p:end]
    return {
        "answer_attention": lambda weights: weights[:, :, end:, p:end].mean(axis=2),
        "answer_attention:exclude_sink=1": lambda weights: (
            weights[:, :, end:, p:end] / weights[:, :, end:, 1:].sum(axis=3, keepdims=True)
        ).mean(axis=2),
        "last_token_attention": lambda weights: weights[:, :, -1, p:end],
        "end_of_thinking": lambda _: of_probe,
        "accumulated_attention": lambda weights: weights[:, :, p:, p:end].sum(axis=2),
        "exposure_normalised_attention": lambda weights: weights[:, :, p:, p:end].sum(axis=2) / seen,
        "attention_sparsity": lambda weights: 1 - entropy(weights[:, :, p:end], axis=3) / np.log(np.arange(p + 1, end + 1)),
        "attention_sparsity:measure=gini": lambda weights: _gini(weights[:, :, p:end], np.arange(p + 1, end + 1)),
        "contribution": lambda weights: weights[:, :, end:, p:end].mean(axis=2) * lengths,
    }


def _gini(rows: Weights, n_visible: npt.NDArray[np.int64]) -> FloatArray:
    """(..., queries) Gini coefficient of each row over the first ``n_visible`` keys: half of the mean difference of two."""
    each = [
        np.abs(rows[..., index, :n, None] - rows[..., index, None, :n]).mean(axis=(-2, -1)) * n / 2
        for index, n in enumerate(n_visible)
    ]
    return np.stack(each, axis=-1)


def main() -> None:
    """Run the benchmark."""
    options = tyro.cli(Options, prog="python -m benchmarks.attention_fidelity", description=__doc__)
    loaded = model_of("smollm2-135m", dtype="float32", device="cpu")
    chain = ChainEncoder(loaded.tokenizer).encode(next(c for c in example_chains() if c.chain_id == options.chain))
    columns = {}
    for name, budget in (("one pass", None), (f"chunks of {options.pieces}", options.pieces)):
        columns[name] = deviations(loaded, chain, budget)
    print(f"{options.chain}: {len(chain.ids)} tokens, {chain.n_reasoning} of reasoning")
    print("largest absolute deviation, and its share of the scorer's largest value")
    print(pd.concat(columns, axis=1).to_string(float_format="{:.1e}".format))


if __name__ == "__main__":
    main()
