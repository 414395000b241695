"""Pruned chains of other programs to runs, and runs to files that these programs read: one format per file."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reasoning_anatomy.interchange._export import export_run
    from reasoning_anatomy.interchange._import import import_run

_HOME = {"export_run": "_export", "import_run": "_import"}

__all__ = ["export_run", "import_run"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
