"""Models from a folder, a GGUF file or the bundle, whole and quantised."""

import dataclasses
import json
import logging
import os
import re
import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from bitsandbytes.functional import _convert_weight_packed_for_cpu
from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from reasoning_anatomy.errors import ModelError
from reasoning_anatomy.models import loading
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import LoadedModel, ModelSpec, load_model, load_tokenizer
from reasoning_anatomy.pipeline.measuring import measure
from reasoning_anatomy.pruning.greedy import Greedy


def test_bundled_model_is_the_real_one(smollm2):
    # 30 layers, 9 heads, 8,192 tokens, 134.5 million parameters: the model card of SmolLM2-135M-Instruct
    assert (smollm2.n_layers, smollm2.n_heads, smollm2.context_length) == (30, 9, 8192)
    assert sum(parameter.numel() for parameter in smollm2.model.parameters()) == 134_515_008
    assert smollm2.model.dtype == torch.float32
    assert not smollm2.model.training


def test_folder_is_loaded_with_its_tokenizer(tiny_model_folder, example_chains):
    loaded = load_model(str(tiny_model_folder))
    chain = ChainEncoder(loaded.tokenizer, context_length=loaded.context_length).encode(example_chains[0])
    assert chain.n_reasoning == 33
    assert loaded.device.type == "cpu" or torch.cuda.is_available()


def test_a_tokenizer_is_loaded_without_the_weights(tiny_model_folder, tmp_path):
    folder = shutil.copytree(tiny_model_folder, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    assert load_tokenizer(str(folder)).get_vocab() == load_model(str(tiny_model_folder)).tokenizer.get_vocab()
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(str(folder))


@pytest.fixture(scope="module")
def tiny_gguf_file(tmp_path_factory):
    """A Llama of one layer with five tokens; the bundled GGUF file would take half a minute."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(48)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["<s>", "a", "b", "ab", "</s>"])
    writer.add_token_merges(["a b"])
    shapes = {"attn_q": (32, 32), "attn_k": (16, 32), "attn_v": (16, 32), "attn_output": (32, 32), "ffn_gate": (48, 32)}
    shapes |= {"ffn_up": (48, 32), "ffn_down": (32, 48), "attn_norm": (32,), "ffn_norm": (32,)}
    shapes = {f"blk.0.{name}": shape for name, shape in shapes.items()}
    shapes |= {"token_embd": (5, 32), "output": (5, 32), "output_norm": (32,)}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", np.full(shape, 0.1, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(params=["GGUF file", "folder"])
def model_id(request, tiny_gguf_file, tiny_model_folder):
    return str(tiny_gguf_file if request.param == "GGUF file" else tiny_model_folder)


def test_loading_writes_nothing_between_our_progress_bars(model_id, capfd):
    load_model(model_id)
    assert capfd.readouterr() == ("", "")


def test_bars_that_the_environment_asks_for_are_shown(model_id, monkeypatch, capfd):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_PROGRESS_BARS", False)
    load_model(model_id)
    bars = capfd.readouterr().err
    assert "Loading weights: 100%" in bars
    assert ("GGUF tensors" in bars) == model_id.endswith(".gguf")


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("hub_shows", [False, True])
@pytest.mark.parametrize("transformers_shows", [False, True])
def test_settings_of_other_bars_are_the_users_again(tiny_model_folder, tmp_path, transformers_shows, hub_shows, fails):
    set_transformers = (
        transformers_logging.enable_progress_bar if transformers_shows else transformers_logging.disable_progress_bar
    )
    set_transformers()
    (enable_progress_bars if hub_shows else disable_progress_bars)()
    disable_progress_bars("downloads")
    try:
        if fails:
            (tmp_path / "config.json").write_text("{}")
            with pytest.raises(ModelError):
                load_model(str(tmp_path))
        else:
            load_model(str(tiny_model_folder))
        assert transformers_logging.is_progress_bar_enabled() == transformers_shows
        assert are_progress_bars_disabled() != hub_shows
        assert are_progress_bars_disabled("downloads")
    finally:
        transformers_logging.enable_progress_bar()


def changed_weights(source, folder, change):
    """Copy a folder and change its weights."""
    folder = Path(shutil.copytree(source, folder))
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_warnings_of_loading_still_come(tiny_model_folder, tmp_path):
    name = "model.vision.up_proj.weight"
    folder = changed_weights(tiny_model_folder, tmp_path / "model", lambda weights: weights.update({name: torch.ones(2, 2)}))
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append
    transformers_logging.add_handler(handler)
    try:
        load_model(str(folder))
    finally:
        transformers_logging.remove_handler(handler)
    assert any("vision.up_proj.weight" in record.getMessage() for record in records)


@pytest.mark.parametrize("how", ["missing", "of another shape"])
def test_weights_that_would_be_random_are_refused_by_name(tiny_model_folder, tmp_path, how):
    name = "model.layers.1.mlp.up_proj.weight"

    def change(weights):
        weights.pop(name) if how == "missing" else weights.update({name: torch.ones(3, 3)})

    folder = changed_weights(tiny_model_folder, tmp_path / "model", change)
    with pytest.raises(
        ModelError, match=rf"^{folder}: 1 weights .*\({name}\), so they would be random numbers; give the folder"
    ):
        load_model(str(folder))


def test_a_model_with_more_layers_than_its_configuration_is_refused_by_name(tiny_model_folder, tmp_path):
    name = "model.layers.9.mlp.up_proj.weight"
    folder = changed_weights(tiny_model_folder, tmp_path / "model", lambda weights: weights.update({name: torch.ones(2, 2)}))
    with pytest.raises(
        ModelError,
        match=rf"^{folder}: 1 weights belong to layers that config.json does not have \({name}\), so a shorter model",
    ):
        load_model(str(folder))


def test_a_model_without_attention_has_no_heads():
    config = AutoConfig.for_model("mamba", hidden_size=16, num_hidden_layers=2, vocab_size=97)
    assert LoadedModel(AutoModelForCausalLM.from_config(config), None, "mamba").n_heads == 0


def edited(name, edit):
    """Edit a JSON file of a folder."""

    def change(folder):
        content = json.loads((folder / name).read_text())
        edit(content)
        (folder / name).write_text(json.dumps(content))

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda folder: (folder / "config.json").write_text('{"model_type": '), r"config\.json' is not a valid JSON file"),
        (lambda folder: (folder / "config.json").write_text("[]"), "must be a mapping, not list"),
        (edited("config.json", lambda config: config.update(model_type="xyz")), "model type `xyz`"),
        (edited("config.json", lambda config: config.pop("model_type")), "Should have a `model_type` key in its config.json"),
        (edited("config.json", lambda config: config.update(hidden_size="many")), "'hidden_size' expected int, got str"),
        (edited("config.json", lambda config: config.update(num_attention_heads=5)), "is not a multiple of the number of"),
        (edited("config.json", lambda config: config.update(hidden_act="nope")), "KeyError: 'nope'"),
        (lambda folder: (folder / "tokenizer.json").write_text('{"version": '), "tokenizer: .* line 1 column 13"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "tokenizer: "),
        (lambda folder: (folder / "tokenizer_config.json").write_text("{"), "tokenizer: .* line 1 column 2"),
        (lambda folder: os.truncate(folder / "model.safetensors", 5000), "model: SafetensorError: .*not fully covered"),
        (lambda folder: os.truncate(folder / "model.safetensors", 0), "model: SafetensorError: .*header too small"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_file_of_the_model_is_one_line(call, tiny_model_folder, tmp_path, change, says):
    folder = Path(shutil.copytree(tiny_model_folder, tmp_path / "model"))
    change(folder)
    chain = {"chain_id": "a", "question_id": "a", "question": "2?", "reasoning": "1 + 1", "answer": "2"}
    (tmp_path / "chains.jsonl").write_text(json.dumps(chain))
    done = call("run", "chains.jsonl", "--out", "run", "--model", folder)
    (said,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert done.code == 2
    assert "Traceback" not in done.err
    assert said.startswith(f"error: {folder}: cannot be loaded (")
    assert re.search(says, said)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_dtype_is_the_one_asked_for(tiny_model_folder, dtype):
    assert load_model(ModelSpec(str(tiny_model_folder), dtype)).model.dtype == getattr(torch, dtype)


@pytest.mark.parametrize(
    ("quantize", "layer_class", "tolerance"),  # nats; 8 bits round activations as well, where a last digit can be a step
    [("4bit", "Linear4bit", 1e-4), ("8bit", "Linear8bitLt", 5e-2)],
)
def test_quantised_model_is_pruned_as_by_whole_passes(tiny_model_folder, example_chains, quantize, layer_class, tolerance):
    loaded = load_model(ModelSpec(str(tiny_model_folder), device="cpu", quantize=quantize))
    assert type(loaded.model.model.layers[0].mlp.up_proj).__name__ == layer_class
    assert loaded.quantization == quantize
    chain = ChainEncoder(loaded.tokenizer).encode(example_chains[0])
    path = Greedy(keep_ratio=0.95).prune(chain, loaded=loaded)
    assert len(path.deleted) == 2
    whole = Greedy(keep_ratio=0.95).prune(chain, loaded=dataclasses.replace(loaded, may_share=False))
    assert whole.token_forwards > path.token_forwards
    assert path.deleted.tolist() == whole.deleted.tolist()
    np.testing.assert_allclose(path.nll_answer, whole.nll_answer, atol=tolerance)


def test_digests_of_checkpoints_differ(tiny_model_folder):
    loaded = load_model(str(tiny_model_folder))
    before = loaded.weights_digest()
    assert before == load_model(str(tiny_model_folder)).weights_digest()
    with torch.no_grad():
        loaded.model.model.layers[1].mlp.up_proj.weight.mul_(1.01)
    assert loaded.weights_digest() != before


def test_digest_of_4_bit_weights_outlasts_what_some_processors_do_to_them(tiny_model_folder):
    """On a CPU with AVX512-BF16 bitsandbytes sorts the weights anew in the first pass; here its own function does that."""
    loaded = load_model(ModelSpec(str(tiny_model_folder), device="cpu", quantize="4bit"))
    before = loaded.weights_digest()
    for _, weight in _weights_in_4_bits(loaded.model):
        if not getattr(weight.quant_state, "packing_format_for_cpu", False):
            weight.data, weight.quant_state = _convert_weight_packed_for_cpu(weight.data, weight.quant_state)
    packed = {name: (weight.clone(), weight.quant_state.absmax.clone()) for name, weight in _weights_in_4_bits(loaded.model)}
    assert len(packed) > 0
    assert loaded.weights_digest() == before
    for name, weight in _weights_in_4_bits(loaded.model):
        assert torch.equal(weight, packed[name][0])
        assert torch.equal(weight.quant_state.absmax, packed[name][1])


def _weights_in_4_bits(model):
    return [(name, weight) for name, weight in model.named_parameters() if hasattr(weight, "quant_state")]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ModelSpec("smollm2-135m", quantize="4bit"), "GGUF file, which bitsandbytes cannot quantise"),
        (ModelSpec("/nowhere/model.gguf"), "/nowhere/model.gguf: no such GGUF file"),
        (ModelSpec("/nowhere/model"), "/nowhere/model: no such folder"),
        (ModelSpec("nobody/no-such-model-at-all"), r"nobody/no-such-model-at-all: cannot be loaded .* give a local folder"),
        (ModelSpec(device="toaster"), "device 'toaster'"),
        (ModelSpec(device="cuda:99"), "device 'cuda:99'"),
    ],
)
def test_model_that_cannot_be_loaded_is_named_with_the_reason(monkeypatch, spec, message):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match=message):
        load_model(spec)


def test_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"has no config\.json"):
        load_model(str(tmp_path))


def test_file_that_is_not_gguf_is_named(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"model\.gguf: cannot be loaded"):
        load_model(str(tmp_path / "model.gguf"))


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_takes_the_accelerator_that_is_there(monkeypatch, cuda, mps, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(cuda))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert loading._device("auto").type == expected


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ModelError, match="device 'mps': this machine has no Apple GPU that torch can use; give cpu"):
        load_model(ModelSpec(device="mps"))


def test_weights_on_several_devices_are_refused_in_one_sentence(tiny_model_folder, example_chains, tmp_path):
    loaded = load_model(str(tiny_model_folder))
    loaded.model.lm_head.to("meta")
    with pytest.raises(ModelError, match="its weights are spread over cpu, meta, and this version measures a model on one"):
        measure(example_chains[:1], out=tmp_path / "run", model=loaded)
