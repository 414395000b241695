"""Check that writing many samples at a time does not change what the model computes: against its own `generate`."""

import warnings
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig

from reasoning_anatomy.errors import ModelError
from reasoning_anatomy.eviction.nothing import Nothing
from reasoning_anatomy.generation.batch import Sample
from reasoning_anatomy.generation.contexts import Context, ContextReader
from reasoning_anatomy.generation.decoding import Decoder
from reasoning_anatomy.generation.evicting import Evictor
from reasoning_anatomy.generation.stopping import StopRules
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.finite import LOGITS, not_finite
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.types import IntArray

_N_TOKENS: Final = 8
_TOLERANCE: Final = 1e-4  # of the largest logit, in float32
_TOLERANCE_OF_ROUNDING: Final = 0.1


def check_decoding(
    loaded: LoadedModel, contexts: Iterable[IntArray], *, evicts_with: ChainEncoder | None = None
) -> dict[str, float]:
    """Compare as `largest_decoding_change` does on the shortest of the contexts that the model can read.

    Returns
    -------
    The result by its name in the manifest; nothing, and a warning, if the model can read none of them.
    """
    shortest_first = sorted(contexts, key=len)
    for ids in shortest_first:
        change = largest_decoding_change(loaded, ids, evicts_with=evicts_with)
        if change is not None:
            return {"decoding_changes_logits_by": change}
    what = f"{loaded.id}: how it writes could be checked on none of {len(shortest_first)} contexts"
    warnings.warn(f"{what}; {not_finite(LOGITS, loaded.model.dtype)}", UserWarning, stacklevel=2)
    return {}


def largest_decoding_change(loaded: LoadedModel, ids: IntArray, *, evicts_with: ChainEncoder | None = None) -> float | None:
    """Largest difference between the logits of samples that are written together and those of ``model.generate``.

    Two contexts, which begin alike and differ in length, go on for 8 tokens, those that ``generate`` finds most likely there.

    Parameters
    ----------
    loaded
        The model.
    ids
        (T,) of the longer context; the other is its first half.
    evicts_with
        Encoder of the prompts, if samples are written as under an eviction policy; it evicts nothing here.

    Returns
    -------
    As a share of the largest logit; 0 = no difference. None if logits are not finite numbers, so that nothing can be compared.

    Raises
    ------
    ModelError
        It exceeds 1e-4 in float32, or a tenth in half precision and in 4 or 8 bits, whose rounding depends on the other rows.
    """
    contexts = [ids, ids[: max(1, len(ids) // 2)]]
    expected = [_generated(loaded, context) for context in contexts]
    found: dict[int, list[Tensor]] = {number: [] for number in range(len(contexts))}

    def follow(logits: Tensor, samples: Sequence[Sample[int]]) -> IntArray:
        for row, sample in zip(logits, samples, strict=True):
            found[sample.key].append(row)
        return np.array([expected[sample.key][0][len(sample.ids)] for sample in samples])

    rules = StopRules(ends_of_turn=frozenset(), loop_tokens=0)
    evictor = None
    if evicts_with is not None:
        evictor = Evictor(loaded, Nothing(), evicts_with, n_positions=len(ids) + _N_TOKENS)
    decoder = Decoder[int](loaded, choose=follow, rules=rules, n_rows=len(contexts), evictor=evictor)
    opened = ContextReader(loaded, keeps_all=evictor is not None).read([Context(context) for context in contexts])
    together = [(context, [Sample(number, 0, len(expected[number][0]))]) for number, context in opened]
    if any(sample.finish_reason == "not_finite" for sample in list(decoder.write(together))):
        return None
    changes = [
        float((torch.stack(found[number]) - logits).abs().max() / logits.abs().max().clamp_min(1e-30))
        for number, (_, logits) in enumerate(expected)
    ]
    is_exact = loaded.model.dtype == torch.float32 and loaded.quantization is None
    tolerance = _TOLERANCE if is_exact else _TOLERANCE_OF_ROUNDING
    if not max(changes) <= tolerance:
        raise ModelError(
            f"{loaded.id}: writing samples from a shared cache changes the logits by {max(changes):.2g} of the largest, but "
            f"rounding explains at most {tolerance:.2g}; {type(loaded.model).__name__} cannot be sampled by this "
            "version, so let a server sample it: --url"
        )
    return max(changes)


@torch.inference_mode()
def _generated(loaded: LoadedModel, ids: IntArray) -> tuple[list[int], Tensor]:
    """Let ``generate`` go on greedily behind ``ids`` (T,). -> its ids, and the logits (tokens, vocabulary) that it saw."""
    model: Any = loaded.model
    make: Any = GenerationConfig
    batch = torch.from_numpy(ids)[None].to(loaded.device)
    plain = make(do_sample=False, max_new_tokens=_N_TOKENS, output_logits=True, return_dict_in_generate=True)
    plain.pad_token_id = plain.eos_token_id = None
    output = model.generate(batch, attention_mask=torch.ones_like(batch), generation_config=plain)
    return output.sequences[0, len(ids) :].tolist(), torch.cat(output.logits).float()
