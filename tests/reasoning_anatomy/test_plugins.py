"""The folder is the registry: what is listed can be made, labelled and made again from its label."""

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reasoning_anatomy.errors import PluginError
from reasoning_anatomy.plugins import KINDS, available, key_of, label, load, load_class

KEYS = [(kind, key) for kind in KINDS for key in available(kind)]


def modules(kind: str) -> list[str]:
    package = importlib.import_module(KINDS[kind].package)
    return [f"{package.__name__}.{module.name}" for module in pkgutil.iter_modules(package.__path__)]


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


@pytest.mark.parametrize("kind", ["scorer", "strategy", "analysis", "format"])
def test_every_public_module_of_a_room_holds_a_plugin(kind: str) -> None:
    public = {name.rpartition(".")[2] for name in modules(kind) if not name.rpartition(".")[2].startswith("_")}
    assert public == set(available(kind))


@pytest.mark.parametrize(("kind", "key"), KEYS)
def test_a_plugin_keeps_the_contract(kind: str, key: str) -> None:
    module = importlib.import_module(f"{KINDS[kind].package}.{key}")
    verb = KINDS[kind].verb
    classes = [
        value for name, value in vars(module).items() if not name.startswith("_") and is_plugin(value, verb, module.__name__)
    ]
    assert len(classes) == 1
    (plugin_class,) = classes
    assert plugin_class.__name__.lower() == key.replace("_", "")
    assert plugin_class.__dataclass_params__.frozen
    assert callable(getattr(plugin_class, verb))
    assert inspect.getdoc(getattr(plugin_class, verb))
    info = available(kind)[key]
    assert (info.key, info.class_name) == (key, plugin_class.__name__)
    assert info.summary == inspect.getdoc(plugin_class).partition("\n")[0]
    assert info.summary.endswith(".")
    assert "\n" not in info.source


@pytest.mark.parametrize("key", available("scorer"))
def test_every_scorer_has_a_summary_and_a_source(key: str) -> None:
    info = available("scorer")[key]
    assert 20 < len(info.summary) <= 128
    assert "arXiv:" in info.source or info.source.startswith("A baseline; ")


@pytest.mark.parametrize("key", available("scorer"))
def test_what_a_scorer_needs_is_told_without_importing_it(key: str) -> None:
    assert available("scorer")[key].needs == getattr(load_class("scorer", key), "needs", "")


@pytest.mark.parametrize(("kind", "key"), KEYS)
def test_options_have_defaults_and_documentation_and_stand_in_the_repr(kind: str, key: str) -> None:
    plugin = load(kind, key)
    documented = inspect.getdoc(type(plugin))
    for option in dataclasses.fields(plugin):
        assert option.kw_only
        assert option.default is not dataclasses.MISSING
        assert f"{option.name}={getattr(plugin, option.name)!r}" in repr(plugin)
        assert f"\n{option.name}" in documented or f", {option.name}" in documented, f"{option.name} is not documented"
    assert repr(plugin).startswith(f"{type(plugin).__name__}(")


@pytest.mark.parametrize(("kind", "key"), KEYS)
def test_a_plain_plugin_is_labelled_by_its_key(kind: str, key: str) -> None:
    plugin = load(kind, key)
    assert (key_of(plugin), label(plugin)) == (key, key)
    assert load(kind, label(plugin)) == plugin == load(kind, f"{key}:")


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("strategy", "greedy:objective=joint"),
        ("strategy", "greedy:objective=joint,keep_ratio=0.5"),
        ("annotator", "rules:model=blank"),
        ("analysis", "rank_correlation:strategy=greedy:objective=joint"),
        ("analysis", "rank_correlation:draws=999,seed=7"),
        ("figure", "layer_head_map:alpha=0.1"),
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
    kinds = "analysis, annotator, figure, format, scorer, strategy"
    assert str(refused.value) == f"unknown kind of plugin 'scorers'; there are {kinds}"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("nope=1", "greedy has no option nope; it has checkpoint_every, keep_ratio, "),
        ("a=1,b=2", "greedy has no option a, b; it has "),
        ("objective", "'objective' is no option; write greedy:name=value,name=value"),
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


def test_a_new_file_is_a_new_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = '''
from dataclasses import dataclass

@dataclass(frozen=True)
class _Hidden:
    def prune(self): ...

class NoDataclass:
    def prune(self): ...

@dataclass(frozen=True)
class Last:
    """Delete the last token first.

    References
    ----------
    Nobody (2020),
    Nowhere.
    """

    keep_ratio: float = 0.0

    def prune(self): ...
'''
    ast.parse(source)
    (tmp_path / "last.py").write_text(source)
    (tmp_path / "_helper.py").write_text(source)
    (tmp_path / "notes.py").write_text("TEXT = 'no plugin'")
    package = importlib.import_module("reasoning_anatomy.pruning")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    info = available("strategy")["last"]
    assert (info.class_name, info.summary, info.source) == ("Last", "Delete the last token first.", "Nobody (2020), Nowhere.")
    assert {"_helper", "notes"}.isdisjoint(available("strategy"))
    assert label(load("strategy", "last:keep_ratio=0.25")) == "last:keep_ratio=0.25"
    monkeypatch.delitem(sys.modules, "reasoning_anatomy.pruning.last")
