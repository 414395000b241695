"""Activation checkpoints: layers keep only their input for the backward pass, and compute the rest again."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from reasoning_anatomy.models.change import ModelChange


@dataclass(frozen=True, eq=False)
class _Checkpointed:
    """The forward of a layer, and the one that was set on the layer itself, if any, in place of its class's."""

    forward: Callable[..., Any]
    of_instance: Callable[..., Any] | None

    def __call__(self, *args: Any, **options: Any) -> Any:
        if not torch.is_grad_enabled():
            return self.forward(*args, **options)
        return checkpoint(self.forward, *args, use_reentrant=False, preserve_rng_state=False, **options)


def _checkpoint(model: PreTrainedModel) -> Callable[[], None]:
    layers: list[Any] = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    for layer in layers:
        layer.forward = _Checkpointed(layer.forward, layer.__dict__.get("forward"))

    def restore() -> None:
        for layer in layers:
            _restore(layer)

    return restore


def _restore(layer: Any) -> None:
    of_instance = layer.forward.of_instance
    del layer.forward
    if of_instance is not None:
        layer.forward = of_instance


checkpointed: Final = ModelChange(_checkpoint)
"""Context in which layers drop what they compute while gradients are recorded; threads may share the model.

Numbers stay the same to the last bit. transformers offers the same only to models in training mode, which turns dropout on.
"""
