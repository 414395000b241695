"""The rotary position embedding of a model, undone, averaged and applied at other positions with the model's own code."""

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
from reasoning_anatomy.models.passes import by_layer

_PROBE_TOKENS: Final = 8
_PROBE_POSITIONS: Final = tuple(range(start, start + _PROBE_TOKENS) for start in (0, 19))
_FUNCTION: Final = "apply_rotary_pos_emb"
_TOLERANCE: Final = 1e-2
_HALF_PRECISION_TOLERANCE: Final = 0.2
_checked: Final["WeakKeyDictionary[PreTrainedModel, Rotation]"] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Rotation:
    """How a model rotates queries and keys by position.

    Cosines and sines come from the model's own module and are applied by the model's own function. That function is linear in
    them, so the mean of several rotations is the function of the mean cosines and sines.

    Attributes
    ----------
    embedding
        Module that computes cosines and sines.
    in_halves
        Whether it computes them for half of the rotated dimensions, each of which serves two.
    unrotated
        Layers that do not rotate.
    modules
        The attention module of every layer.
    """

    embedding: Any
    in_halves: bool
    unrotated: frozenset[int]
    modules: tuple[Any, ...]

    def undo(self, module: Any, states: Tensor, positions: range | Tensor) -> Tensor:
        """(heads, T, head_dim) states of a layer at T positions, as they were before their rotation."""
        if module.layer_idx in self.unrotated:
            return states
        cosines, sines = self._waves(module, states, positions)
        stretch = (cosines**2 + sines**2).mean()  # some models also scale what they rotate
        return self._rotate(module, states, cosines, -sines) / stretch

    def apply_mean(self, module: Any, states: Tensor, positions: range) -> Tensor:
        """(heads, T, head_dim) states of a layer before their rotation, rotated by the mean over ``positions``."""
        if module.layer_idx in self.unrotated:
            return states
        cosines, sines = self._waves(module, states, positions)
        return self._rotate(module, states, cosines.mean(dim=1, keepdim=True), sines.mean(dim=1, keepdim=True))

    def move(self, module: Any, states: Tensor, *, before: Tensor, after: Tensor) -> Tensor:
        """(heads, T, head_dim) float32 states of a layer at positions ``before`` (T,), rotated to positions ``after`` (T,)."""
        if module.layer_idx in self.unrotated:
            return states
        cosines, sines = self._waves(module, states, after)
        return self._rotate(module, self.undo(module, states, before), cosines, sines)

    def _waves(self, module: Any, states: Tensor, positions: range | Tensor) -> tuple[Tensor, Tensor]:
        """(1, T, rotated dimensions) cosines and sines of a layer, in float32."""
        if isinstance(positions, range):
            positions = torch.arange(positions.start, positions.stop, device=states.device)
        position_ids = positions[None]
        layer_type = {}
        if "layer_type" in inspect.signature(self.embedding.forward).parameters:
            layer_type = {"layer_type": module.config.layer_types[module.layer_idx]}
        cosines, sines = self.embedding(states, position_ids, **layer_type)
        return cosines, sines

    def _rotate(self, module: Any, states: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        """(heads, T, head_dim) states rotated by the model's own function, in the dimensions that it rotates.

        Cosines and sines are (1, T or 1, rotated dimensions), half as many in the last axis if ``in_halves``.
        """
        apply: Callable[..., Any] = vars(sys.modules[type(module).__module__])[_FUNCTION]
        n_rotated = cosines.shape[-1] * (2 if self.in_halves else 1)
        unrotated = states[None, ..., :n_rotated]
        takes_keys_too = "k" in inspect.signature(apply).parameters  # most do; Gemma 3n's and 4's take one tensor
        rotated = apply(unrotated, unrotated, cosines, sines)[0] if takes_keys_too else apply(unrotated, cosines, sines)
        return torch.cat([rotated[0], states[..., n_rotated:]], dim=-1)


def open_rotation(loaded: LoadedModel, n_positions: int, *, remedy: str) -> Rotation:
    """Find out how a model rotates, and check it on the model, once per model.

    A few tokens are run twice, at different positions. Before the rotation their queries are the same, so the rotation is
    known if undoing it gives the same queries both times.

    Parameters
    ----------
    loaded
        The model.
    n_positions
        Number of positions that will be asked for.
    remedy
        What an error proposes.

    Raises
    ------
    ModelError
        The model has no rotary embedding, or one that this version cannot undo.
    """
    decoder: Any = loaded.model.get_decoder()  # type: ignore[no-untyped-call]
    embedding = getattr(decoder, "rotary_emb", None)
    if embedding is None:
        raise _refusal(loaded, "has no rotary position embedding", remedy)
    if n_positions > (longest := longest_of_one_rotation(loaded)):
        raise _refusal(loaded, f"rotates differently beyond {longest:.0f} of {n_positions} positions", remedy)
    if loaded.model not in _checked:
        found = _check(loaded, embedding)
        if found is None:
            raise _refusal(loaded, "rotates its queries in a way that this version cannot undo", remedy)
        _checked[loaded.model] = found
    return _checked[loaded.model]


def _check(loaded: LoadedModel, embedding: Any) -> Rotation | None:
    ids = np.arange(_PROBE_TOKENS) % 7 + 1
    first, shifted = (
        by_layer(loaded, ids, lambda layer: (layer.module, layer.query), first_position=positions.start)
        for positions in _PROBE_POSITIONS
    )
    tolerance = _TOLERANCE if loaded.model.dtype.itemsize >= 4 else _HALF_PRECISION_TOLERANCE
    rotating = [
        (module, [query, again])
        for (module, query), (_, again) in zip(first, shifted, strict=True)
        if _difference(query, again) > tolerance
    ]
    unrotated = frozenset(range(len(first))) - {module.layer_idx for module, _ in rotating}
    for in_halves in (False, True):
        rotation = Rotation(embedding, in_halves, unrotated, tuple(module for module, _ in first))
        if all(_is_undone(rotation, module, queries, tolerance=tolerance) for module, queries in rotating):
            return rotation
    return None


def _refusal(loaded: LoadedModel, reason: str, remedy: str) -> ModelError:
    return ModelError(f"{loaded.id}: {type(loaded.model).__name__} {reason}; {remedy}")


def _is_undone(rotation: Rotation, module: Any, queries: list[Tensor], *, tolerance: float) -> bool:
    """Tell whether the queries (heads, T, head_dim) at both probes are the same once the rotation is undone."""
    if _FUNCTION not in vars(sys.modules[type(module).__module__]):
        return False
    try:
        undone = [rotation.undo(module, query, at) for query, at in zip(queries, _PROBE_POSITIONS, strict=True)]
    except (RuntimeError, TypeError, ValueError):  # the dimensions do not fit together, or the function wants something else
        return False
    return _difference(*undone) <= tolerance


def _difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / one.norm())
