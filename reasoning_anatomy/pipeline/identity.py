"""Which model a run is measured with, and on which day, in words and digests."""

import dataclasses
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from reasoning_anatomy.generation.chain_file import encoding_of_samples
from reasoning_anatomy.models.chat_template import uses_variable
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.pipeline.checks import expect_one_device
from reasoning_anatomy.run.manifest import MANIFEST_NAME, ModelIdentity, read_manifest
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


def as_begun(
    encoding: EncodingOptions | None, folder: Path, tokenizer: PreTrainedTokenizerBase, *, samples: Path | None = None
) -> EncodingOptions:
    """Options with the date and the template variables of a run that was begun, unless the user names others.

    A run that begins takes those with which its file of chains was sampled, as far as this model's template uses them.
    """
    encoding, known = encoding or EncodingOptions(), EncodingOptions()
    if (folder / MANIFEST_NAME).exists():
        known = read_manifest(folder).configuration.encoding_options or known
    elif samples is not None:
        known = encoding_of_samples(samples)
    variables = tuple(typed for typed in known.template_variables if uses_variable(tokenizer, typed))
    return dataclasses.replace(
        encoding, date=encoding.date or known.date, template_variables=encoding.template_variables or variables
    )
