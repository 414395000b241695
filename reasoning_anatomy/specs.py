"""What a user says about a model: which one to load and how to hold it, and how chains become its sequences."""

from dataclasses import dataclass, field
from typing import Final, Literal

BUNDLED: Final = "smollm2-135m"

Dtype = Literal["float32", "bfloat16", "float16"]
Quantization = Literal["4bit", "8bit"]
ReadingOfPruned = Literal["closed_up", "evicted"]
"""How the model reads what is left of a chain that was written before."""
Reading = Literal["closed_up", "evicted", "live"]
"""``live``: nothing was written before, and tokens leave the cache while the model writes."""
Restatements = Literal["kept", "stripped"]
Matching = Literal["chain", "mean"]
"""Of sets for students. ``chain``: every chain is as long in all arms; ``mean``: steps stay whole, the set is as long."""
Equal = Literal["steps", "tokens"]
"""What students are given in equal measure: steps of the optimiser, or tokens to predict."""

THRESHOLDS: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Of a sweep, unless others are named."""
BASELINES: Final = ("random_steps", "random_tokens", "random_block", "truncation")
"""Strategies that a sweep compares with at the same length, unless others are named."""

EVICT_BASELINES: Final = ("random",)
"""Policies that a sweep compares with at the same budget, unless others are named."""

CUTS_OFF: Final = frozenset({"length", "loop"})
"""Finish reasons of samples that were cut off."""


@dataclass(frozen=True)
class ModelSpec:
    """Which model to load, and how to hold it.

    Attributes
    ----------
    id
        Hub id, local folder, LoRA folder (loaded with its base), GGUF file, or ``smollm2-135m`` for the bundled one.
    dtype
        Of weights and activations. Orders are exact in float32.
    device
        ``auto`` (an accelerator if there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``, ...
    quantize
        ``4bit`` (NF4) or ``8bit`` through bitsandbytes, on CPU too; not together with GGUF.
    revision
        Commit, tag or branch on the hub.
    trust_remote_code
        Run code that ships with the model. Off unless you ask.
    """

    id: str = BUNDLED
    dtype: Dtype = "float32"
    device: str = "auto"
    quantize: Quantization | None = None
    revision: str | None = None
    trust_remote_code: bool = False


@dataclass(frozen=True)
class EncodingOptions:
    r"""How a chain becomes one sequence. The two joints are trusted: they may name special tokens.

    Attributes
    ----------
    before_reasoning
        Text between the prompt and the reasoning, part of the prompt. If left out it is found out from the model's chat
        template and vocabulary: ``<think>\n`` for models that open their thinking themselves, nothing if the template opens it.
    before_answer
        Text between the reasoning and the answer, part of the answer. If left out it is found out likewise:
        ``\n</think>\n\n`` for models that think in tags, a line break for others.
    joints
        ``auto`` finds out what is left out, and refuses joints that contradict the model; ``none`` does neither.
    template_variables
        ``NAME=VALUE`` for the chat template: ``enable_thinking=false``, ``reasoning_effort=high``.
    date
        What the template takes for today, as 2026-11-25. If left out it is the day on which the run was begun.
    """

    before_reasoning: str | None = None
    before_answer: str | None = None
    joints: Literal["auto", "none"] = field(default="auto", repr=False)
    template_variables: tuple[str, ...] = ()
    date: str | None = None
