"""Likelihood of a chain under deletions: by the fastest way that is right for the model."""

import math
from typing import Final

import numpy as np
import torch

from reasoning_anatomy.attention_interface import can_be_installed
from reasoning_anatomy.chain_likelihood import ChainLikelihood
from reasoning_anatomy.errors import SharingError
from reasoning_anatomy.full_likelihood import FullLikelihood
from reasoning_anatomy.models import LoadedModel
from reasoning_anatomy.shared_likelihood import SharedLikelihood
from reasoning_anatomy.types import EncodedChain

_SHARING_LAYERS: Final = {"full_attention", "sliding_attention"}
_ROTATIONS_BY_LENGTH: Final = {"dynamic", "longrope"}
_CPU_BUDGET: Final = 1024
_ACCELERATOR_BUDGET: Final = 16384
_CPU_STORE_BYTES: Final = 2**30


def open_likelihood(
    loaded: LoadedModel, chain: EncodedChain, *, token_budget: int | None = None, store_gib: float | None = None
) -> ChainLikelihood:
    """Make the likelihood of a chain under deletions.

    Parameters
    ----------
    loaded
        The model.
    chain
        Encoded for it.
    token_budget
        Tokens of one forward pass, halved whenever memory runs out; None takes 1024 on a CPU and 16384 on an
        accelerator.
    store_gib
        Memory for what candidates keep between deletions, in GiB; None takes 1 GiB on a CPU and half of what is free
        on an accelerator.

    Raises
    ------
    MeasurementError
        A likelihood is not a finite number, or memory does not suffice for a single candidate.
    """
    token_budget = tokens_per_pass(loaded, token_budget)
    if not shares_prefixes(loaded, len(chain.ids)):
        return FullLikelihood(loaded, chain, token_budget=token_budget)
    store_bytes = _free_bytes(loaded) if store_gib is None else int(store_gib * 2**30)
    return SharedLikelihood(loaded, chain, token_budget=token_budget, store_bytes=store_bytes)


def tokens_per_pass(loaded: LoadedModel, token_budget: int | None) -> int:
    """Tokens of one forward pass: as the user says, or what suits the device for None."""
    return token_budget or (_CPU_BUDGET if loaded.device.type == "cpu" else _ACCELERATOR_BUDGET)


def shares_prefixes(loaded: LoadedModel, n_tokens: int) -> bool:
    """Tell whether a token reaches later ones by attention alone, of a kind that sequences of ``n_tokens`` can share."""
    layer_types = getattr(loaded.text_config, "layer_types", None) or ["full_attention"]
    is_known = loaded.may_share and can_be_installed(loaded.model) and _SHARING_LAYERS.issuperset(layer_types)
    return is_known and n_tokens <= longest_of_one_rotation(loaded)


def longest_of_one_rotation(loaded: LoadedModel) -> float:
    """Length up to which every pass rotates its keys alike: some models rotate by the length of the sequence."""
    config = loaded.text_config
    parameters = getattr(config, "rope_parameters", None) or {}
    kinds = [parameters, *(kind for kind in parameters.values() if isinstance(kind, dict))]
    by_length = [kind for kind in kinds if kind.get("rope_type") in _ROTATIONS_BY_LENGTH]
    longest: float = getattr(config, "max_position_embeddings", math.inf)
    original = getattr(config, "original_max_position_embeddings", None) or longest
    return min((kind.get("original_max_position_embeddings") or original for kind in by_length), default=math.inf)


@torch.inference_mode()
def largest_likelihood_change(loaded: LoadedModel, chain: EncodedChain) -> float:
    """Largest change of a token's nll, in nats, between the model as it is and prefix sharing.

    Raises
    ------
    SharingError
        It is too large to be rounding: this model passes something from token to token that prefix sharing does not know.
    """
    expected = FullLikelihood(loaded, chain, token_budget=len(chain.ids)).token_logp()
    in_two_pieces = (len(chain.ids) + 1) // 2  # shows what passes from token to token outside the attention
    shared = SharedLikelihood(loaded, chain, token_budget=in_two_pieces, store_bytes=0)
    change = np.abs(shared.token_logp() - expected)
    tolerance = 1e-3 if loaded.model.dtype == torch.float32 else 0.1
    if not change.mean() <= tolerance:
        raise SharingError(
            f"{loaded.id}: sharing prefixes changes the nll of a token by {change.mean():.2g} nats on average, where at most "
            f"{tolerance} is rounding: the attention of {type(loaded.model).__name__} is of a kind that is not known here",
            change=float(change.mean()),
        )
    return float(change.max())


def _free_bytes(loaded: LoadedModel) -> int:
    if loaded.device.type != "cuda":
        return _CPU_STORE_BYTES
    free, _ = torch.cuda.mem_get_info(loaded.device)
    cached = torch.cuda.memory_reserved(loaded.device) - torch.cuda.memory_allocated(loaded.device)
    return (free + cached) // 2
