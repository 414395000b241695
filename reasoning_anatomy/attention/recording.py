"""Attention in a sequence, recorded in any reduction without ever holding a T x T matrix.

The model runs as it does without us. Beside it, the weights of the queries that were asked for are computed from the same
queries and keys, a block at a time, and reduced at once. Long sequences are run in pieces with a cache.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Final

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from reasoning_anatomy.attention.observation import Observation
from reasoning_anatomy.attention.recorder import Recorder
from reasoning_anatomy.errors import MeasurementError, ModelError
from reasoning_anatomy.models.attention_interface import IMPLEMENTATION, handling, installed
from reasoning_anatomy.models.capabilities import longest_of_one_rotation
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.models.memory import halving
from reasoning_anatomy.types import EncodedChain, Float32Array, IntArray

_TOKEN_BUDGET: Final = 4096
_LEAST_BUDGET: Final = 64
_RECORDING_TOLERANCE: Final = 1e-6  # of the largest logit, in float32
_OTHER_FUNCTION_TOLERANCE: Final = 1e-5
_PIECES_TOLERANCE: Final = 1e-4
_ROUNDING_OF_HALF_PRECISION: Final = 0.1


def record(
    loaded: LoadedModel, ids: IntArray, observations: Sequence[Observation], *, token_budget: int | None = None
) -> list[Float32Array]:
    """Record the attention in one sequence, in one run of the model whatever the number of observations.

    Parameters
    ----------
    loaded
        The model.
    ids
        (T,) the sequence.
    observations
        What to record.
    token_budget
        Tokens of one forward pass: a longer sequence is run in pieces with a cache, so that memory grows with T and
        not with its square; halved when memory runs out. None takes 4096. Changes speed and memory, and numbers in the
        last digits.

    Returns
    -------
    One float32 array per observation, the same one for observations that are alike; see `Observation` for shapes. Weights
    are computed in float32 whatever the model's dtype.

    Raises
    ------
    ModelError
        The model's attention cannot be recorded.
    """
    budget = min(pass_length(loaded, len(ids), token_budget), len(ids))
    can_be_cut = pass_length(loaded, len(ids), 1) == 1
    least = _LEAST_BUDGET if can_be_cut else budget
    return halving(lambda n_tokens: _record(loaded, ids, observations, n_tokens), budget, least=least)


def pass_length(loaded: LoadedModel, n_tokens: int, token_budget: int | None = None) -> int:
    """Tokens of one forward pass of a sequence of ``n_tokens``: all of them where the model rotates keys by the length."""
    if n_tokens > longest_of_one_rotation(loaded):
        return n_tokens
    return token_budget or _TOKEN_BUDGET


def largest_logit_change(loaded: LoadedModel, chain: EncodedChain, *, token_budget: int | None = None) -> float:
    """Largest change of the last token's logits that recording makes, as a share of the largest logit (0 = it only looks on).

    The model is run in pieces of the same length with the recorder and without; where memory does not suffice, with the
    first tokens of the chain.

    Raises
    ------
    ModelError
        Where the model attends by scaled-dot-product attention, the same function gets the same numbers: it exceeds 1e-6 in
        float32 or is not 0 in half precision. A model that attends by another function (eager, some queries at a time) may
        differ by rounding: it exceeds 1e-5 in float32 or a tenth in half precision.
    MeasurementError
        The model gives the chain logits that are not finite numbers.
    """
    has_same_function = loaded.model.config._attn_implementation in ("sdpa", IMPLEMENTATION)
    in_full = _RECORDING_TOLERANCE if has_same_function else _OTHER_FUNCTION_TOLERANCE
    in_half = 0.0 if has_same_function else _ROUNDING_OF_HALF_PRECISION
    tolerance = in_full if loaded.model.dtype == torch.float32 else in_half

    def change(n_tokens: int) -> float:
        ids, budget = chain.ids[:n_tokens], pass_length(loaded, n_tokens, token_budget)
        last = Observation(reduction="sum", queries=np.array([len(ids) - 1]), keys=range(len(ids)))
        recorded = _last_logits(loaded, ids, budget, Recorder([last], loaded.n_layers))
        plain = _last_logits(loaded, ids, budget)
        return _expect_rounding(loaded, chain, plain, recorded, tolerance, "recording its attention")

    return halving(change, len(chain.ids), least=_LEAST_BUDGET)


def largest_chunking_change(loaded: LoadedModel, chain: EncodedChain, *, token_budget: int | None = None) -> float:
    """Largest change of a token's logits where what fits into one pass is run in two pieces, as a share of the largest logit.

    Raises
    ------
    ModelError
        It exceeds 1e-4 in float32 or a tenth in half precision and in 4 or 8 bits, whose rounding depends on the other tokens
        of the pass: sums over keys are split otherwise, and no more.
    MeasurementError
        As for `largest_logit_change`.
    """
    is_exact = loaded.model.dtype == torch.float32 and loaded.quantization is None
    tolerance = _PIECES_TOLERANCE if is_exact else _ROUNDING_OF_HALF_PRECISION

    def change(n_tokens: int) -> float:
        ids = chain.ids[:n_tokens]
        whole = _last_logits(loaded, ids, n_tokens)
        in_two = _last_logits(loaded, ids, pass_length(loaded, n_tokens, (n_tokens + 1) // 2))
        return _expect_rounding(loaded, chain, whole, in_two, tolerance, "running a chain in pieces")

    n_tokens = min(pass_length(loaded, len(chain.ids), token_budget), len(chain.ids))
    return halving(change, n_tokens, least=_LEAST_BUDGET)


def _expect_rounding(
    loaded: LoadedModel, chain: EncodedChain, plain: Tensor, changed: Tensor, tolerance: float, what: str
) -> float:
    if not plain.isfinite().all():
        raise MeasurementError(chain.chain_id, "the model gives logits that are not finite numbers; try --dtype float32")
    change = float((plain - changed).abs().max() / plain.abs().max().clamp_min(torch.finfo(plain.dtype).tiny))
    if not change <= tolerance:
        raise ModelError(
            f"{loaded.id}: {what} changes the logits by {change:.2g} of the largest, where at most {tolerance:.2g} is "
            f"rounding; the attention of {type(loaded.model).__name__} cannot be recorded by this version; load it with "
            "attn_implementation='sdpa' if it was not, or name scorers that record no attention: --scorers surprisal"
        )
    return change


def _record(loaded: LoadedModel, ids: IntArray, observations: Sequence[Observation], budget: int) -> list[Float32Array]:
    distinct = {observation.identity: observation for observation in observations}
    recorder = Recorder(list(distinct.values()), loaded.n_layers)
    _last_logits(loaded, ids, budget, recorder)
    if missing := recorder.missing_layers:
        raise ModelError(
            f"{loaded.id}: layer {missing[0]} of {loaded.n_layers} does not let its attention be recorded; models with "
            "recurrent or linear-attention layers cannot be measured so; name scorers that record no attention: "
            "--scorers surprisal"
        )
    recorded = {identity: result.cpu().numpy() for identity, result in zip(distinct, recorder.results(), strict=True)}
    return [recorded[observation.identity] for observation in observations]


@torch.inference_mode()
def _last_logits(loaded: LoadedModel, ids: IntArray, budget: int, recorder: Recorder | None = None) -> Tensor:
    """(vocabulary,) logits after the last token, in forward passes of at most ``budget`` tokens."""
    inputs = torch.from_numpy(ids)[None].to(loaded.device)
    cache = DynamicCache(config=loaded.model.config) if len(ids) > budget else None
    with _recording(loaded, recorder):
        for start in range(0, len(ids), budget):
            if recorder is not None:
                recorder.start = start
            piece = inputs[:, start : start + budget]
            output = loaded.model(input_ids=piece, past_key_values=cache, use_cache=cache is not None, logits_to_keep=1)
    logits: Tensor = output.logits[0, -1].float()
    return logits


@contextmanager
def _recording(loaded: LoadedModel, recorder: Recorder | None) -> Iterator[None]:
    with installed(loaded.model) if recorder else nullcontext(), handling(recorder.attend) if recorder else nullcontext():
        yield
