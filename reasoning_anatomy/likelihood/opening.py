"""Likelihood of a chain under deletions: by the fastest way that is right for the model."""

import numpy as np
import torch

from reasoning_anatomy.errors import SharingError
from reasoning_anatomy.likelihood.base import ChainLikelihood
from reasoning_anatomy.likelihood.full import FullLikelihood
from reasoning_anatomy.likelihood.shared import SharedLikelihood
from reasoning_anatomy.models.capabilities import free_bytes, shares_prefixes, tokens_per_pass
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.types import EncodedChain


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
    store_bytes = free_bytes(loaded) if store_gib is None else int(store_gib * 2**30)
    return SharedLikelihood(loaded, chain, token_budget=token_budget, store_bytes=store_bytes)


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
