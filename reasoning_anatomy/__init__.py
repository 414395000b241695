"""Dissect the reasoning chains of language models: attention, exact pruning, functions of tokens, statistics.

Importing this package costs nothing: names are loaded when they are first used, and those that measure a model
are the only ones that need torch.
"""

from typing import TYPE_CHECKING

from reasoning_anatomy.lazy import lazy_names
from reasoning_anatomy.version import __version__ as __version__

if TYPE_CHECKING:
    from reasoning_anatomy.chains import read_chains, write_chains
    from reasoning_anatomy.errors import ReasoningAnatomyError
    from reasoning_anatomy.interchange import export_run, import_run
    from reasoning_anatomy.models.loading import load_model
    from reasoning_anatomy.pipeline.measuring import measure
    from reasoning_anatomy.run.folder import Run, newest_run, open_run
    from reasoning_anatomy.run.merging import merge_runs
    from reasoning_anatomy.types import (
        AnalysisResult,
        Annotation,
        AttentionProfile,
        EncodedChain,
        PruningPath,
        ReasoningChain,
    )

__all__ = [
    "AnalysisResult",
    "Annotation",
    "AttentionProfile",
    "EncodedChain",
    "PruningPath",
    "ReasoningAnatomyError",
    "ReasoningChain",
    "Run",
    "export_run",
    "import_run",
    "load_model",
    "measure",
    "merge_runs",
    "newest_run",
    "open_run",
    "read_chains",
    "write_chains",
]

__getattr__ = lazy_names(
    __name__,
    {
        "chains": ["read_chains", "write_chains"],
        "errors": ["ReasoningAnatomyError"],
        "interchange": ["export_run", "import_run"],
        "models": ["load_model"],
        "pipeline": ["measure"],
        "run": ["Run", "merge_runs", "newest_run", "open_run"],
        "types": ["AnalysisResult", "Annotation", "AttentionProfile", "EncodedChain", "PruningPath", "ReasoningChain"],
    },
)
