"""The run folder: its record, the artefacts of every chain, tidy tables; none of it needs torch."""

from typing import TYPE_CHECKING

from reasoning_anatomy.lazy import lazy_names

if TYPE_CHECKING:
    from reasoning_anatomy.run.folder import Run, newest_run, open_run
    from reasoning_anatomy.run.merging import merge_runs
    from reasoning_anatomy.run.stores import stored

__all__ = ["Run", "merge_runs", "newest_run", "open_run", "stored"]

__getattr__ = lazy_names(
    __name__,
    {"folder": ["Run", "newest_run", "open_run"], "merging": ["merge_runs"], "stores": ["stored"]},
)
