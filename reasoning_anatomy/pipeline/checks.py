"""Is the model measured right? Seen on a chain of the run before any is measured."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from reasoning_anatomy.attention.recording import largest_chunking_change, largest_logit_change, pass_length
from reasoning_anatomy.errors import MeasurementError, SharingError
from reasoning_anatomy.likelihood.opening import largest_likelihood_change
from reasoning_anatomy.models.capabilities import shares_prefixes
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.models.memory import naming_chain
from reasoning_anatomy.pipeline.plan import Plan
from reasoning_anatomy.types import EncodedChain


def check_model(loaded: LoadedModel, plan: Plan, chains: Sequence[EncodedChain]) -> tuple[LoadedModel, dict[str, float]]:
    """Verify a model, as far as a plan uses it, on the first of the chains that it can read at all.

    Returns
    -------
    The model, held to whole forward passes where sharing prefixes changes its likelihoods, and what was found by the name
    that it has in the manifest; nothing where the model can read none of the chains.

    Raises
    ------
    ModelError
        Its attention cannot be recorded, or a scorer refuses it.
    """
    for chain in chains:
        try:
            with naming_chain(chain.chain_id):
                for scorer in plan.scorers.values():
                    if hasattr(scorer, "expect_model"):
                        scorer.expect_model(loaded, chain)
                found = {name: check(loaded, chain) for name, check in _checks_of_recording(loaded, plan, chains).items()}
                return _check_sharing(loaded, chain, found) if _asks_to_share(loaded, plan, chains) else (loaded, found)
        except MeasurementError:
            continue
    return loaded, {}


def _checks_of_recording(
    loaded: LoadedModel, plan: Plan, chains: Sequence[EncodedChain]
) -> dict[str, Callable[[LoadedModel, EncodedChain], float]]:
    recording = [scorer for scorer in plan.scorers.values() if getattr(scorer, "records_attention", False)]
    if not recording:
        return {}
    shortest = min(pass_length(loaded, 0, scorer.token_budget) for scorer in recording)
    checks: dict[str, Callable[[LoadedModel, EncodedChain], float]] = {
        "recording_changes_logits_by": partial(largest_logit_change, token_budget=shortest)
    }
    if any(len(chain.ids) > pass_length(loaded, len(chain.ids), shortest) for chain in chains):
        checks["running_in_pieces_changes_logits_by"] = partial(largest_chunking_change, token_budget=shortest)
    return checks


def _asks_to_share(loaded: LoadedModel, plan: Plan, chains: Sequence[EncodedChain]) -> bool:
    asks = any(getattr(strategy, "asks_likelihood", True) for strategy in plan.strategies.values())
    return asks and all(shares_prefixes(loaded, len(chain.ids)) for chain in chains)


def _check_sharing(loaded: LoadedModel, chain: EncodedChain, found: dict[str, float]) -> tuple[LoadedModel, dict[str, float]]:
    try:
        return loaded, {**found, "prefix_sharing_changes_nll_by": largest_likelihood_change(loaded, chain)}
    except SharingError as error:
        warnings.warn(f"{error}. It is pruned by whole forward passes instead: right, and slower", UserWarning, stacklevel=2)
        return replace(loaded, may_share=False), {**found, "prefix_sharing_would_change_nll_by": error.change}
