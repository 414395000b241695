"""The model: loaded, its text encoded, what it can do, and how to look inside while it runs. Torch begins here."""

from typing import TYPE_CHECKING

from reasoning_anatomy.lazy import lazy_names
from reasoning_anatomy.specs import BUNDLED, EncodingOptions, ModelSpec

if TYPE_CHECKING:
    from reasoning_anatomy.models.encoding import ChainEncoder
    from reasoning_anatomy.models.loading import LoadedModel, load_model, load_tokenizer

__all__ = ["BUNDLED", "ChainEncoder", "EncodingOptions", "LoadedModel", "ModelSpec", "load_model", "load_tokenizer"]

__getattr__ = lazy_names(__name__, {"encoding": ["ChainEncoder"], "loading": ["LoadedModel", "load_model", "load_tokenizer"]})
