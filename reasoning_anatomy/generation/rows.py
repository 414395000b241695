"""How many samples can be written at the same time."""

from typing import Final

from reasoning_anatomy.models.capabilities import free_bytes
from reasoning_anatomy.models.loading import LoadedModel

_MOST: Final = {"cpu": 32}
_MOST_ON_AN_ACCELERATOR: Final = 128


def rows_that_fit(loaded: LoadedModel, n_tokens: int) -> int:
    """Say how many samples of up to ``n_tokens``, context included, are written at the same time; at least one.

    Their keys and values take half of what is free on an accelerator and 1 GiB on a CPU; a CPU writes 32 at most, since more
    are no faster.
    """
    most = _MOST.get(loaded.device.type, _MOST_ON_AN_ACCELERATOR)
    return int(max(1, min(most, free_bytes(loaded) // (bytes_per_token(loaded) * n_tokens))))


def bytes_per_token(loaded: LoadedModel) -> int:
    """Memory of the keys and values of one token in all layers, if all of them attend."""
    config = loaded.text_config
    n_heads = getattr(config, "num_key_value_heads", None) or loaded.n_heads or 1
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // (loaded.n_heads or 1)
    return int(2 * loaded.n_layers * n_heads * head_dim * loaded.model.dtype.itemsize)
