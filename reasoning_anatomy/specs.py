"""What a user says about a model: which one to load and how to hold it, and how chains become its sequences."""

from dataclasses import dataclass
from typing import Final, Literal

BUNDLED: Final = "smollm2-135m"

Dtype = Literal["float32", "bfloat16", "float16"]
Quantization = Literal["4bit", "8bit"]


@dataclass(frozen=True)
class ModelSpec:
    """Which model to load, and how to hold it.

    Attributes
    ----------
    id
        Hub id, local folder, GGUF file, or ``smollm2-135m`` for the bundled one.
    dtype
        Of weights and activations. Orders are exact in float32.
    device
        ``auto`` (an accelerator if there is one), ``cpu``, ``cuda``, ``cuda:1``, ...
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
        Text between the prompt and the reasoning, part of the prompt; ``<think>\n`` for models that think
        in tags.
    before_answer
        Text between the reasoning and the answer, part of the answer; ``\n</think>\n\n`` likewise.
    """

    before_reasoning: str = ""
    before_answer: str = "\n"
