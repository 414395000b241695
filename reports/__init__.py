"""Results to figures and one HTML file: one figure per file."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports._export import save_figures
    from reports._page import write_report

_HOME = {"save_figures": "_export", "write_report": "_page"}

__all__ = ["save_figures", "write_report"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
