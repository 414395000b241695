"""Attention in a sequence, recorded in any reduction without ever holding a T x T matrix.

The model runs as it does without us. In addition, the weights of the observed queries are computed from the same queries and
keys, a block at a time, and reduced at once. Long sequences are run in chunks with a cache.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Final

import torch
from torch import Tensor
from transformers import DynamicCache

from reasoning_anatomy.attention.observation import Observation
from reasoning_anatomy.attention.recorder import Recorder
from reasoning_anatomy.errors import ModelError
from reasoning_anatomy.models.attention_interface import handling, installed
from reasoning_anatomy.models.capabilities import can_be_chunked
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.models.memory import with_smaller_chunks_on_oom
from reasoning_anatomy.models.passes import LAST_LOGITS
from reasoning_anatomy.types import Float32Array, IntArray

_TOKEN_BUDGET: Final = 4096
LEAST_CHUNK: Final = 64


def record(
    loaded: LoadedModel, ids: IntArray, observations: Sequence[Observation], *, token_budget: int | None = None
) -> list[Float32Array]:
    """Record the attention in one sequence, in a single run of the model for all observations.

    Parameters
    ----------
    loaded
        The model.
    ids
        (T,) the sequence.
    observations
        What to record.
    token_budget
        Tokens of one forward pass: a longer sequence is run in chunks with a cache, so that memory grows with T and
        not with its square; halved if memory runs out. None = 4096. Changes speed and memory, and the last digits of the
        numbers.

    Returns
    -------
    One float32 array per observation, shaped as in `Observation`; equal observations share one array. Weights are computed in
    float32, whatever the model's dtype. Layers without attention (of hybrid models) are NaN.

    Raises
    ------
    ModelError
        The model's attention cannot be recorded.
    """
    longest = min(longest_chunk(loaded, len(ids), token_budget), len(ids))
    least = LEAST_CHUNK if can_be_chunked(loaded, len(ids)) else len(ids)
    return with_smaller_chunks_on_oom(lambda length: _record(loaded, ids, observations, length), longest, least=least)


def longest_chunk(loaded: LoadedModel, n_tokens: int, token_budget: int | None = None) -> int:
    """Tokens of one forward pass over a sequence of ``n_tokens``: all of them if it cannot be chunked."""
    return tokens_per_chunk(token_budget) if can_be_chunked(loaded, n_tokens) else n_tokens


def tokens_per_chunk(token_budget: int | None) -> int:
    """Tokens of one forward pass if attention is recorded: as the user says, or 4096 for None."""
    return token_budget or _TOKEN_BUDGET


def _record(loaded: LoadedModel, ids: IntArray, observations: Sequence[Observation], chunk_length: int) -> list[Float32Array]:
    distinct = {observation.identity: observation for observation in observations}
    recorder = Recorder(list(distinct.values()), loaded.n_layers)
    last_logits(loaded, ids, chunk_length, recorder)
    if not recorder.layers:
        raise ModelError(
            f"{loaded.id}: no layer of {type(loaded.model).__name__} calls its attention through the interface of "
            "transformers, so none can be recorded; name scorers that record no attention: --scorers surprisal"
        )
    recorded = {identity: result.cpu().numpy() for identity, result in zip(distinct, recorder.results(), strict=True)}
    return [recorded[observation.identity] for observation in observations]


@torch.inference_mode()
def last_logits(loaded: LoadedModel, ids: IntArray, chunk_length: int, recorder: Recorder | None = None) -> Tensor:
    """Run a sequence (T,) in chunks of at most ``chunk_length`` tokens, recorded if a recorder is given.

    Returns
    -------
    (vocabulary,) logits after the last token, in float32.
    """
    inputs = torch.from_numpy(ids)[None].to(loaded.device)
    cache = DynamicCache(config=loaded.model.config) if len(ids) > chunk_length else None
    with installed(loaded.model) if recorder else nullcontext(), handling(recorder.attend) if recorder else nullcontext():
        for start in range(0, len(ids), chunk_length):
            chunk = inputs[:, start : start + chunk_length]
            if recorder is not None:
                recorder.begin_chunk(start, chunk.shape[1])
            output = loaded.model(
                input_ids=chunk, past_key_values=cache, use_cache=cache is not None, logits_to_keep=LAST_LOGITS
            )
    logits: Tensor = output.logits[0, -1].float()
    return logits
