"""Which model a run is measured with, and on which day, in words and digests."""

import dataclasses
from pathlib import Path

from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.pipeline.checks import expect_one_device
from reasoning_anatomy.run.manifest import ModelIdentity, date_of_prompts
from reasoning_anatomy.specs import EncodingOptions


def identity(loaded: LoadedModel, encoder: ChainEncoder) -> ModelIdentity:
    """Say which weights and which text format a run is measured with."""
    expect_one_device(loaded)
    return ModelIdentity(
        id=loaded.id,
        revision=getattr(loaded.model.config, "_commit_hash", None),
        architecture=type(loaded.model).__name__,
        n_layers=loaded.n_layers,
        n_heads=loaded.n_heads,
        weights=loaded.weights_digest(),
        template=encoder.template_digest,
        dtype=str(loaded.model.dtype).removeprefix("torch."),
        device=loaded.device.type,
        quantization=loaded.quantization,
    )


def as_begun(encoding: EncodingOptions | None, folder: Path) -> EncodingOptions:
    """Options of a run that may have been begun on another day: unless the user names a date, its prompts keep theirs."""
    encoding = encoding or EncodingOptions()
    return dataclasses.replace(encoding, date=encoding.date or date_of_prompts(folder))
