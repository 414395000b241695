"""What can be measured on which families of models: recording, its deviation from eager attention, pruning, and every scorer.

Each family of causal language models in transformers is built small with random weights, so that what is tried is its
code, not its size: which layers can be recorded, how far recorded weights are from the model's own eager ones, whether
candidate deletions can share prefixes, and which scorers refuse it and why. A chain of random tokens is measured. With
``--out docs/models.md`` the page is written.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd
import torch
import transformers
import tyro
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from benchmarks._models import random_chain
from reasoning_anatomy import plugins
from reasoning_anatomy.errors import ReasoningAnatomyError, SharingError
from reasoning_anatomy.importance import RefusesModels, Scorer
from reasoning_anatomy.models.capabilities import shares_prefixes
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.pipeline.checks import largest_likelihood_change
from reasoning_anatomy.pipeline.recorded_weights import largest_weight_difference
from reasoning_anatomy.types import EncodedChain, IntArray

_VOCABULARY: Final = 300
_SMALL: Final = {
    "vocab_size": _VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128, "initializer_range": 0.3,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "num_experts": 2, "num_local_experts": 2, "n_routed_experts": 2, "num_experts_per_tok": 1,
    "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16,
    "n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 128, "n_inner": 48, "d_model": 32, "n_layers": 4, "n_heads": 4,
    "ffn_dim": 48,
}  # fmt: skip
"""Under the names that the families give their sizes; those of other families are ignored."""
_MAMBA: Final = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_n_groups": 1}
_LINEAR: Final = {
    "linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
}  # fmt: skip
_WINDOW: Final = {"sliding_window": 16}
_BY_LAYER: Final = {
    **_WINDOW,
    "vocab_size_per_layer_input": _VOCABULARY,
    "hidden_size_per_layer_input": 8,
    "num_kv_shared_layers": 2,
}
_ALTERNATING: Final = ["sliding_attention", "full_attention"] * 2
_SPECIAL: Final[Mapping[str, Mapping[str, Any]]] = {
    "afmoe": {"num_dense_layers": 1},
    "bamba": {**_MAMBA, "attn_layer_indices": [1]},
    "falcon_h1": {**_MAMBA, "mamba_d_ssm": 32, "mamba_d_head": 8},
    "gemma2": {**_WINDOW, "attn_logit_softcapping": 5.0},
    "gemma3_text": _WINDOW,
    "mistral": _WINDOW,
    "phi3": _WINDOW,
    "gemma3n_text": {**_BY_LAYER, "layer_types": _ALTERNATING, "activation_sparsity_pattern": [0.0] * 4, "laurel_rank": 4},
    "gemma4_text": {**_BY_LAYER, "layer_types": _ALTERNATING, "global_head_dim": 8},
    "gpt_oss": {**_WINDOW, "layer_types": _ALTERNATING},
    "granitemoehybrid": {
        **_MAMBA, "layer_types": ["mamba", "attention"] * 2, "num_local_experts": 0, "shared_intermediate_size": 16,
    },
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2},
    "llama4_text": {"attention_chunk_size": 16},
    "nemotron_h": {
        "layers_block_type": ["mamba", "attention", "mlp", "attention"], "mamba_num_heads": 4, "mamba_head_dim": 8,
        "ssm_state_size": 8, "n_groups": 1,
    },
    "qwen3_5_text": _LINEAR,
    "qwen3_next": _LINEAR,
}  # fmt: skip
FAMILIES: Final = (
    "afmoe", "apertus", "arcee", "bamba", "bitnet", "bloom", "cohere", "cohere2", "diffllama", "doge", "ernie4_5",
    "ernie4_5_moe", "exaone4", "falcon_h1", "flex_olmo", "gemma", "gemma2", "gemma3_text", "gemma3n_text",
    "gemma4_text", "glm", "glm4", "glm4_moe", "gpt2", "gpt_bigcode", "gpt_neox", "gpt_oss", "granite", "granitemoe",
    "granitemoehybrid", "helium", "hunyuan_v1_dense", "internlm3", "jais2", "jamba", "jetmoe", "lfm2", "llama",
    "llama4_text", "mamba", "minimax", "minimax_m2", "ministral", "mistral", "mixtral", "modernbert-decoder", "mpt",
    "nanochat", "nemotron", "nemotron_h", "olmo", "olmo2", "olmo3", "olmo_hybrid", "olmoe", "opt", "persimmon", "phi",
    "phi3", "phimoe", "qwen2", "qwen2_moe", "qwen3", "qwen3_5_text", "qwen3_moe", "qwen3_next", "recurrent_gemma",
    "rwkv", "seed_oss", "smollm3", "stablelm", "starcoder2", "vaultgemma", "xglm",
)  # fmt: skip
"""Names of ``model_type`` in transformers."""

_INTRODUCTION: Final = """# Which models

Written by `python -m benchmarks.model_families --out docs/models.md` with transformers {transformers}: {n_families}
families of causal language models, each built small with random weights, so that what is tried is a family's code. What
a run does with the model in hand is decided on its first chain, whatever this table says: recorded weights are compared
with the model's own, and prefix sharing with whole passes ([checks](run-folder.md#checks)).

- **layers recorded**: layers whose attention can be recorded; the others of a hybrid are NaN and left out of every
  mean. *no*: the model does not call its attention through the interface of transformers, or has none.
- **eager within**: largest part of a query's attention that lies elsewhere in the recorded weights than in the model's
  own eager weights, over all recorded layers, heads and queries; float32, as a whole and in two chunks.
- **pruned by**: whether candidate deletions share prefixes, or each takes a whole forward pass, which is exact, too,
  but slower.
- **scorers that refuse** the family, and why. The others score it. `llmlingua2`, `receiver_heads` and `candidate_nll`
  need more than a model and are not tried.

"""


@dataclass(frozen=True)
class Options:
    """What can be measured on which families of models."""

    families: tuple[str, ...] = FAMILIES
    """Which to build."""
    out: Path | None = None
    """Write the page of the documentation here."""


def main() -> None:
    """Run the benchmark."""
    options = tyro.cli(Options, prog="python -m benchmarks.model_families", description=__doc__)
    table = pd.DataFrame([about(family) for family in options.families])
    print(table.to_string(index=False))
    if options.out is not None:
        options.out.write_text(page(table), encoding="utf-8")


def small_model(family: str) -> LoadedModel:
    """Build a small model of a family with random weights and a tokenizer of bytes."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **{**_SMALL, **_SPECIAL.get(family, {})})
    model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    return LoadedModel(model.eval(), _tokenizer(), family)


def about(family: str) -> dict[str, str]:
    """Measure one family: a row of the table."""
    loaded, chain = small_model(family), random_chain(8, 20, 9, _VOCABULARY)
    refused: dict[str, str] = {}
    recorded = "no"
    for label, scorer in _scorers().items():
        try:
            if isinstance(scorer, RefusesModels):
                scorer.expect_model(loaded, chain)
            profile = scorer.score(chain, loaded=loaded).profile
        except ReasoningAnatomyError as error:
            refused[label] = str(error).removeprefix(f"{family}: ").partition(";")[0]
            continue
        if label == "answer_attention" and profile is not None:
            recorded = _layers(profile.attending_layers, loaded.n_layers)
    by_reason: dict[str, list[str]] = {}
    for label, reason in refused.items():
        by_reason.setdefault(reason, []).append(label)
    return {
        "family": family,
        "layers recorded": recorded,
        "eager within": "" if recorded == "no" else f"{largest_weight_difference(loaded, chain, in_pieces=True):.0e}",
        "pruned by": _pruned_by(loaded, chain),
        "scorers that refuse": "; ".join(f"{', '.join(labels)}: {reason}" for reason, labels in by_reason.items()),
    }


def page(table: pd.DataFrame) -> str:
    """Write the table as a page of the documentation."""
    rows = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    lines = ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return _INTRODUCTION.format(n_families=len(table), transformers=transformers.__version__) + "\n".join(lines) + "\n"


def _scorers() -> dict[str, Scorer]:
    """Scorers that need nothing beyond the model."""
    return {key: plugins.load("scorer", key) for key, info in plugins.available("scorer").items() if not info.needs}


def _layers(attending: IntArray, n_layers: int) -> str:
    return "all" if len(attending) == n_layers else f"{', '.join(map(str, attending))} of {n_layers}"


def _pruned_by(loaded: LoadedModel, chain: EncodedChain) -> str:
    """How candidate deletions are run, as a run decides it on its first chain."""
    if not shares_prefixes(loaded, len(chain.ids)):
        return "whole passes"
    try:
        largest_likelihood_change(loaded, chain)
    except SharingError:
        return "whole passes"
    return "shared prefixes"


def _tokenizer() -> PreTrainedTokenizerBase:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False,
        special_tokens=["<pad>", "<s>", "</s>"],
    )  # fmt: skip
    backend.train_from_iterator(["So the answer is four."], trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that hybrids do not attend everywhere is in the table
        main()
