r"""Plugins: one public module, one frozen dataclass, one verb.

The folders of the package are the registry; installed packages add theirs by entry points, and users by folders of their own
(`add_folder`). A plugin's key is its file's name, its fields are its options, its ``repr`` is its provenance. Listing reads
the source without importing it, so it needs neither torch nor spaCy.
"""

import dataclasses
import hashlib
import importlib
import importlib.util
import pkgutil
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Protocol, overload

import docstring_parser
from pydantic import TypeAdapter, ValidationError

from reasoning_anatomy.errors import PluginError
from reasoning_anatomy.plugin_files import PluginInfo, read_plugins

if TYPE_CHECKING:
    from reasoning_anatomy.conversion import Converter
    from reasoning_anatomy.eviction import EvictionPolicy
    from reasoning_anatomy.importance import Scorer
    from reasoning_anatomy.interchange import Format
    from reasoning_anatomy.pruning import Strategy
    from reasoning_anatomy.steps import Segmenter


class Plugin(Protocol):
    """What every plugin is: a frozen dataclass. The protocol of its kind says which methods it has."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


@dataclass(frozen=True)
class Kind:
    """A room of plugins: the package that holds them, the method that each must have, and their plural.

    The plural names the group of entry points, ``reasoning_anatomy.<plural>``, and is the word on the command line.
    """

    package: str
    verb: str
    plural: str


@dataclass(frozen=True)
class Option:
    """One option of a plugin: its name, its default, and its description from the class or from one that it extends."""

    name: str
    default: Any
    text: str


KINDS: Final[Mapping[str, Kind]] = {
    "scorer": Kind("reasoning_anatomy.importance", "score", "scorers"),
    "strategy": Kind("reasoning_anatomy.pruning", "prune", "strategies"),
    "annotator": Kind("annotations", "annotate", "annotators"),
    "analysis": Kind("analyses", "analyse", "analyses"),
    "figure": Kind("reports.figures", "draw", "figures"),
    "format": Kind("reasoning_anatomy.interchange", "read", "formats"),
    "segmenter": Kind("reasoning_anatomy.steps", "segment", "segmenters"),
    "converter": Kind("reasoning_anatomy.conversion", "convert", "converters"),
    "policy": Kind("reasoning_anatomy.eviction", "evict", "policies"),
}

_BETWEEN_OPTIONS: Final = re.compile(r"(?<!\\),")
_KEY: Final = re.compile(r"[a-z][a-z0-9_]*")
_folders: Final[dict[Path, str]] = {}
"""Folders of users, and the name of the package as which each is imported."""


@dataclass(frozen=True)
class _Source:
    """Where a plugin is: its file, and the module that importing it makes."""

    info: PluginInfo
    file: Path
    module: str


def available(kind: str) -> dict[str, PluginInfo]:
    """Plugins of a kind by key, in alphabetical order.

    Parameters
    ----------
    kind
        ``"scorer"``, ``"strategy"``, ``"annotator"``, ``"analysis"``, ``"figure"``, ``"format"``,
        ``"segmenter"``, ``"converter"`` or ``"policy"``.

    Raises
    ------
    PluginError
        The kind is unknown, or a file in a folder of the user's is not a plugin.

    Warns
    -----
    UserWarning
        A plugin of an installed package cannot be used; the others are listed.
    """
    return {key: source.info for key, source in sorted(_sources(kind).items())}


def add_folder(folder: str | Path) -> None:
    """Add a folder of your own plugins to those that `available` lists and `load` makes.

    Each file of the folder holds one plugin. Its verb says its kind, and the file's name is its key. Files that begin with
    ``_`` are not plugins; the others may import from them: ``from ._shared import words``.

    Parameters
    ----------
    folder
        Adding it again changes nothing. Files that are written into it later are found, too.

    Raises
    ------
    PluginError
        There is no such folder, a file in it is not a plugin, or its key is that of another plugin; then nothing is added.
    """
    path = Path(folder).resolve()
    if not path.is_dir():
        raise PluginError(f"{folder}: there is no such folder; name one that holds your plugins, one per file")
    if path in _folders:
        return
    _folders[path] = _package_of(path)
    try:
        for kind in KINDS:
            _sources(kind)
    except PluginError:
        del _folders[path]
        raise


@overload
def load(kind: Literal["scorer"], spec: str, **options: Any) -> "Scorer": ...
@overload
def load(kind: Literal["strategy"], spec: str, **options: Any) -> "Strategy": ...
@overload
def load(kind: Literal["format"], spec: str, **options: Any) -> "Format": ...
@overload
def load(kind: Literal["segmenter"], spec: str, **options: Any) -> "Segmenter": ...
@overload
def load(kind: Literal["converter"], spec: str, **options: Any) -> "Converter": ...
@overload
def load(kind: Literal["policy"], spec: str, **options: Any) -> "EvictionPolicy": ...
@overload
def load(kind: str, spec: str, **options: Any) -> Any: ...
def load(kind: str, spec: str, **options: Any) -> Any:
    r"""Make the plugin that ``spec`` names.

    Parameters
    ----------
    kind
        As in `available`.
    spec
        ``"greedy"`` or, with options, ``"greedy:objective=joint,keep_ratio=0.5"``. A comma inside a value is
        written ``\,``; an option that takes several values has spaces between them.
    **options
        Further options as values of Python; they override those of ``spec``.

    Raises
    ------
    PluginError
        The key is unknown (the message lists those that exist), an option is wrong, or the file cannot be imported.
    """
    key, _, written = spec.partition(":")
    plugin_class = load_class(kind, key)
    values: dict[str, Any] = {}
    for option in filter(None, _BETWEEN_OPTIONS.split(written)):
        name, equals, value = option.partition("=")
        if not equals:
            raise PluginError(f"{kind} {spec!r}: {option!r} is not an option; write {key}:name=value,name=value")
        values[name.strip()] = value.strip().replace(r"\,", ",")
    defaults = {field.name: field.default for field in dataclasses.fields(plugin_class)}
    if unknown := sorted((values.keys() | options.keys()) - defaults.keys()):
        raise PluginError(f"{kind} {spec!r}: {key} has no option {', '.join(unknown)}; it has {_listing(defaults)}")
    values |= {name: tuple(value.split()) for name, value in values.items() if isinstance(defaults[name], tuple)} | options
    try:
        return TypeAdapter(plugin_class).validate_python(values)
    except ValidationError as error:
        raise PluginError(f"{kind} {spec!r}: {_explain(error)}") from None


def load_class(kind: str, key: str) -> type[Any]:
    """Return the class of the plugin with this key or former key.

    Raises
    ------
    PluginError
        The key is unknown (the message lists those that exist), or the file cannot be imported.
    """
    sources = _sources(kind)
    key = next((name for name, source in sources.items() if key in source.info.also_called), key)
    if key not in sources:
        raise PluginError(f"unknown {kind} {key!r}; available: {_listing(sources)}")
    source = sources[key]
    try:
        module = importlib.import_module(source.module)
    except Exception as error:  # a file of someone else may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise PluginError(
            f"{source.file}: cannot be imported ({reason}); repair the file, or install what it imports"
        ) from error
    plugin_class: type[Any] = getattr(module, source.info.class_name)
    return plugin_class


def options_of(kind: str, key: str) -> list[Option]:
    """Return the options of a plugin, in the order in which its label names them.

    Their descriptions come from the sections Attributes of its class and of the classes that it extends; a class overrides
    those that it extends.
    """
    plugin_class = load_class(kind, key)
    texts: dict[str, str] = {}
    for documented in reversed(plugin_class.__mro__[:-1]):
        for entry in docstring_parser.parse(documented.__doc__ or "", docstring_parser.DocstringStyle.NUMPYDOC).params:
            texts |= dict.fromkeys(entry.arg_name.split(", "), " ".join((entry.description or "").split()))
    return [Option(field.name, field.default, texts.get(field.name, "")) for field in dataclasses.fields(plugin_class)]


def key_of(plugin: object) -> str:
    """Return the key of a plugin: the name of the file that defines it."""
    return type(plugin).__module__.rpartition(".")[2]


def label(plugin: Plugin) -> str:
    """Short name of a plugin as configured: its key and every option that differs from the default.

    Columns and paths of a run carry it: ``greedy``, ``greedy:objective=joint``. `load` reads it back.
    """
    changed = []
    for field in dataclasses.fields(plugin):
        value = getattr(plugin, field.name)
        if value != field.default:
            text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            changed.append(f"{field.name}={text}".replace(",", r"\,"))
    return key_of(plugin) + (":" + ",".join(changed) if changed else "")


def is_named(spec: str, option: str) -> bool:
    """Whether a spec gives a value to an option, be it the default.

    >>> is_named("random:every=100", "every"), is_named("random:every=100", "steps")
    (True, False)
    """
    return option in (each.partition("=")[0] for each in _BETWEEN_OPTIONS.split(spec.partition(":")[2]))


def _kind(kind: str) -> Kind:
    if kind not in KINDS:
        raise PluginError(f"unknown kind of plugin {kind!r}; there are {_listing(KINDS)}")
    return KINDS[kind]


def _listing(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    name = "".join(map(str, first["loc"][-1:]))
    if first["type"] == "missing":
        return f"{name} has no default; give it a value: {name}=VALUE"
    return (f"{name}={first['input']!r}: " if name else "") + first["msg"].removeprefix("Value error, ")


def _sources(kind: str) -> dict[str, _Source]:
    """Find all plugins of a kind."""
    sources = _shipped(_kind(kind))
    for source in [*_installed(kind, tuple(sys.path)), *_of_users(kind)]:
        _expect_free(source, kind, sources)
        sources[source.info.key] = source
    return sources


def _expect_free(source: _Source, kind: str, taken: Mapping[str, _Source]) -> None:
    """Refuse a plugin if one of its names, former keys included, is that of another plugin."""
    for other in taken.values():
        if shared := sorted(source.info.names & other.info.names):
            raise PluginError(f"{source.file}: {shared[0]!r} is already the {kind} of {other.file}; give the file another name")


def _shipped(room: Kind) -> dict[str, _Source]:
    return dict(_in_folders(room, tuple(importlib.import_module(room.package).__path__)))


@cache
def _in_folders(room: Kind, folders: tuple[str, ...]) -> dict[str, _Source]:
    """Find the plugins that ship with a package, once for its folders."""
    sources = {}
    for folder in folders:
        for module in pkgutil.iter_modules([folder]):
            if not module.ispkg and not module.name.startswith("_"):
                file = Path(folder) / f"{module.name}.py"
                for info in read_plugins(file):
                    if room.verb in info.methods:
                        sources[info.key] = _Source(info, file, f"{room.package}.{module.name}")
    return sources


@cache
def _installed(kind: str, search_path: tuple[str, ...]) -> tuple[_Source, ...]:
    """Find the plugins of installed packages, once for a search path; one that cannot be used is named in a warning."""
    room = KINDS[kind]
    taken, usable = _shipped(room), []
    for entry in sorted(entry_points(group=f"reasoning_anatomy.{room.plural}"), key=lambda entry: (entry.name, entry.value)):
        try:
            source = _behind(entry, room)
            _expect_free(source, kind, taken)
        except PluginError as error:
            warnings.warn(f"{kind} {entry.name!r} is left out: {error}", UserWarning, stacklevel=2)
        else:
            usable.append(source)
            taken[entry.name] = source
    return tuple(usable)


def _behind(entry: EntryPoint, room: Kind) -> _Source:
    """Find what an entry point names: ``module``, or ``module:Class``."""
    module, _, class_name = (part.strip() for part in entry.value.partition(":"))
    file, key = _file_of(module), module.rpartition(".")[2]
    if entry.name != key:
        raise PluginError(f"a plugin has the name of its file; call the entry point {key!r}, or the module {entry.name!r}")
    for info in read_plugins(file):
        if room.verb in info.methods and class_name in ("", info.class_name):
            return _Source(dataclasses.replace(info, key=key), file, module)
    raise PluginError(f"{file}: {_no_plugin([room.verb])}")


def _file_of(module: str) -> Path:
    """Find the source of a module without importing it, or the packages that it is in."""
    names = module.split(".")
    spec = importlib.util.find_spec(names[0]) if all(name.isidentifier() for name in names) else None
    for depth in range(2, len(names) + 1):
        within = None if spec is None else spec.submodule_search_locations
        spec = None if within is None else PathFinder.find_spec(".".join(names[:depth]), within)
    if spec is None or spec.origin is None:
        raise PluginError(f"there is no module {module!r}; install its package again, or remove it")
    return Path(spec.origin)


def _of_users(kind: str) -> Iterator[_Source]:
    """Find the plugins of a kind in the folders of users; `PluginError` if any of the files there is not a plugin."""
    for folder, package in _folders.items():
        for file in sorted(folder.glob("[!_]*.py")):
            in_file = [(name, info) for info in read_plugins(file) for name in KINDS if KINDS[name].verb in info.methods]
            if not in_file:
                raise PluginError(f"{file}: {_no_plugin(room.verb for room in KINDS.values())}")
            if len(in_file) > 1:
                verbs = ", ".join(f"{info.class_name}.{KINDS[name].verb}" for name, info in in_file)
                raise PluginError(f"{file}: holds several plugins ({verbs}); give each a file of its own")
            if not _KEY.fullmatch(file.stem):
                raise PluginError(f"{file}: the name of a plugin may have only a-z, 0-9 and _; give the file another name")
            if in_file[0][0] == kind:
                yield _Source(in_file[0][1], file, f"{package}.{file.stem}")


def _no_plugin(verbs: Iterable[str]) -> str:
    return (
        f"holds no plugin, a public class under @dataclass(frozen=True, kw_only=True) with a method {' or '.join(verbs)}; "
        "write one, or begin the name of the file with _"
    )


def _package_of(folder: Path) -> str:
    """Make an empty package of a folder, so that its files are modules of it and can clash with no other module."""
    package = f"own_plugins_{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
    spec = ModuleSpec(package, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    importlib.invalidate_caches()
    sys.modules[package] = importlib.util.module_from_spec(spec)
    return package
