"""The weights that a model's own eager attention gives: what recorded ones are compared with."""

from typing import Any

import torch
from torch import Tensor

from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.types import IntArray


@torch.inference_mode()
def own_weights(loaded: LoadedModel, ids: IntArray) -> dict[int, Tensor]:
    """Run a short sequence (T,) by eager attention, with all T x T weights. -> (heads, T, T) float32 by layer.

    Layers whose eager attention gives no such weights are left out.
    """
    weights: dict[int, Tensor] = {}

    def keep(module: Any, _: Any, output: Any) -> None:
        given = output[1] if isinstance(output, tuple) and len(output) > 1 else None
        if isinstance(given, Tensor) and given.ndim == 4 and given.shape[-2:] == (len(ids), len(ids)):
            weights[module.layer_idx] = given[0].float()

    layers = [module for module in loaded.model.modules() if getattr(module, "layer_idx", None) is not None]
    hooks = [module.register_forward_hook(keep) for module in layers]
    before = loaded.model.config._attn_implementation
    try:
        loaded.model.set_attn_implementation("eager")
        loaded.model(input_ids=torch.from_numpy(ids)[None].to(loaded.device), use_cache=False)
    finally:
        loaded.model.set_attn_implementation(before)
        for hook in hooks:
            hook.remove()
    return weights
