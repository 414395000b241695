"""Likelihood of a chain under deletions: by the fastest way that is right for the model."""

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
        A chain encoded for it.
    token_budget
        Tokens of one forward pass, halved whenever memory runs out; None = 1024 on a CPU and 16384 on an accelerator.
    store_gib
        Memory for the keys and values that candidates keep between deletions, in GiB; None = 1 GiB on a CPU and half of what
        is free on an accelerator.

    Raises
    ------
    MeasurementError
        A likelihood is not a finite number, or there is too little memory for a single candidate.
    """
    token_budget = tokens_per_pass(loaded, token_budget)
    if not shares_prefixes(loaded, len(chain.ids)):
        return FullLikelihood(loaded, chain, token_budget=token_budget)
    store_bytes = free_bytes(loaded) if store_gib is None else int(store_gib * 2**30)
    return SharedLikelihood(loaded, chain, token_budget=token_budget, store_bytes=store_bytes)
