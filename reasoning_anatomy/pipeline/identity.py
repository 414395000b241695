"""Which model a run is measured with, in words and digests."""

from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.run.manifest import ModelIdentity


def identity(loaded: LoadedModel, encoder: ChainEncoder) -> ModelIdentity:
    """Say which weights and which text format a run is measured with."""
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
