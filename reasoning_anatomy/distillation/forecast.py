"""What a training will hold in memory and how long it will take: on its longest rows, timed or counted without weights."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, PreTrainedConfig

from reasoning_anatomy.distillation.recipe import Recipe
from reasoning_anatomy.distillation.training import Rows, adapted, expect_trainable, is_mixed, padded, trainable
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.specs import ModelSpec

_BESIDE_A_WEIGHT: Final = 3
"""What a training holds of a trained weight beside itself, as precisely: its gradient and two moments."""
_BYTES_OF_QUANTISED: Final = {"4bit": 0.5 + 4 / 64, "8bit": 1.0}
"""Of a weight of a projection; of 4 bits, with the scale of each 64 weights in float32."""


@dataclass(frozen=True)
class StepCost:
    """What one forward and backward pass of the longest rows costs.

    Attributes
    ----------
    weights
        Bytes of all weights.
    trained
        Weights that are trained.
    optimiser
        Bytes of their gradients and moments.
    saved
        Bytes that the forward pass keeps for the backward pass.
    per_token
        Of a forward and a backward pass, padding included: seconds if it was timed, operations if it was counted.
    """

    weights: int
    trained: int
    optimiser: int
    saved: int
    per_token: float

    @property
    def memory(self) -> int:
        """Bytes of weights, gradients, moments of the optimiser, and what a forward pass keeps."""
        return self.weights + self.optimiser + self.saved

    def in_words(self) -> str:
        """Memory by what holds it."""
        parts = {"weights": self.weights, "optimiser": self.optimiser, "one pass": self.saved}
        listing = ", ".join(f"{name} {size / 2**20:,.0f}" for name, size in parts.items())
        return f"{self.memory / 2**20:,.0f} MiB ({listing}); {self.trained:,} weights are trained"


def measure_step(loaded: LoadedModel, spec: ModelSpec, rows: Rows, recipe: Recipe) -> StepCost:
    """Run the longest rows forward and backward once; the model is not to be used for anything else after that."""
    model: Any = trainable(loaded, spec, recipe)
    longest = sorted(rows, key=lambda row: len(row["input_ids"]), reverse=True)[: recipe.rows_at_once]
    batch = {name: value.to(loaded.device) for name, value in padded(longest).items()}
    start = time.perf_counter()
    with _counting_what_is_kept(model) as kept, torch.autocast(loaded.device.type, torch.bfloat16, enabled=is_mixed(loaded)):
        loss = model(**batch).loss
    loss.backward()
    if loaded.device.type == "cuda":
        torch.cuda.synchronize(loaded.device)
    seconds = time.perf_counter() - start
    weights = sum(map(_bytes_of, model.parameters()))
    return StepCost(weights, *_trained(model), sum(kept.values()), seconds / batch["input_ids"].numel())


def count_step(config: PreTrainedConfig, spec: ModelSpec, recipe: Recipe, n_tokens: int, n_supervised: int) -> StepCost:
    """Count what a pass of rows of ``n_tokens`` costs on an accelerator, from the configuration of a model alone.

    The last ``n_supervised`` of them are to be predicted.

    Every operation is run without numbers, on shapes: that takes seconds and no memory, whatever the size of the model.

    Raises
    ------
    ModelError
        The model cannot be trained in this way.
    """
    expect_trainable(spec, recipe)
    causal: Any = AutoModelForCausalLM
    with torch.device("meta"):
        model = causal.from_config(config, dtype=getattr(torch, spec.dtype), trust_remote_code=spec.trust_remote_code)
        weights = sum(_bytes_held(model, spec))
        if recipe.method == "lora":
            model = adapted(model, recipe)
            weights += sum(each.numel() * each.element_size() for each in model.parameters() if each.requires_grad)
    operations = FlopCounterMode(display=False)
    with FakeTensorMode(), operations:
        _put_on_cpu(model.train())
        ids = torch.zeros((recipe.rows_at_once, n_tokens), dtype=torch.long)
        kept_logits = torch.arange(max(0, n_tokens - n_supervised - 1), n_tokens)
        with _counting_what_is_kept(model) as kept, torch.autocast("cpu", torch.bfloat16, enabled=spec.dtype == "bfloat16"):
            labels = ids[:, -len(kept_logits) :]
            loss = model(input_ids=ids, labels=labels, logits_to_keep=kept_logits, use_cache=False).loss
        loss.backward()
    return StepCost(int(weights), *_trained(model), sum(kept.values()), operations.get_total_flops() / ids.numel())


def _bytes_of(parameter: Tensor) -> int:
    """Bytes of a weight, with the scales that belong to it if it is held in 4 bits."""
    scales = getattr(getattr(parameter, "quant_state", None), "absmax", None)
    return parameter.numel() * parameter.element_size() + (0 if scales is None else scales.numel() * scales.element_size())


def _put_on_cpu(model: nn.Module) -> None:
    """Replace weights and buffers of the meta device by those of the mode in force; what is tied stays tied."""
    fresh: dict[int, Tensor] = {}

    def replaced(tensor: Tensor) -> Tensor:
        if id(tensor) not in fresh:
            other = torch.empty(tensor.shape, dtype=tensor.dtype)
            is_weight = isinstance(tensor, nn.Parameter)
            fresh[id(tensor)] = nn.Parameter(other, requires_grad=tensor.requires_grad) if is_weight else other
        return fresh[id(tensor)]

    for module in model.modules():
        tensors: Any
        for tensors in (module._parameters, module._buffers):
            tensors.update({name: replaced(tensor) for name, tensor in tensors.items() if tensor is not None})


def _bytes_held(model: nn.Module, spec: ModelSpec) -> Iterator[float]:
    """Bytes of every weight as it is held while it is trained: beside quantised projections, all others are in float32."""
    output: Any = model.get_output_embeddings()  # type: ignore[operator]
    projections = {id(each.weight) for each in model.modules() if isinstance(each, nn.Linear) and each is not output}
    for parameter in model.parameters():
        size: float = parameter.element_size()
        if spec.quantize is not None:
            size = _BYTES_OF_QUANTISED[spec.quantize] if id(parameter) in projections else 4
        yield parameter.numel() * size


def _trained(model: nn.Module) -> tuple[int, int]:
    """Count the weights that are trained, and the bytes that a training holds of them beside themselves."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    size = sum(parameter.numel() * parameter.element_size() for parameter in trained)
    return sum(parameter.numel() for parameter in trained), _BESIDE_A_WEIGHT * size


@contextmanager
def _counting_what_is_kept(model: nn.Module) -> Iterator[dict[int, int]]:
    """Collect the bytes of every storage that a forward pass keeps for the backward pass, other than weights."""
    kept: dict[int, int] = {}
    known = {parameter.untyped_storage()._cdata for parameter in model.parameters()}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        yield kept
