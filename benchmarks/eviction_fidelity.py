"""How exactly eviction does what it says, on small random models of several families: largest change of a logit or a key.

``nothing``: logits under a policy that evicts nothing against those of ``model.generate``. ``keep``: against one pass over the
whole text under a 4-D mask, in which tokens read after an eviction do not see what is gone. ``reprefill``: against a new pass
over the ids that are left. ``twice``: keys rotated by two evictions against keys rotated by one of both. ``probe``: logits
after probes against logits without. All of them in a batch of texts of several lengths, as a share of the largest value.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import numpy as np
import torch
import tyro
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

from benchmarks._models import Dtype
from reasoning_anatomy.eviction import Eviction, EvictionPolicy, Moment, Positions, Writing
from reasoning_anatomy.eviction.nothing import Nothing
from reasoning_anatomy.generation.batch import Batch, Sample, begun, joined
from reasoning_anatomy.generation.completion import Sampling
from reasoning_anatomy.generation.contexts import Context, ContextReader, keys_and_values
from reasoning_anatomy.generation.decoding import Decoder, sampler
from reasoning_anatomy.generation.evicting import Evictor
from reasoning_anatomy.generation.stopping import StopRules
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import LoadedModel, ModelSpec, load_tokenizer
from reasoning_anatomy.transcripts import EvictionTranscript
from reasoning_anatomy.types import IntArray

FAMILIES: Final = ("llama", "qwen2", "qwen3", "mistral", "gemma3_text")
"""Mistral and Gemma 3 with windows of 7 and 6 tokens."""
_SHAPE: Final = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 8, "max_position_embeddings": 512, "initializer_range": 0.3,
}  # fmt: skip
_WINDOWS: Final = {"mistral": 7, "gemma3_text": 6}
N_WRITTEN: Final = 24
SCRIPT: Final = {6: (3, 5, 6, 10), 13: (2, 8, 11, 12, 16)}
"""What is evicted when so many tokens have been written."""


@dataclass(frozen=True, kw_only=True)
class Scripted:
    """Evicts given tokens of the sequence when so many tokens have been written.

    Attributes
    ----------
    script
        Tokens by number of tokens written.
    """

    script: dict[int, tuple[int, ...]]
    positions: Positions = "keep"
    steps: str = "cue_words"
    per_head: ClassVar[bool] = False

    def at(self, threshold: float) -> "Scripted":
        """Make the same policy."""
        return self

    def is_due(self, writing: Writing) -> bool:
        """Tell whether the script says so."""
        return writing.n_written in self.script

    def evict(self, moment: Moment) -> Eviction:
        """Choose what the script says."""
        return _evicted(moment, self.script[moment.writing.n_written])


def _evicted(moment: Moment, gone: Sequence[int]) -> Eviction:
    return Eviction(torch.isin(moment.index, torch.tensor(gone, device=moment.index.device)))


@dataclass(frozen=True, kw_only=True)
class ScriptedProbe(Scripted):
    """The same, with a probe."""

    probe: str = "Stop here."


@dataclass(frozen=True)
class Written:
    """What was written behind each of some contexts: ids, logits (tokens, vocabulary), transcripts; by number."""

    ids: dict[int, list[int]] = field(default_factory=dict)
    logits: dict[int, Tensor] = field(default_factory=dict)
    transcripts: dict[int, EvictionTranscript] = field(default_factory=dict)


def written(
    loaded: LoadedModel,
    policy: EvictionPolicy,
    contexts: Sequence[IntArray],
    n_tokens: int | Sequence[int] = N_WRITTEN,
    *,
    n_rows: int = 8,
    sampling: Sampling | None = None,
    only: Sequence[int] | None = None,
) -> Written:
    """Write behind contexts, or behind some of them, in one batch; greedily unless said otherwise."""
    lengths = [n_tokens] * len(contexts) if isinstance(n_tokens, int) else list(n_tokens)
    most = max(len(ids) + length for ids, length in zip(contexts, lengths, strict=True))
    evictor = Evictor(loaded, policy, ChainEncoder(loaded.tokenizer), n_positions=most)
    choose = sampler(sampling or Sampling(temperature=0))
    seen: dict[int, list[Tensor]] = {number: [] for number in range(len(contexts))}

    def watch(logits: Tensor, samples: Sequence[Sample[int]]) -> IntArray:
        for row, sample in zip(logits, samples, strict=True):
            seen[sample.key].append(row.clone())
        return choose(logits, samples)

    rules = StopRules(ends_of_turn=frozenset(), loop_tokens=0)
    decoder = Decoder[int](loaded, choose=watch, rules=rules, n_rows=n_rows, evictor=evictor)
    reader = ContextReader(loaded, keeps_all=True)
    opened = (
        (reader.open(Context(ids)), [Sample(number, 7 + number, lengths[number])])
        for number, ids in enumerate(contexts)
        if only is None or number in only
    )
    found = Written()
    for sample in decoder.write(opened):
        found.ids[sample.key] = sample.ids
        found.logits[sample.key] = torch.stack(seen[sample.key])
        found.transcripts[sample.key] = evictor.transcript(sample)
    return found


def generated(loaded: LoadedModel, ids: IntArray, n_tokens: int = N_WRITTEN) -> tuple[list[int], Tensor]:
    """Let ``generate`` go on greedily behind ids (T,). -> its ids, and the logits (tokens, vocabulary) that it saw."""
    model, make = _any(loaded.model), _any(GenerationConfig)
    config = make(do_sample=False, max_new_tokens=n_tokens, output_logits=True, return_dict_in_generate=True)
    config.eos_token_id = config.pad_token_id = None
    batch = torch.tensor(ids, device=loaded.device)[None]
    before, model.generation_config.eos_token_id = model.generation_config.eos_token_id, None
    try:
        output = model.generate(batch, attention_mask=torch.ones_like(batch), generation_config=config)
    finally:
        model.generation_config.eos_token_id = before
    return output.sequences[0, len(ids) :].tolist(), torch.cat(output.logits).float()


@torch.inference_mode()
def full_pass(loaded: LoadedModel, ids: IntArray, visible: Tensor) -> Tensor:
    """Logits (T, vocabulary) of one pass in which token i sees j if ``visible[i, j]`` and the layer's window allows it."""
    model = _any(loaded.model)
    seen = {"full_attention": visible}
    if window := getattr(model.config, "sliding_window", None):
        distance = torch.arange(len(ids))[:, None] - torch.arange(len(ids))
        seen["sliding_attention"] = visible & (distance < window)
    lowest = torch.finfo(model.dtype).min
    masks = {
        kind: torch.zeros(len(ids), len(ids), dtype=model.dtype).masked_fill(~mask, lowest)[None, None].to(loaded.device)
        for kind, mask in seen.items()
    }
    by_family: dict[str, Any] = {"mistral": masks.get("sliding_attention"), "llama": masks["full_attention"]}
    mask = by_family.get(model.config.model_type, masks)
    logits: Tensor = (
        model(torch.tensor(ids, device=loaded.device)[None], attention_mask=mask, use_cache=False).logits[0].float()
    )
    return logits


def expected_if_kept(loaded: LoadedModel, context: IntArray, ids: Sequence[int]) -> Tensor:
    """Logits of what was written under `SCRIPT` with positions kept, by one pass under a mask."""
    text = np.concatenate([context, ids])
    visible = torch.ones(len(text), len(text)).tril().bool()
    for n_written, gone in SCRIPT.items():
        first = len(context) + n_written - 1  # the first token that is read after the eviction
        visible[first:, [token for token in gone if token < first]] = False
    return full_pass(loaded, text, visible)[len(context) - 1 : -1]


def expected_if_read_anew(loaded: LoadedModel, context: IntArray, ids: Sequence[int], gone: Sequence[int], n: int) -> Tensor:
    """Logits behind the first ``n`` tokens that were written, by a pass over the ids that are left."""
    text = np.concatenate([context, ids])
    left = np.setdiff1d(np.arange(len(text)), [token for token in gone if token < len(context) + n - 1])
    visible = torch.ones(len(left), len(left)).tril().bool()
    return full_pass(loaded, text[left], visible)[-(len(ids) - n) - 1 : -1]


@dataclass(frozen=True, kw_only=True)
class _InTurn(Scripted):
    """Evicts one set after the other, however many tokens have been written."""

    n_rows: int
    asked: list[int] = field(default_factory=list)

    def is_due(self, writing: Writing) -> bool:
        return True

    def evict(self, moment: Moment) -> Eviction:
        gone = self.script[len(self.asked) // self.n_rows]
        self.asked.append(0)
        return _evicted(moment, gone)


def evicted_in_turn(
    loaded: LoadedModel, script: Sequence[tuple[int, ...]], *, positions: Positions, contexts: Sequence[IntArray]
) -> Batch[int]:
    """Evict several times from the caches behind contexts, before the next token is read."""
    policy = _InTurn(script=dict(enumerate(script)), positions=positions, n_rows=len(contexts))
    evictor = Evictor(loaded, policy, ChainEncoder(loaded.tokenizer), n_positions=64)
    parts = []
    for number, ids in enumerate(contexts):
        opened = ContextReader(loaded, keeps_all=True).open(Context(ids))
        sample = Sample(number, 0, 8, ids=[int(opened.logits.argmax())])
        evictor.follow(opened, [sample])
        parts.append(begun(opened, [sample]))
        evictor.begin(parts[-1])
    batch = joined(parts)
    batch.add_slot()
    with torch.inference_mode(), evictor.attending(batch):
        _any(loaded.model)(
            input_ids=torch.tensor([[sample.ids[-1]] for sample in batch.samples], device=loaded.device),
            position_ids=batch.positions[:, None],
            past_key_values=batch.cache,
            use_cache=True,
        )
    batch.go_on()
    for sample in batch.samples:
        sample.ids.append(5)
    for _ in script:
        evictor.evict(batch)
    return batch


def change(found: Tensor, expected: Tensor) -> float:
    """Largest difference as a share of the largest value."""
    return float((found - expected).abs().max() / expected.abs().max())


@dataclass(frozen=True)
class Options:
    """How exactly eviction does what it says."""

    dtypes: tuple[Dtype, ...] = ("float32", "bfloat16")
    """Of the models."""
    families: tuple[str, ...] = FAMILIES
    """Whose models are made, with random weights."""
    device: str = "cpu"
    """Of the models."""


def main() -> None:
    """Compare and print."""
    options = tyro.cli(Options, prog="python -m benchmarks.eviction_fidelity", description=__doc__)
    print(f"{'family':<14} {'dtype':<9} {'nothing':>9} {'keep':>9} {'reprefill':>9} {'twice':>9} {'probe':>9}")
    for family in options.families:
        for dtype in options.dtypes:
            changes = _changes(_model(family, getattr(torch, dtype), options.device))
            said = (f"{'refused':>9}" if value is None else f"{value:>9.1e}" for value in changes)
            print(f"{family:<14} {dtype:<9} {' '.join(said)}")


def _changes(loaded: LoadedModel) -> list[float | None]:
    rng = np.random.default_rng(0)
    contexts = [rng.integers(100, 40_000, length) for length in (14, 5, 9)]
    nothing, kept = written(loaded, Nothing(), contexts), written(loaded, Scripted(script=SCRIPT), contexts)
    first = {6: SCRIPT[6]}
    anew = written(loaded, Scripted(script=first, positions="reprefill"), contexts)
    probed = written(loaded, ScriptedProbe(script={n: () for n in (4, 9, 10)}), contexts)
    return [
        max(
            _change_of_generate(loaded, ids, nothing.ids[number], nothing.logits[number]) for number, ids in enumerate(contexts)
        ),
        max(
            change(kept.logits[number], expected_if_kept(loaded, ids, kept.ids[number])) for number, ids in enumerate(contexts)
        ),
        max(
            change(anew.logits[number][6:], expected_if_read_anew(loaded, ids, anew.ids[number], first[6], 6))
            for number, ids in enumerate(contexts)
        ),
        _change_by_rotation(loaded, contexts),
        max(change(probed.logits[number], nothing.logits[number]) for number in range(len(contexts))),
    ]


def _change_by_rotation(loaded: LoadedModel, contexts: Sequence[IntArray]) -> float | None:
    """Change of keys that are rotated by two evictions instead of one; None in half precision, where that is refused."""
    if loaded.model.dtype.itemsize < 4:
        return None
    twice, once = (
        evicted_in_turn(loaded, script, positions="rerotate", contexts=contexts)
        for script in ([(1, 4), (2, 7)], [(1, 2, 4, 7)])
    )
    return max(change(found, expected) for found, expected in zip(_keys(twice), _keys(once), strict=True))


def _change_of_generate(loaded: LoadedModel, context: IntArray, ids: Sequence[int], logits: Tensor) -> float:
    """Change of the logits up to the first token that ``generate`` chooses otherwise, which only rounding explains."""
    expected_ids, expected = generated(loaded, context)
    differs = np.flatnonzero(np.array(ids) != expected_ids)
    n_compared = int(differs[0]) + 1 if differs.size else len(ids)
    return change(logits[:n_compared], expected[:n_compared])


def _keys(batch: Batch[int]) -> list[Tensor]:
    """(tokens, head_dim) float32 keys of every layer, of all rows and heads, without the padding."""
    keys = [parts[0] for parts in keys_and_values(batch.cache) if parts is not None]
    return [layer.float()[batch.mask[:, None].expand(layer.shape[:3])] for layer in keys]


def _model(family: str, dtype: torch.dtype, device: str) -> LoadedModel:
    torch.manual_seed(0)
    tokenizer = load_tokenizer(ModelSpec())
    window = {"sliding_window": _WINDOWS[family]} if family in _WINDOWS else {}
    config = AutoConfig.for_model(family, vocab_size=len(_any(tokenizer)), **_SHAPE, **window)
    model = _any(AutoModelForCausalLM).from_config(config, attn_implementation="sdpa", dtype=dtype)
    return LoadedModel(model.eval().to(device), tokenizer, family)


def _any(value: Any) -> Any:
    return value


if __name__ == "__main__":
    main()
