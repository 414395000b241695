"""The output projection of an attention layer: its matrix, and whether its input is what the attention gives."""

from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn

from reasoning_anatomy.errors import ModelError
from reasoning_anatomy.models.attention_interface import handling, installed, model_attention
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.types import IntArray

_NAMES: Final = ("o_proj", "out_proj", "dense", "c_proj", "wo")
_FEW_TOKENS: Final = 16


@torch.inference_mode()
def expect_plain_projections(loaded: LoadedModel, ids: IntArray) -> None:
    """Run the first tokens of a sequence (T,), and check that every output projection gets what its attention gave.

    Raises
    ------
    ModelError
        A layer normalises or gates it in between (BitNet, AFMoE), so a value does not contribute value times projection.
    """
    handles: list[torch.utils.hooks.RemovableHandle] = []

    def attend(module: Any, *tensors: Tensor, **options: Any) -> tuple[Tensor, None]:
        output, _ = model_attention(module, *tensors, **options)
        handles.append(_projection_of(module).register_forward_pre_hook(partial(_expect_input, module, output)))
        return output, None

    try:
        with installed(loaded.model), handling(attend):
            loaded.model(input_ids=torch.from_numpy(ids[None, :_FEW_TOKENS]).to(loaded.device), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()


def _expect_input(module: Any, attended: Tensor, _projection: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    if not torch.equal(inputs[0].flatten(), attended.flatten()):
        raise ModelError(
            f"{type(module).__name__} changes what its attention gives before the output projection (a norm or a gate), so "
            "what a value contributes is unknown; leave out the scorer contribution"
        )


def _projection_of(module: Any) -> Any:
    projection = next((getattr(module, name) for name in _NAMES if hasattr(module, name)), None)
    if projection is None:
        raise ModelError(
            f"{type(module).__name__} has no output projection of a known name ({', '.join(_NAMES)}), so what a value "
            "contributes is unknown; leave out the scorer contribution"
        )
    return projection


def output_matrix(module: Any, n_inputs: int, value: Tensor) -> Tensor:
    """Return the (inputs, hidden) float32 matrix of a layer's output projection.

    If the projection is not a plain linear layer (quantised, Conv1D), the matrix is what it makes of the unit vectors, on the
    device and in the dtype of ``value``.
    """
    projection = _projection_of(module)
    if type(projection) is nn.Linear:
        return projection.weight.T.float()
    unit = torch.eye(n_inputs, device=value.device, dtype=value.dtype)  # quantised weights have no rows
    matrix: Tensor = projection(unit).float() - projection(torch.zeros_like(unit[:1])).float()
    return matrix
