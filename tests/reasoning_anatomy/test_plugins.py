"""The folder is the registry: what is listed can be made, labelled and made again from its label."""

import dataclasses
import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from reasoning_anatomy.errors import PluginError
from reasoning_anatomy.plugins import KINDS, available, label, load, load_class, options_of

KEYS = [(kind, key) for kind in KINDS for key in available(kind)]


def modules(kind: str) -> list[str]:
    package = importlib.import_module(KINDS[kind].package)
    return [f"{package.__name__}.{module.name}" for module in pkgutil.iter_modules(package.__path__) if not module.ispkg]


def is_public(value: Any) -> bool:
    return not getattr(value, "__name__", "_").startswith("_")


def is_plugin(value: Any, verb: str, module: str) -> bool:
    return inspect.isclass(value) and value.__module__ == module and dataclasses.is_dataclass(value) and hasattr(value, verb)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_plugins_in_alphabetical_order(kind: str) -> None:
    keys = list(available(kind))
    assert keys
    assert keys == sorted(keys)


@pytest.mark.parametrize("kind", KINDS)
def test_listing_finds_what_importing_finds(kind: str) -> None:
    verb = KINDS[kind].verb
    imported = {name: importlib.import_module(name) for name in modules(kind)}
    found = {
        name.rpartition(".")[2]
        for name, module in imported.items()
        if not name.rpartition(".")[2].startswith("_") and any(is_plugin(value, verb, name) for value in vars(module).values())
    }
    assert found == set(available(kind))


@pytest.mark.parametrize("kind", ["scorer", "strategy", "analysis", "format", "segmenter", "converter", "policy"])
def test_every_public_module_of_a_room_holds_a_plugin(kind: str) -> None:
    public = {name.rpartition(".")[2] for name in modules(kind) if not name.rpartition(".")[2].startswith("_")}
    assert public == set(available(kind))


@pytest.mark.parametrize(("kind", "key"), KEYS)
def test_a_plugin_keeps_the_contract(expect_contract: Callable[[str, str], None], kind: str, key: str) -> None:
    expect_contract(kind, key)
    module = importlib.import_module(f"{KINDS[kind].package}.{key}")
    assert sum(is_plugin(value, KINDS[kind].verb, module.__name__) for value in vars(module).values() if is_public(value)) == 1


def test_an_option_is_explained_where_it_is_declared_or_nearer() -> None:
    texts = {option.name: option.text for option in options_of("scorer", "receiver_heads")}
    assert texts["exclude_sink"].startswith("How many of the first tokens of the sequence ")  # of AttentionScorer
    assert texts["proximity"] == "Least number of steps between a step and those that look back at it."
    of_block = {option.name: option.text for option in options_of("strategy", "random_block")}
    of_tokens = {option.name: option.text for option in options_of("strategy", "random_tokens")}
    assert of_block["keep_ratio"] == of_tokens["keep_ratio"]
    assert of_block["seed"].startswith("The same seed gives the same block ")
    assert [option.name for option in options_of("strategy", "random_block")] == [
        "seed", "keep_ratio", "curve_points", "token_budget",
    ]  # fmt: skip
    assert [option.default for option in options_of("strategy", "random_block")] == [0, 0.0, 0, None]


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("strategy", "greedy:objective=joint"),
        ("strategy", "greedy:objective=joint,keep_ratio=0.5"),
        ("annotator", "rules:model=blank"),
        ("analysis", "rank_correlation:strategy=greedy:objective=joint"),
        ("analysis", "rank_correlation:draws=999,seed=7"),
        ("figure", "head_map:alpha=0.1"),
    ],
)
def test_a_label_names_what_differs_and_is_read_back(kind: str, spec: str) -> None:
    plugin = load(kind, spec)
    assert label(plugin) == spec
    assert load(kind, label(plugin)) == plugin != load(kind, spec.partition(":")[0])


def test_an_option_may_hold_the_label_of_another_plugin() -> None:
    strategy = label(load("strategy", "greedy:objective=joint,keep_ratio=0.5"))
    analysis = load_class("analysis", "rank_correlation")(strategy=strategy, draws=999)
    assert label(analysis) == r"rank_correlation:strategy=greedy:objective=joint\,keep_ratio=0.5,draws=999"
    assert load("analysis", label(analysis)) == analysis


def test_options_are_read_with_white_space_around_them_and_in_any_order() -> None:
    spaced, plain = "greedy: keep_ratio = 0.5 , objective=joint,", "greedy:objective=joint,keep_ratio=0.5"
    assert load("strategy", spaced) == load("strategy", plain)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", ["nope", "", "_page", "../greedy", "Greedy", "greedy.py"])
def test_an_unknown_key_lists_the_keys(kind: str, key: str) -> None:
    with pytest.raises(PluginError) as refused:
        load(kind, key)
    assert str(refused.value) == f"unknown {kind} {key!r}; available: {', '.join(available(kind))}"


@pytest.mark.parametrize("use", [available, lambda kind: load(kind, "greedy")], ids=["available", "load"])
def test_an_unknown_kind_lists_the_kinds(use: Callable[[str], Any]) -> None:
    with pytest.raises(PluginError) as refused:
        use("scorers")
    kinds = "analysis, annotator, converter, figure, format, policy, scorer, segmenter, strategy"
    assert str(refused.value) == f"unknown kind of plugin 'scorers'; there are {kinds}"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("nope=1", "greedy has no option nope; it has checkpoint_every, keep_ratio, "),
        ("a=1,b=2", "greedy has no option a, b; it has "),
        ("objective", "'objective' is not an option; write greedy:name=value,name=value"),
        ("objective=both", "objective='both': Input should be 'answer', 'joint' or 'influence'"),
        ("keep_ratio=half", "keep_ratio='half': Input should be a valid number"),
        ("keep_ratio=", "keep_ratio='': Input should be a valid number"),
        ("token_budget=1.5", "token_budget='1.5': Input should be a valid integer"),
        ("keep_ratio=2", "keep_ratio is 2.0, expected 0..1"),
        ("keep_ratio=nan", "keep_ratio is nan, expected 0..1"),
    ],
)
def test_a_wrong_option_is_named_with_what_is_expected(options: str, words: str) -> None:
    with pytest.raises(PluginError) as refused:
        load("strategy", f"greedy:{options}")
    message = str(refused.value)
    assert message.startswith(f"strategy 'greedy:{options}': {words}")
    assert "\n" not in message


def test_listing_imports_neither_torch_nor_spacy() -> None:
    script = (
        "import sys; from reasoning_anatomy.plugins import KINDS, available\n"
        "assert all(available(kind) for kind in KINDS)\n"
        "print(sorted({'torch', 'transformers', 'tokenizers', 'spacy', 'matplotlib'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
