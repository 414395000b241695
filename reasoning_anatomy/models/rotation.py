"""The rotary position embedding of a model, undone and averaged by the model's own code."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from reasoning_anatomy.errors import ModelError
from reasoning_anatomy.models.capabilities import longest_of_one_rotation
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.models.passes import LayerInput, by_layer

_PROBE_TOKENS: Final = 8
_PROBE_PLACES: Final = tuple(range(start, start + _PROBE_TOKENS) for start in (0, 19))
_FUNCTION: Final = "apply_rotary_pos_emb"
_TOLERANCE: Final = 1e-2
_HALF_PRECISION_TOLERANCE: Final = 0.2
_checked: Final["WeakKeyDictionary[PreTrainedModel, Rotation]"] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Rotation:
    """How a model rotates queries and keys by position.

    The functions of the model that give cosines and sines and that apply them are called as they are; the mean of
    rotations is the same function of the mean cosines and sines, because it is linear in them.

    Attributes
    ----------
    embedding
        Module that gives cosines and sines.
    in_halves
        Whether it gives them once for the two halves of the dimensions.
    unrotated
        Layers that do not rotate.
    """

    embedding: Any
    in_halves: bool
    unrotated: frozenset[int]

    def undo(self, module: Any, states: Tensor, positions: range) -> Tensor:
        """(heads, T, d) states of a layer at T positions, as they were before their rotation."""
        if module.layer_idx in self.unrotated:
            return states
        cosines, sines = self._waves(module, states, positions)
        stretch = (cosines**2 + sines**2).mean()  # some models scale what they rotate
        return self._turned(module, states, cosines, -sines) / stretch

    def apply_mean(self, module: Any, states: Tensor, positions: range) -> Tensor:
        """(heads, T, d) states of a layer before their rotation, rotated by the mean over ``positions``."""
        if module.layer_idx in self.unrotated:
            return states
        cosines, sines = self._waves(module, states, positions)
        return self._turned(module, states, cosines.mean(dim=1, keepdim=True), sines.mean(dim=1, keepdim=True))

    def _waves(self, module: Any, states: Tensor, positions: range) -> tuple[Tensor, Tensor]:
        """(1, T, rotated dimensions) cosines and sines of a layer, in float32."""
        position_ids = torch.arange(positions.start, positions.stop, device=states.device)[None]
        layer_type = {}
        if "layer_type" in inspect.signature(self.embedding.forward).parameters:
            layer_type = {"layer_type": module.config.layer_types[module.layer_idx]}
        cosines, sines = self.embedding(states, position_ids, **layer_type)
        return cosines, sines

    def _turned(self, module: Any, states: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        """Apply the model's own function to the dimensions that it rotates."""
        apply: Callable[..., tuple[Tensor, Tensor]] = vars(sys.modules[type(module).__module__])[_FUNCTION]
        n_rotated = cosines.shape[-1] * (2 if self.in_halves else 1)
        rotated = states[None, ..., :n_rotated]
        turned, _ = apply(rotated, rotated, cosines, sines)
        return torch.cat([turned[0], states[..., n_rotated:]], dim=-1)


def open_rotation(loaded: LoadedModel, n_positions: int) -> Rotation:
    """Find how a model rotates, and check it on the model, once.

    A few tokens are run at two places. What attention gets before the rotation is the same at both, so the rotation is
    known if undoing it gives the same twice.

    Parameters
    ----------
    loaded
        The model.
    n_positions
        Positions that are going to be asked for.

    Raises
    ------
    ModelError
        The model has no rotary embedding, or one that this version cannot undo.
    """
    decoder: Any = loaded.model.get_decoder()  # type: ignore[no-untyped-call]
    embedding = getattr(decoder, "rotary_emb", None)
    if embedding is None:
        raise _refusal(loaded, "has no rotary position embedding, so what its next queries look like is not known")
    if n_positions > longest_of_one_rotation(loaded):
        raise _refusal(loaded, f"rotates otherwise beyond {longest_of_one_rotation(loaded):.0f} of {n_positions} positions")
    if loaded.model not in _checked:
        _checked[loaded.model] = _check(loaded, embedding)
    return _checked[loaded.model]


def _check(loaded: LoadedModel, embedding: Any) -> Rotation:
    ids = np.arange(_PROBE_TOKENS) % 7 + 1
    first, shifted = (by_layer(loaded, ids, _module_and_query, first_position=place.start) for place in _PROBE_PLACES)
    tolerance = _TOLERANCE if loaded.model.dtype.itemsize >= 4 else _HALF_PRECISION_TOLERANCE
    moved = [
        (module, here, there)
        for (module, here), (_, there) in zip(first, shifted, strict=True)
        if _difference(here, there) > tolerance
    ]
    unrotated = frozenset(range(len(first))) - {module.layer_idx for module, _, _ in moved}
    for in_halves in (False, True):
        rotation = Rotation(embedding, in_halves, unrotated)
        if all(_is_undone(rotation, *layer, tolerance=tolerance) for layer in moved):
            return rotation
    raise _refusal(loaded, "places its queries in a way that this version cannot undo")


def _refusal(loaded: LoadedModel, reason: str) -> ModelError:
    return ModelError(f"{loaded.id}: {type(loaded.model).__name__} {reason}; leave the scorer expected_attention out")


def _module_and_query(layer: LayerInput) -> tuple[Any, Tensor]:
    return layer.module, layer.query


def _is_undone(rotation: Rotation, module: Any, here: Tensor, there: Tensor, *, tolerance: float) -> bool:
    if _FUNCTION not in vars(sys.modules[type(module).__module__]):
        return False
    try:
        undone = [rotation.undo(module, query, place) for query, place in zip((here, there), _PROBE_PLACES, strict=True)]
    except RuntimeError:  # the dimensions do not fit together
        return False
    return _difference(*undone) <= tolerance


def _difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / one.norm())
