"""From pruned chains of other programs to runs, and from runs to files that those programs read: one format per file."""

from typing import TYPE_CHECKING

from reasoning_anatomy.lazy import lazy_names

if TYPE_CHECKING:
    from reasoning_anatomy.interchange._export import export_run
    from reasoning_anatomy.interchange._import import import_run
    from reasoning_anatomy.interchange._pruned import Format, Place, PrunedChain

__all__ = ["Format", "Place", "PrunedChain", "export_run", "import_run"]

__getattr__ = lazy_names(
    __name__, {"_export": ["export_run"], "_import": ["import_run"], "_pruned": ["Format", "Place", "PrunedChain"]}
)
