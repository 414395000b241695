"""The bundled model and its tokenizer, loaded once; the shipped chains; the command line; what every plugin keeps."""

import dataclasses
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from analyses import Analysis
from annotations import Annotator
from reasoning_anatomy import cli
from reasoning_anatomy.chains import read_chains
from reasoning_anatomy.conversion import Converter
from reasoning_anatomy.eviction import EvictionPolicy
from reasoning_anatomy.importance import Scorer
from reasoning_anatomy.interchange import Format
from reasoning_anatomy.plugins import KINDS, available, key_of, label, load, load_class, options_of
from reasoning_anatomy.pruning import Strategy
from reasoning_anatomy.steps import Segmenter
from reasoning_anatomy.types import EncodedChain, ReasoningChain
from reports import Figure

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from reasoning_anatomy.models.loading import LoadedModel


@pytest.fixture(scope="session")
def smollm2() -> "LoadedModel":
    """The bundled SmolLM2-135M-Instruct in float32; its weights are part of the test environment."""
    from reasoning_anatomy.models.loading import load_model

    return load_model("smollm2-135m")


@pytest.fixture(scope="session")
def example_chains() -> list[ReasoningChain]:
    """The chains that ship with the package, in the order of their file."""
    return read_chains(Path(str(files("reasoning_anatomy") / "data" / "example_chains.jsonl")))


@pytest.fixture(scope="session")
def field_files() -> Path:
    """Small files as people in this field have them."""
    return Path(__file__).parents[1] / "data" / "field"


@dataclass(frozen=True)
class Done:
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Done]:
    """Run ``reasoning-anatomy``, or ``python -m MODULE``, in this process and an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: str | Path, module: str | None = None) -> Done:
        monkeypatch.setattr(sys, "argv", [module or "reasoning-anatomy", *map(str, arguments)])
        code = 0
        try:
            cli.analysis_main(module) if module else cli.main()
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 1 if exit_.code else 0
        return Done(code, *capsys.readouterr())

    return run


PROTOCOLS = {
    "scorer": Scorer, "strategy": Strategy, "annotator": Annotator, "analysis": Analysis, "figure": Figure,
    "format": Format, "segmenter": Segmenter, "converter": Converter,
    "policy": EvictionPolicy,
}  # fmt: skip


@pytest.fixture(scope="session")
def expect_contract() -> Callable[[str, str], None]:
    """Hold a plugin to what every plugin keeps, wherever it was found."""

    def expect(kind: str, key: str) -> None:
        info, plugin_class, plugin = available(kind)[key], load_class(kind, key), load(kind, key)
        assert (info.key, info.class_name, key_of(plugin)) == (key, plugin_class.__name__, key)
        assert plugin_class.__dataclass_params__.frozen
        assert plugin_class.__name__.lower() == key.replace("_", "")
        assert info.summary == inspect.getdoc(plugin_class).partition("\n")[0]
        assert info.summary.endswith(".")
        assert 20 < len(info.summary) <= 128
        assert "\n" not in info.source
        assert info.needs == getattr(plugin_class, "needs", "")
        assert info.needs_no_model == getattr(plugin_class, "needs_no_model", False)
        assert inspect.getdoc(getattr(plugin_class, KINDS[kind].verb))
        _expect_options(kind, key)
        assert label(plugin) == key
        assert load(kind, f"{key}:") == plugin
        if kind in PROTOCOLS:
            _expect_signatures(plugin_class, PROTOCOLS[kind])

    return expect


def _expect_options(kind: str, key: str) -> None:
    """Every option has a default and a text, and stands in the repr."""
    plugin = load(kind, key)
    options = options_of(kind, key)
    assert [option.name for option in options] == [field.name for field in dataclasses.fields(plugin)]
    for option in options:
        assert plugin.__dataclass_fields__[option.name].kw_only
        assert option.default == getattr(plugin, option.name)
        assert option.text, f"{option.name} is not documented"
        assert f"{option.name}={option.default!r}" in repr(plugin)
    assert repr(plugin).startswith(f"{type(plugin).__name__}(")


def _expect_signatures(plugin_class: type, protocol: type) -> None:
    """Whatever can be passed by the protocol can be passed to the class."""
    asked = {name: method for name, method in vars(protocol).items() if inspect.isfunction(method) and name[0] != "_"}
    assert asked
    for name, method in asked.items():
        theirs = inspect.signature(method).parameters
        ours = dict(inspect.signature(getattr(plugin_class, name)).parameters)
        for parameter in theirs.values():
            own = ours.pop(parameter.name)
            assert own.kind == parameter.kind
            assert own.default is not own.empty or parameter.default is parameter.empty
        assert all(further.default is not further.empty for further in ours.values())


_deviations: dict[str, tuple[float, float]] = {}


@pytest.fixture(scope="session")
def deviation() -> Callable[..., float]:
    """Largest absolute difference between what a scorer says and its reference.

    The end of the session lists them, beside their share of the largest value of the reference.
    """

    def largest(scorer: str, found: np.ndarray, expected: np.ndarray) -> float:
        difference = float(np.abs(np.asarray(found) - np.asarray(expected)).max())
        share = difference / float(np.abs(expected).max())
        before = _deviations.get(scorer, (0.0, 0.0))
        _deviations[scorer] = max(difference, before[0]), max(share, before[1])
        return difference

    return largest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _deviations:
        terminalreporter.section("largest deviation of each scorer from its reference")
        terminalreporter.write_line(f"{'':<36} absolute  of the largest value")
        for scorer, (difference, share) in sorted(_deviations.items()):
            terminalreporter.write_line(f"{scorer:<36} {difference:<9.1e} {share:.1e}")


FAMILIES = ("llama", "qwen2", "qwen3", "mistral", "phi3", "gemma2", "gemma3_text")
_SHAPE = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128, "initializer_range": 0.3,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
_OF_FAMILY = {
    "mistral": {"sliding_window": 7},
    "phi3": {"sliding_window": 9},
    "gemma2": {"sliding_window": 6, "attn_logit_softcapping": 5.0},
    "gemma3_text": {"sliding_window": 6},
    "gpt_oss": {"sliding_window": 6},
    "phimoe": {"sliding_window": 6, "num_local_experts": 2, "num_experts_per_tok": 1},
    "gemma4_text": {
        "num_hidden_layers": 4, "num_kv_shared_layers": 2, "sliding_window": 7, "global_head_dim": 8,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "vocab_size_per_layer_input": 97, "hidden_size_per_layer_input": 8,
    },
    "gemma3n_text": {
        "num_hidden_layers": 4, "num_kv_shared_layers": 2, "sliding_window": 7, "activation_sparsity_pattern": [0.0] * 4,
        "layer_types": ["sliding_attention", "full_attention"] * 2, "laurel_rank": 4,
        "vocab_size_per_layer_input": 97, "hidden_size_per_layer_input": 8,
    },
    "qwen3_5_text": {
        "num_hidden_layers": 4, "linear_num_key_heads": 2, "linear_num_value_heads": 2,
        "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    },
    "qwen3_next": {
        "num_hidden_layers": 4, "linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 8,
        "linear_value_head_dim": 8, "num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16,
        "shared_expert_intermediate_size": 16,
    },
    "granitemoehybrid": {
        "layer_types": ["mamba", "attention", "mamba"], "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8,
        "mamba_n_groups": 1, "num_local_experts": 0, "shared_intermediate_size": 16,
    },
    "falcon_h1": {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_n_groups": 1},
    "nemotron_h": {
        "layers_block_type": ["mamba", "attention", "mlp"], "mamba_num_heads": 4, "mamba_head_dim": 8, "ssm_state_size": 8,
        "n_groups": 1,
    },
    "jamba": {
        "attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False, "num_experts": 2, "num_experts_per_tok": 1,
    },
    "lfm2": {"layer_types": ["conv", "full_attention", "conv"]},
    "llama4_text": {"attention_chunk_size": 5},
    "afmoe": {"num_experts": 2, "num_experts_per_tok": 1, "num_dense_layers": 1, "moe_intermediate_size": 16},
}  # fmt: skip


@pytest.fixture(scope="session")
def make_random_model() -> "Callable[[str], LoadedModel]":
    """Make a small model of one family with random weights, sharp enough for tokens to matter; windows are short.

    With a tokenizer it has its vocabulary.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from reasoning_anatomy.models.loading import LoadedModel

    @cache
    def make(family: str, tokenizer: "PreTrainedTokenizerBase | None" = None) -> LoadedModel:
        torch.manual_seed(0)
        vocabulary = {} if tokenizer is None else {"vocab_size": len(tokenizer), "max_position_embeddings": 512}
        config = AutoConfig.for_model(family, **(_SHAPE | _OF_FAMILY.get(family, {}) | vocabulary))
        implementation = {"gemma2": "eager", "gpt_oss": "eager", "mamba": None, "bloom": None}.get(family, "sdpa")
        model = AutoModelForCausalLM.from_config(config, attn_implementation=implementation).eval()
        return LoadedModel(model, tokenizer, family)

    return make


@pytest.fixture
def make_random_chain() -> "Callable[[int, int, int], EncodedChain]":
    """Draw a chain of p prompt, n reasoning and m answer tokens for the random models, in steps of four tokens."""
    rng = np.random.default_rng(1)

    def make(p: int, n: int, m: int) -> EncodedChain:
        prompt, reasoning, answer = (rng.integers(3, 97, size) for size in (p, n, m))
        text = ReasoningChain(
            chain_id="random", question_id="random", question="?", reasoning=("xxx\n" * n)[:n], answer="x" * m
        )
        return EncodedChain(text, prompt, reasoning, answer, np.stack([np.arange(n), np.arange(1, n + 1)], axis=1))

    return make


@pytest.fixture(scope="session")
def write_tiny_model() -> "Callable[[Path, PreTrainedTokenizerBase], Path]":
    """Write a tiny random Llama with a tokenizer, as save_pretrained does, and return the folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    def write(folder: Path, tokenizer: "PreTrainedTokenizerBase") -> Path:
        torch.manual_seed(0)
        shape = _SHAPE | {"vocab_size": len(tokenizer), "num_hidden_layers": 2, "max_position_embeddings": 512}
        shape |= {"hidden_size": 64, "intermediate_size": 128, "head_dim": 16}  # whole blocks of 64 for 4-bit weights
        LlamaForCausalLM(LlamaConfig(**shape)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return write


@pytest.fixture(scope="session")
def tiny_model_folder(
    write_tiny_model: "Callable[[Path, PreTrainedTokenizerBase], Path]",
    small_tokenizer: "PreTrainedTokenizerBase",
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder of a tiny random Llama with the first tokens of the bundled model."""
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny", small_tokenizer)


@pytest.fixture(scope="session")
def make_bigram_model() -> "Callable[[dict[tuple[int, int], float]], LoadedModel]":
    """Make a model in which the log-likelihood of a token depends on the token before it alone, as given; ids below 32."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from reasoning_anatomy.models.loading import LoadedModel

    def make(logp: dict[tuple[int, int], float]) -> LoadedModel:
        table = torch.full((32, 97), -30.0)
        for (before, after), value in logp.items():
            table[before, after] = value
        table[:, 0] = torch.log1p(-table[:, 1:].exp().sum(dim=1))  # the rest goes to a token that no chain has
        model = LlamaForCausalLM(LlamaConfig(**_SHAPE | {"num_hidden_layers": 1}, rms_norm_eps=1e-12)).eval()
        with torch.no_grad():
            model.model.embed_tokens.weight.copy_(torch.eye(97, 32))
            model.model.layers[0].self_attn.o_proj.weight.zero_()
            model.model.layers[0].mlp.down_proj.weight.zero_()
            model.lm_head.weight.copy_(table.T / 32**0.5)  # the norm gives each one-hot vector this length
        return LoadedModel(model, None, "bigrams")

    return make
