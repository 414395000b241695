"""A folder of a LoRA is loaded with its base, as one model without adapters."""

import json
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from reasoning_anatomy.errors import ModelError
from reasoning_anatomy.models.loading import ModelSpec, load_config, load_model, load_tokenizer
from reasoning_anatomy.pipeline.measuring import measure
from reasoning_anatomy.types import ReasoningChain

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


def named_base(folder: Path, base: object) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**config, "base_model_name_or_path": base}))


@pytest.fixture(scope="module")
def adapted(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Folder of a LoRA with random weights, and peft's own model, which is not merged."""
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    config = peft.LoraConfig(
        r=4, target_modules=["q_proj", "o_proj", "down_proj"], init_lora_weights=False, task_type="CAUSAL_LM"
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
        model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_model_folder), config)
    folder = tmp_path_factory.mktemp("adapters") / "lora"
    model.save_pretrained(folder)
    named_base(folder, str(tiny_model_folder))
    return folder, model.eval()


@pytest.fixture
def lora(adapted: tuple[Path, Any], tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(adapted[0], tmp_path / "lora"))


def test_a_lora_is_loaded_with_its_base_and_computes_what_peft_computes(adapted, tiny_model_folder):
    folder, reference = adapted
    loaded, base = load_model(str(folder)), load_model(str(tiny_model_folder))
    ids = torch.arange(5, 45)[None]
    with torch.inference_mode():
        found, expected, without = (model(input_ids=ids).logits for model in (loaded.model, reference, base.model))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert (found - without).abs().max() > 0.1
    assert type(loaded.model) is type(base.model)
    assert type(loaded.model.model.layers[0].self_attn.o_proj) is torch.nn.Linear
    assert loaded.id == str(folder)
    assert loaded.weights_digest() != base.weights_digest()
    assert load_config(str(folder)).to_dict() == load_config(str(tiny_model_folder)).to_dict()


def test_a_lora_is_measured(adapted, example_chains: list[ReasoningChain], tmp_path):
    scorers = ["answer_attention", "contribution", "gradient_x_input"]
    run = measure(example_chains[:1], out=tmp_path / "run", model=str(adapted[0]), scorers=scorers, strategies=["truncation"])
    assert (run.status().n_done, run.status().failed, run.status().missing_scores) == (1, {}, {})


@pytest.mark.parametrize("is_in_adapter", [True, False])
def test_the_tokenizer_is_the_adapters_own_or_the_base_models(lora, tiny_model_folder, is_in_adapter):
    tokenizer = load_tokenizer(str(tiny_model_folder))
    if is_in_adapter:
        tokenizer.chat_template = "{{ messages[0].content }}"
        tokenizer.save_pretrained(lora)
    assert load_tokenizer(str(lora)).chat_template == tokenizer.chat_template


def test_weights_of_another_base_are_refused_by_name(lora):
    weights = load_file(lora / WEIGHTS)
    name = next(name for name in weights if "layers.1" in name)
    save_file({key.replace("layers.1", "layers.9"): value for key, value in weights.items()}, lora / WEIGHTS)
    with pytest.raises(ModelError, match=r"12 of its weights are missing or do not belong to its base .*trained on$"):
        load_model(str(lora))
    assert "layers.1" in name


@pytest.mark.parametrize("base", [None, "no/such/base", "/no/such/base"])
def test_a_base_that_is_not_there_is_named(lora, base):
    named_base(lora, base)
    says = rf"^{base}: (cannot be loaded|no such folder)" if base else rf"^{lora}: its {CONFIG} names no base model; write it"
    with pytest.raises(ModelError, match=says):
        load_model(str(lora))


def test_an_adapter_of_an_adapter_and_of_rounded_weights_is_refused(lora, adapted):
    with pytest.raises(ModelError, match="merging it into 4bit weights would round it; leave out --quantize"):
        load_model(ModelSpec(str(lora), quantize="4bit"))
    named_base(lora, str(adapted[0]))
    with pytest.raises(ModelError, match="which is an adapter too; merge that into its base first"):
        load_model(str(lora))


def test_without_peft_one_sentence_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / CONFIG).write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "smollm2-135m"}))
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModelError, match=r"an adapter of smollm2-135m, which only peft can load; run: pip install .*\[lora\]"):
        load_model(str(tmp_path))


def test_a_broken_adapter_config_is_one_line(tmp_path):
    (tmp_path / CONFIG).write_text("{")
    with pytest.raises(ModelError, match=rf"^{tmp_path}: cannot be loaded \(adapter: JSONDecodeError: .*line 1 column 2"):
        load_model(str(tmp_path))
