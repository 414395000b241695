"""Attention in a sequence, recorded in any reduction without ever holding a T x T matrix.

The model runs as it does without us. Beside it, the weights of the queries that were asked for are computed from the same
queries and keys, a block at a time, and reduced at once. Long sequences are run in pieces with a cache.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Final

import torch
from torch import Tensor
from transformers import DynamicCache

from reasoning_anatomy.attention.observation import Observation
from reasoning_anatomy.attention.recorder import Recorder
from reasoning_anatomy.errors import ModelError
from reasoning_anatomy.models.attention_interface import handling, installed
from reasoning_anatomy.models.capabilities import longest_of_one_rotation
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.models.memory import halving
from reasoning_anatomy.types import Float32Array, IntArray

_TOKEN_BUDGET: Final = 4096
LEAST_BUDGET: Final = 64


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
    least = LEAST_BUDGET if can_be_cut else budget
    return halving(lambda n_tokens: _record(loaded, ids, observations, n_tokens), budget, least=least)


def pass_length(loaded: LoadedModel, n_tokens: int, token_budget: int | None = None) -> int:
    """Tokens of one forward pass of a sequence of ``n_tokens``: all of them where the model rotates keys by the length."""
    if n_tokens > longest_of_one_rotation(loaded):
        return n_tokens
    return token_budget or _TOKEN_BUDGET


def _record(loaded: LoadedModel, ids: IntArray, observations: Sequence[Observation], budget: int) -> list[Float32Array]:
    distinct = {observation.identity: observation for observation in observations}
    recorder = Recorder(list(distinct.values()), loaded.n_layers)
    last_logits(loaded, ids, budget, recorder)
    if missing := recorder.missing_layers:
        raise ModelError(
            f"{loaded.id}: layer {missing[0]} of {loaded.n_layers} does not let its attention be recorded; models with "
            "recurrent or linear-attention layers cannot be measured so; name scorers that record no attention: "
            "--scorers surprisal"
        )
    recorded = {identity: result.cpu().numpy() for identity, result in zip(distinct, recorder.results(), strict=True)}
    return [recorded[observation.identity] for observation in observations]


@torch.inference_mode()
def last_logits(loaded: LoadedModel, ids: IntArray, budget: int, recorder: Recorder | None = None) -> Tensor:
    """Run a sequence (T,) in forward passes of at most ``budget`` tokens, recorded where a recorder is given.

    Returns
    -------
    (vocabulary,) logits after the last token, in float32.
    """
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
