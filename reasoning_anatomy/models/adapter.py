"""A LoRA: the folder names its base, and its weights are merged into those of the base."""

import importlib
import importlib.util
import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers.utils.hub import cached_file
from transformers.utils.peft_utils import find_adapter_config_file

from reasoning_anatomy.errors import ModelError
from reasoning_anatomy.specs import ModelSpec


def base_of(spec: ModelSpec) -> ModelSpec | None:
    """Return what an adapter was made for; None if the model is whole.

    Raises
    ------
    ModelError
        The adapter names no base, or cannot be merged into the base as it is to be held.
    """
    file = find_adapter_config_file(spec.id, revision=spec.revision)
    if file is None:
        return None
    config: dict[str, Any] = json.loads(Path(file).read_text(encoding="utf-8"))
    base = config.get("base_model_name_or_path")
    if not base:
        raise ModelError(f"{spec.id}: its adapter_config.json names no base model; write it there as base_model_name_or_path")
    if importlib.util.find_spec("peft") is None:
        raise ModelError(
            f"{spec.id}: is an adapter of {base}, which only peft can load; run: pip install 'reasoning-anatomy[lora]', or "
            "merge it into its base and give the merged folder"
        )
    if spec.quantize:
        raise ModelError(
            f"{spec.id}: is an adapter, and merging it into {spec.quantize} weights would round it; leave out --quantize, or "
            "merge it into its base and give the merged folder"
        )
    return replace(spec, id=str(base), revision=config.get("revision"))


def has_tokenizer(spec: ModelSpec) -> bool:
    """Whether an adapter comes with a tokenizer of its own, which may have another template or more tokens."""
    found = cached_file(
        spec.id, "tokenizer_config.json", revision=spec.revision,
        _raise_exceptions_for_missing_entries=False, _raise_exceptions_for_connection_errors=False,
    )  # fmt: skip
    return found is not None


def merged(base: PreTrainedModel, spec: ModelSpec) -> PreTrainedModel:
    """Add an adapter to the weights of its base, so that nothing but the weights differs from the base.

    Raises
    ------
    ModelError
        The adapter is of a kind that cannot be merged, or its weights are not those that the base asks for.
    """
    peft: Any = importlib.import_module("peft")  # an extra
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Found missing adapter keys")  # refused below, by name
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")  # between peft and transformers
        adapted = peft.PeftModel.from_pretrained(base, spec.id, revision=spec.revision)
        loading = adapted.load_adapter(spec.id, "default", revision=spec.revision)
    if wrong := sorted([*loading.missing_keys, *loading.unexpected_keys]):
        raise ModelError(
            f"{spec.id}: {len(wrong)} of its weights are missing or do not belong to its base ({wrong[0]}, ...); give the base "
            "that the adapter was trained on"
        )
    if not hasattr(adapted.base_model, "merge_and_unload"):
        kind = adapted.active_peft_config.peft_type.value
        raise ModelError(f"{spec.id}: is an adapter of the kind {kind}, which cannot be merged into weights; merge a LoRA")
    whole: PreTrainedModel = adapted.merge_and_unload(safe_merge=True)
    return whole
