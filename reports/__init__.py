"""Results to figures and one HTML file: one figure per file."""

from typing import TYPE_CHECKING

from reasoning_anatomy.lazy import lazy_names

if TYPE_CHECKING:
    from reports._export import save_figure, save_figures
    from reports._page import write_report

__all__ = ["save_figure", "save_figures", "write_report"]

__getattr__ = lazy_names(__name__, {"_export": ["save_figure", "save_figures"], "_page": ["write_report"]})
