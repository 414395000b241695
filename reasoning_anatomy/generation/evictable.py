"""Whether tokens can be evicted from what a model remembers while it writes; what cannot be right is refused by name."""

from typing import Any

import torch

from reasoning_anatomy.errors import ModelError
from reasoning_anatomy.eviction import EvictionPolicy
from reasoning_anatomy.generation.cached_attention import CachedAttention
from reasoning_anatomy.models.attention_interface import can_be_installed
from reasoning_anatomy.models.capabilities import can_be_chunked
from reasoning_anatomy.models.loading import LoadedModel


def expect_evictable_by(policy: EvictionPolicy, loaded: LoadedModel, n_positions: int) -> None:
    """Raise `ModelError` if a policy cannot evict from what a model remembers of up to ``n_positions`` tokens.

    Unlike `expect_evictable`, which is about a context that is evicted from once, this admits layers with a sliding window, as
    long as they pass it to their attention function.
    """
    kinds = getattr(loaded.text_config, "layer_types", None) or ()
    has_other_layers = bool(getattr(loaded.text_config, "num_kv_shared_layers", 0)) or "chunked_attention" in kinds
    if has_other_layers or not (can_be_installed(loaded.model) and can_be_chunked(loaded, n_positions)):
        raise ModelError(
            f"{loaded.id}: tokens can be evicted only from layers that attend, through the interface of transformers, to keys "
            "of their own with positions that do not depend on the length, and "
            f"{type(loaded.model).__name__} has others; leave out --evict"
        )
    windows = _windows(loaded)
    _expect_passed_on(windows, loaded)
    if policy.per_head and any(window is not None for window in windows):
        raise ModelError(
            f"{loaded.id}: has layers with a sliding window, in which the heads cannot hold different tokens; "
            "add scope=shared to the policy, or name another one"
        )
    if policy.positions == "rerotate" and loaded.model.dtype.itemsize < 4:
        raise ModelError(
            f"{loaded.id}: keys that are rotated at every eviction are rounded at every eviction, which adds up in "
            f"{str(loaded.model.dtype).removeprefix('torch.')}; write positions=keep or positions=reprefill, or use "
            "--dtype float32"
        )


def _windows(loaded: LoadedModel) -> list[int | None]:
    """Sliding window of every layer, as the configuration says; None for full attention."""
    config: Any = loaded.text_config
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None) or ["sliding_attention"] * loaded.n_layers
    return [window if kind == "sliding_attention" else None for kind in kinds]


def _expect_passed_on(windows: list[int | None], loaded: LoadedModel) -> None:
    """Run one token, and compare what the layers pass to their attention function."""
    observed = CachedAttention(torch.ones(1, 1, dtype=torch.bool, device=loaded.device), None)
    with torch.inference_mode(), observed.of(loaded):
        loaded.model(input_ids=torch.zeros(1, 1, dtype=torch.long, device=loaded.device), use_cache=False)
    if [observed.windows.get(layer) for layer in range(loaded.n_layers)] != windows:
        raise ModelError(
            f"{loaded.id}: {type(loaded.model).__name__} has a sliding window of "
            f"{max(filter(None, windows), default=None)} that it does not pass to its attention, so that what is evicted "
            "cannot be told from what is out of sight; leave out --evict"
        )
