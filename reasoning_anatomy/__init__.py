"""Dissect the reasoning chains of language models: attention, exact pruning, functions of tokens, statistics.

Importing this package costs nothing: names are loaded when they are first used, and those that measure a model
are the only ones that need torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reasoning_anatomy.chains import read_chains, write_chains
    from reasoning_anatomy.errors import ReasoningAnatomyError
    from reasoning_anatomy.interchange import export_run, import_run
    from reasoning_anatomy.models import load_model
    from reasoning_anatomy.pipeline import measure
    from reasoning_anatomy.run import Run, newest_run, open_run
    from reasoning_anatomy.types import (
        AnalysisResult,
        Annotation,
        AttentionProfile,
        EncodedChain,
        PruningPath,
        ReasoningChain,
    )

__version__ = "0.1.0"

_HOME = {
    "AnalysisResult": "types",
    "Annotation": "types",
    "AttentionProfile": "types",
    "EncodedChain": "types",
    "PruningPath": "types",
    "ReasoningAnatomyError": "errors",
    "ReasoningChain": "types",
    "Run": "run",
    "export_run": "interchange",
    "import_run": "interchange",
    "load_model": "models",
    "measure": "pipeline",
    "newest_run": "run",
    "open_run": "run",
    "read_chains": "chains",
    "write_chains": "chains",
}

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
    "newest_run",
    "open_run",
    "read_chains",
    "write_chains",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
