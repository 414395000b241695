"""The folder is the registry: one public module, one frozen dataclass, one verb.

A plugin's key is its file's name. Its fields are its options, its ``repr`` is its provenance. Listing reads
the source without importing it, so that it needs neither torch nor spaCy.
"""

import ast
import dataclasses
import importlib
import importlib.util
import inspect
import pkgutil
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from reasoning_anatomy.errors import PluginError


@dataclass(frozen=True)
class Kind:
    """A room of plugins: the package that holds them and the method that each must have."""

    package: str
    verb: str


@dataclass(frozen=True)
class PluginInfo:
    """What a listing shows of a plugin.

    Attributes
    ----------
    key, class_name
        Name of its file, name of its class.
    summary
        First line of its docstring.
    source
        Its published source, from the section References.
    needs
        What it needs beyond the measured model, from its class variable ``needs``; empty where it works as it is.
    needs_no_model
        Whether it works without the measured model too, from its class variable of this name.
    also_called
        Former keys, which are accepted for it, from its class variable of this name.
    title, terms
        Heading of an analysis, and its terms in words, from its class variables of these names.
    """

    key: str
    class_name: str
    summary: str
    source: str
    needs: str = ""
    needs_no_model: bool = False
    also_called: tuple[str, ...] = ()
    title: str = ""
    terms: Mapping[str, str] = field(default_factory=dict)


_SHOWN_VARIABLES: Final = ("needs", "needs_no_model", "also_called", "title", "terms")
_BETWEEN_OPTIONS: Final = re.compile(r"(?<!\\),")

KINDS: Final = {
    "scorer": Kind("reasoning_anatomy.importance", "score"),
    "strategy": Kind("reasoning_anatomy.pruning", "prune"),
    "annotator": Kind("annotations", "annotate"),
    "analysis": Kind("analyses", "analyse"),
    "figure": Kind("reports", "draw"),
    "format": Kind("reasoning_anatomy.interchange", "read"),
}


def available(kind: str) -> dict[str, PluginInfo]:
    """Plugins of a kind by key, in alphabetical order.

    Parameters
    ----------
    kind
        ``"scorer"``, ``"strategy"``, ``"annotator"``, ``"analysis"``, ``"figure"`` or ``"format"``.
    """
    room = _kind(kind)
    found = {}
    for folder in importlib.import_module(room.package).__path__:
        for module in pkgutil.iter_modules([folder]):
            if module.ispkg or module.name.startswith("_"):
                continue
            path = Path(folder) / f"{module.name}.py"
            info = _read_info(path, room.verb, path.stat().st_mtime_ns)
            if info is not None:
                found[info.key] = info
    return dict(sorted(found.items()))


def load(kind: str, spec: str) -> Any:
    r"""Make the plugin that ``spec`` names.

    Parameters
    ----------
    kind
        As in `available`.
    spec
        ``"greedy"`` or, with options, ``"greedy:objective=joint,keep_ratio=0.5"``. A comma inside a value is
        written ``\,``; an option that takes several values has spaces between them.

    Raises
    ------
    PluginError
        The key is unknown (the message lists those that exist) or an option is wrong.
    """
    key, _, options = spec.partition(":")
    plugin_class = load_class(kind, key)
    values: dict[str, str | tuple[str, ...]] = {}
    for option in filter(None, _BETWEEN_OPTIONS.split(options)):
        name, equals, value = option.partition("=")
        if not equals:
            raise PluginError(f"{kind} {spec!r}: {option!r} is no option; write {key}:name=value,name=value")
        values[name.strip()] = value.strip().replace(r"\,", ",")
    known = {field.name: field.default for field in dataclasses.fields(plugin_class)}
    if unknown := sorted(values.keys() - known):
        raise PluginError(f"{kind} {spec!r}: {key} has no option {', '.join(unknown)}; it has {_listing(known)}")
    values |= {name: tuple(str(value).split()) for name, value in values.items() if isinstance(known[name], tuple)}
    try:
        return TypeAdapter(plugin_class).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}={first['input']!r}: " for part in first["loc"][-1:])
        raise PluginError(f"{kind} {spec!r}: {where}{first['msg'].removeprefix('Value error, ')}") from None


def load_class(kind: str, key: str) -> type[Any]:
    """Return the class of the plugin with this key, or that was called so; `PluginError` lists the known keys."""
    known = available(kind)
    key = next((info.key for info in known.values() if key in info.also_called), key)
    if key not in known:
        raise PluginError(f"unknown {kind} {key!r}; available: {_listing(known)}")
    module = importlib.import_module(f"{_kind(kind).package}.{key}")
    plugin_class: type[Any] = getattr(module, known[key].class_name)
    return plugin_class


def key_of(plugin: Any) -> str:
    """Return the key of a plugin: the name of the file that defines it."""
    return type(plugin).__module__.rpartition(".")[2]


def label(plugin: Any) -> str:
    """Short name of a plugin as configured: its key and every option that differs from the default.

    Columns and paths of a run carry it: ``greedy``, ``greedy:objective=joint``. `load` reads it back.
    """
    changed = [
        f"{field.name}={_text_of(getattr(plugin, field.name))}".replace(",", r"\,")
        for field in dataclasses.fields(plugin)
        if getattr(plugin, field.name) != field.default
    ]
    return key_of(plugin) + (":" + ",".join(changed) if changed else "")


def _text_of(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _kind(kind: str) -> Kind:
    if kind not in KINDS:
        raise PluginError(f"unknown kind of plugin {kind!r}; there are {_listing(KINDS)}")
    return KINDS[kind]


@cache
def _read_info(path: Path, verb: str, modified: int) -> PluginInfo | None:
    """Find the public dataclass with the verb in a module's source; read again only where the file was ``modified``."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        is_dataclass = any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
        if is_dataclass and any(isinstance(item, ast.FunctionDef) and item.name == verb for item in node.body):
            text = inspect.cleandoc(ast.get_docstring(node) or "")
            references = re.search(r"References\n-+\n(.*?)(?:\n\n|\Z)", text, re.DOTALL)
            source = " ".join(references[1].split()) if references else ""
            return PluginInfo(path.stem, node.name, text.partition("\n")[0], source, **_class_variables(node))
    return None


def _class_variables(node: ast.ClassDef) -> dict[str, Any]:
    """Values of the class variables that a listing shows."""
    return {
        ast.unparse(item.target): ast.literal_eval(item.value)
        for item in node.body
        if isinstance(item, ast.AnnAssign) and item.value is not None
        if ast.unparse(item.target) in _SHOWN_VARIABLES and "ClassVar" in ast.unparse(item.annotation)
    }


def _listing(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"
