"""Checks, on the first chain to be measured, that measuring does not change what the model computes."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
import torch
from torch import Tensor

from reasoning_anatomy.attention.observation import Observation
from reasoning_anatomy.attention.recorder import Recorder
from reasoning_anatomy.attention.recording import LEAST_CHUNK, last_logits, longest_chunk, tokens_per_chunk
from reasoning_anatomy.errors import MeasurementError, ModelError, SharingError
from reasoning_anatomy.importance import RecordsAttention, RefusesModels
from reasoning_anatomy.likelihood.full import FullLikelihood
from reasoning_anatomy.likelihood.shared import SharedLikelihood
from reasoning_anatomy.models.attention_interface import IMPLEMENTATION
from reasoning_anatomy.models.capabilities import shares_prefixes
from reasoning_anatomy.models.finite import LOGITS, not_finite
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.models.memory import naming_chain, with_smaller_chunks_on_oom
from reasoning_anatomy.pipeline.plan import Plan
from reasoning_anatomy.pipeline.recorded_weights import largest_weight_difference
from reasoning_anatomy.plugins import load
from reasoning_anatomy.pruning import ForeseesCost, UsesScorer
from reasoning_anatomy.types import EncodedChain

_RECORDING_TOLERANCE: Final = 1e-6  # of the largest logit, in float32
_OTHER_FUNCTION_TOLERANCE: Final = 1e-5
_PIECES_TOLERANCE: Final = 1e-4
_ROUNDING_OF_HALF_PRECISION: Final = 0.1


def refusals(loaded: LoadedModel, plan: Plan, chains: Sequence[EncodedChain]) -> dict[str, Exception]:
    """Ask the scorers of a plan whether they are valid for a model, on the first of the chains that each can read.

    Returns
    -------
    label -> why the scorer refuses the model, or cannot tell because it crashed.
    """
    asked = {label: scorer for label, scorer in plan.scorers.items() if isinstance(scorer, RefusesModels)}
    refused = {label: _refusal(scorer, loaded, chains) for label, scorer in asked.items()}
    return {label: error for label, error in refused.items() if error is not None}


def _refusal(scorer: RefusesModels, loaded: LoadedModel, chains: Sequence[EncodedChain]) -> Exception | None:
    for chain in chains:
        try:
            with naming_chain(chain.chain_id):
                scorer.expect_model(loaded, chain)
        except MeasurementError:
            continue
        except Exception as error:
            return error
        return None
    return None


def check_model(loaded: LoadedModel, plan: Plan, chains: Sequence[EncodedChain]) -> tuple[LoadedModel, dict[str, float]]:
    """Verify a model, as far as a plan uses it, on the first of the chains that it can read.

    Returns
    -------
    The model, restricted to whole forward passes if sharing prefixes changes its likelihoods, and the results of the checks
    by their names in the manifest; no results, and a warning, if the model can read none of the chains.

    Raises
    ------
    ModelError
        Its attention cannot be recorded.
    """
    unread: list[MeasurementError] = []
    for chain in chains:
        try:
            with naming_chain(chain.chain_id):
                results = {name: check(loaded, chain) for name, check in _checks_of_recording(loaded, plan, chains).items()}
                return _check_sharing(loaded, chain, results) if _asks_to_share(loaded, plan, chains) else (loaded, results)
        except MeasurementError as error:
            unread.append(error)
    if unread:
        warnings.warn(f"{loaded.id}: could be checked on none of {len(unread)} chains; {unread[0]}", UserWarning, stacklevel=2)
    return loaded, {}


def expect_one_device(loaded: LoadedModel) -> None:
    """Raise `ModelError` if the weights of a model are spread over several devices."""
    devices = sorted({str(parameter.device) for parameter in loaded.model.parameters()})
    if len(devices) > 1:
        raise ModelError(
            f"{loaded.id}: its weights are spread over {', '.join(devices)}, and this version measures a model on one device; "
            "hold it in fewer bits (--dtype bfloat16, --quantize 4bit), or take a device with more memory"
        )


def _checks_of_recording(
    loaded: LoadedModel, plan: Plan, chains: Sequence[EncodedChain]
) -> dict[str, Callable[[LoadedModel, EncodedChain], float]]:
    of_strategies = [
        load("scorer", strategy.scorer) for strategy in plan.strategies.values() if isinstance(strategy, UsesScorer)
    ]
    recording = [scorer for scorer in [*plan.scorers.values(), *of_strategies] if isinstance(scorer, RecordsAttention)]
    if not recording:
        return {}
    shortest = min(tokens_per_chunk(scorer.token_budget) for scorer in recording)
    checks: dict[str, Callable[[LoadedModel, EncodedChain], float]] = {
        "recording_changes_logits_by": partial(largest_logit_change, token_budget=shortest),
    }
    runs_in_pieces = any(len(chain.ids) > longest_chunk(loaded, len(chain.ids), shortest) for chain in chains)
    checks["recorded_weights_differ_from_eager_by"] = partial(largest_weight_difference, in_pieces=runs_in_pieces)
    if runs_in_pieces:
        checks["running_in_pieces_changes_logits_by"] = partial(largest_chunking_change, token_budget=shortest)
    return checks


def _asks_to_share(loaded: LoadedModel, plan: Plan, chains: Sequence[EncodedChain]) -> bool:
    deletes = bool(plan.strategies) or any(isinstance(scorer, ForeseesCost) for scorer in plan.scorers.values())
    return deletes and all(shares_prefixes(loaded, len(chain.ids)) for chain in chains)


def _check_sharing(loaded: LoadedModel, chain: EncodedChain, results: dict[str, float]) -> tuple[LoadedModel, dict[str, float]]:
    try:
        return loaded, {**results, "prefix_sharing_changes_nll_by": largest_likelihood_change(loaded, chain)}
    except ModelError as error:
        warnings.warn(
            f"{error}. Chains are pruned by whole forward passes instead, which is exact but slower", UserWarning, stacklevel=2
        )
        change = {"prefix_sharing_would_change_nll_by": error.change} if isinstance(error, SharingError) else {}
        return replace(loaded, may_share=False), {**results, **change}


def largest_logit_change(loaded: LoadedModel, chain: EncodedChain, *, token_budget: int | None = None) -> float:
    """Largest change that recording makes to the last token's logits, as a share of the largest logit (0 = no change).

    The model is run in chunks of the same length with and without the recorder; if memory runs out, on the first tokens of
    the chain only.

    Raises
    ------
    ModelError
        The change is too large. A model that attends by scaled-dot-product attention runs the same function on the same
        numbers: at most 1e-6 in float32, and 0 in half precision. A model that attends by another function (eager, a block of
        queries at a time) may differ by rounding: at most 1e-5 in float32, and a tenth in half precision.
    MeasurementError
        The model's logits are not finite numbers.
    """
    has_same_function = loaded.model.config._attn_implementation in ("sdpa", IMPLEMENTATION)
    in_full = _RECORDING_TOLERANCE if has_same_function else _OTHER_FUNCTION_TOLERANCE
    in_half = 0.0 if has_same_function else _ROUNDING_OF_HALF_PRECISION
    tolerance = in_full if loaded.model.dtype == torch.float32 else in_half

    def change(n_tokens: int) -> float:
        ids, budget = chain.ids[:n_tokens], longest_chunk(loaded, n_tokens, token_budget)
        last = Observation(reduction="sum", queries=np.array([len(ids) - 1]), keys=range(len(ids)))
        recorded = last_logits(loaded, ids, budget, Recorder([last], loaded.n_layers))
        plain = last_logits(loaded, ids, budget)
        return _expect_rounding(loaded, chain, plain, recorded, tolerance, "recording its attention")

    return with_smaller_chunks_on_oom(change, len(chain.ids), least=LEAST_CHUNK)


def largest_chunking_change(loaded: LoadedModel, chain: EncodedChain, *, token_budget: int | None = None) -> float:
    """Largest change of the last token's logits if one pass is split into two chunks, as a share of the largest logit.

    Raises
    ------
    ModelError
        It exceeds 1e-4 in float32, or a tenth in half precision and in 4 or 8 bits, whose rounding depends on the other tokens
        of the pass. Chunks only split sums over keys differently, so a larger change is not rounding.
    MeasurementError
        As for `largest_logit_change`.
    """
    is_exact = loaded.model.dtype == torch.float32 and loaded.quantization is None
    tolerance = _PIECES_TOLERANCE if is_exact else _ROUNDING_OF_HALF_PRECISION

    def change(n_tokens: int) -> float:
        ids = chain.ids[:n_tokens]
        whole = last_logits(loaded, ids, n_tokens)
        in_two = last_logits(loaded, ids, longest_chunk(loaded, n_tokens, (n_tokens + 1) // 2))
        return _expect_rounding(loaded, chain, whole, in_two, tolerance, "running a chain in chunks")

    n_tokens = min(longest_chunk(loaded, len(chain.ids), token_budget), len(chain.ids))
    return with_smaller_chunks_on_oom(change, n_tokens, least=LEAST_CHUNK)


def _expect_rounding(
    loaded: LoadedModel, chain: EncodedChain, plain: Tensor, changed: Tensor, tolerance: float, what: str
) -> float:
    if not plain.isfinite().all():
        reason = not_finite(LOGITS, loaded.model.dtype)
        raise MeasurementError(chain.chain_id, reason)
    change = float((plain - changed).abs().max() / plain.abs().max().clamp_min(torch.finfo(plain.dtype).tiny))
    if not change <= tolerance:
        raise ModelError(
            f"{loaded.id}: {what} changes the logits by {change:.2g} of the largest, but rounding explains at most "
            f"{tolerance:.2g}; the attention of {type(loaded.model).__name__} cannot be recorded by this version; load it with "
            "attn_implementation='sdpa' if it was not, or name scorers that record no attention: --scorers surprisal"
        )
    return change


@torch.inference_mode()
def largest_likelihood_change(loaded: LoadedModel, chain: EncodedChain) -> float:
    """Largest change of a token's nll, in nats, between the model as it is and prefix sharing.

    Raises
    ------
    SharingError
        It is too large to be rounding: this model passes something from token to token that prefix sharing does not know.
    """
    expected = FullLikelihood(loaded, chain, token_budget=len(chain.ids)).token_logp()
    half = (len(chain.ids) + 1) // 2  # two chunks show what passes from token to token outside the attention
    shared = SharedLikelihood(loaded, chain, token_budget=half, store_bytes=0)
    change = np.abs(shared.token_logp() - expected)
    tolerance = 1e-3 if loaded.model.dtype == torch.float32 else 0.1
    if not change.mean() <= tolerance:
        raise SharingError(
            f"{loaded.id}: sharing prefixes changes the nll of a token by {change.mean():.2g} nats on average, but rounding "
            f"explains at most {tolerance}: this version does not know the attention of {type(loaded.model).__name__}",
            change=float(change.mean()),
        )
    return float(change.max())
