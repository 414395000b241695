"""What a model can do, and what suits its device."""

import math
from typing import Final

import torch

from reasoning_anatomy.models.attention_interface import can_be_installed
from reasoning_anatomy.models.loading import LoadedModel

_SHARING_LAYERS: Final = frozenset({"full_attention", "sliding_attention"})
_ATTENDING_LAYERS: Final = _SHARING_LAYERS | {"chunked_attention"}
_ROTATIONS_BY_LENGTH: Final = {"dynamic", "longrope"}
_CPU_BUDGET: Final = 1024
_ACCELERATOR_BUDGET: Final = 16384
_CPU_STORE_BYTES: Final = 2**30


def tokens_per_pass(loaded: LoadedModel, token_budget: int | None) -> int:
    """Tokens of one forward pass: as the user says, or what suits the device for None."""
    return token_budget or (_CPU_BUDGET if loaded.device.type == "cpu" else _ACCELERATOR_BUDGET)


def can_share_prefixes(loaded: LoadedModel) -> bool:
    """Tell whether a token reaches later ones only by attention, of a kind whose keys and values sequences can share."""
    return loaded.may_share and can_be_installed(loaded.model) and _attends_everywhere(loaded, _SHARING_LAYERS)


def can_be_chunked(loaded: LoadedModel, n_tokens: int) -> bool:
    """Tell whether the keys of a sequence of ``n_tokens`` are the same if it is run in chunks with a cache."""
    return n_tokens <= longest_of_one_rotation(loaded) and _attends_everywhere(loaded, _ATTENDING_LAYERS)


def _attends_everywhere(loaded: LoadedModel, kinds: frozenset[str]) -> bool:
    """Tell whether all layers attend in one of these ways, as far as the model says: hybrids are not made for a backend."""
    layer_types = getattr(loaded.text_config, "layer_types", None) or ["full_attention"]
    return bool(loaded.model._supports_attention_backend) and kinds.issuperset(layer_types)


def shares_prefixes(loaded: LoadedModel, n_tokens: int) -> bool:
    """Tell whether sequences of up to ``n_tokens`` can share the keys and values of what they begin with."""
    return can_share_prefixes(loaded) and can_be_chunked(loaded, n_tokens)


def longest_of_one_rotation(loaded: LoadedModel) -> float:
    """Length up to which all passes rotate keys alike, in tokens: beyond it, some models rotate by the sequence's length."""
    config = loaded.text_config
    parameters = getattr(config, "rope_parameters", None) or {}
    kinds = [parameters, *(kind for kind in parameters.values() if isinstance(kind, dict))]
    by_length = [kind for kind in kinds if kind.get("rope_type") in _ROTATIONS_BY_LENGTH]
    longest: float = getattr(config, "max_position_embeddings", math.inf)
    original = getattr(config, "original_max_position_embeddings", None) or longest
    return min((kind.get("original_max_position_embeddings") or original for kind in by_length), default=math.inf)


def free_bytes(loaded: LoadedModel) -> int:
    """Bytes for what candidates keep between deletions: 1 GiB on a CPU, half of what is free on an accelerator."""
    if loaded.device.type != "cuda":
        return _CPU_STORE_BYTES
    free, _ = torch.cuda.mem_get_info(loaded.device)
    cached = torch.cuda.memory_reserved(loaded.device) - torch.cuda.memory_allocated(loaded.device)
    return (free + cached) // 2
