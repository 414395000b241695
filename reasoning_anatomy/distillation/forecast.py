"""What a training will hold in memory and how long it will take, counted and timed on its longest batch."""

import time
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from reasoning_anatomy.distillation.recipe import Recipe
from reasoning_anatomy.distillation.training import Rows, padded, trainable
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.specs import ModelSpec

_BYTES_OF_OPTIMISER: Final = 12
"""Of a trained weight beside itself: its gradient and two moments, in float32."""


@dataclass(frozen=True)
class StepCost:
    """What one forward and backward pass of the longest rows costs.

    Attributes
    ----------
    weights
        Bytes of all weights.
    trained
        Weights that are trained.
    saved
        Bytes that the forward pass keeps for the backward pass.
    seconds_per_token
        Of a forward and a backward pass, padding included.
    """

    weights: int
    trained: int
    saved: int
    seconds_per_token: float

    @property
    def memory(self) -> int:
        """Bytes of weights, gradients, moments of the optimiser, and what a forward pass keeps."""
        return self.weights + self.trained * _BYTES_OF_OPTIMISER + self.saved

    def in_words(self) -> str:
        """Memory by what holds it."""
        parts = {"weights": self.weights, "optimiser": self.trained * _BYTES_OF_OPTIMISER, "one pass": self.saved}
        listing = ", ".join(f"{name} {size / 2**20:,.0f}" for name, size in parts.items())
        return f"{self.memory / 2**20:,.0f} MiB ({listing}); {self.trained:,} weights are trained"


def measure_step(loaded: LoadedModel, spec: ModelSpec, rows: Rows, recipe: Recipe) -> StepCost:
    """Run the longest rows forward and backward once; the model is not to be used for anything else after that."""
    model: Any = trainable(loaded, spec, recipe)
    longest = sorted(rows, key=lambda row: len(row["input_ids"]), reverse=True)[: recipe.rows_at_once]
    batch = {name: value.to(loaded.device) for name, value in padded(longest).items()}
    saved: dict[int, int] = {}
    known = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    start = time.perf_counter()
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        loss = model(**batch).loss
    loss.backward()
    if loaded.device.type == "cuda":
        torch.cuda.synchronize(loaded.device)
    seconds = time.perf_counter() - start
    return StepCost(
        weights=sum(parameter.numel() * parameter.element_size() for parameter in model.parameters()),
        trained=sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        saved=sum(saved.values()),
        seconds_per_token=seconds / batch["input_ids"].numel(),
    )
