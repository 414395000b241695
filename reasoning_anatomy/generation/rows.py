"""How many samples can be written at the same time."""

from typing import Final

from reasoning_anatomy.errors import ModelError
from reasoning_anatomy.models.capabilities import free_bytes, longest_of_one_rotation
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.models.memory import is_out_of_memory, release_memory

_MOST: Final = {"cpu": 32}
_MOST_ON_AN_ACCELERATOR: Final = 128


def rows_that_fit(loaded: LoadedModel, n_tokens: int, *, asked: int | None = None) -> int:
    """Say how many samples of up to ``n_tokens``, context included, are written at the same time; at least one.

    As many as are ``asked`` for, if that is said. If not, their keys and values take half of what is free on an accelerator and
    1 GiB on a CPU; a CPU writes 32 at most, since more are no faster. A model that rotates all rows by the longest of them
    writes one at a time if they are so long that it would.
    """
    if n_tokens > longest_of_one_rotation(loaded):
        return 1
    if asked is not None:
        return asked
    most = _MOST.get(loaded.device.type, _MOST_ON_AN_ACCELERATOR)
    return int(max(1, min(most, free_bytes(loaded) // (bytes_per_token(loaded) * n_tokens))))


def fewer_rows(loaded: LoadedModel, n_rows: int, error: RuntimeError | MemoryError) -> int:
    """Say how many samples are written at the same time if memory ran out with ``n_rows``; any other ``error`` is raised again.

    Raises
    ------
    ModelError
        Memory ran out with a single one.
    """
    if not is_out_of_memory(error):
        raise error
    if n_rows == 1:
        raise ModelError(
            f"{loaded.id}: there is too little memory to write a single sample; make the model smaller (--dtype bfloat16, "
            "--quantize 4bit) or the samples shorter (--max-tokens)"
        ) from error
    release_memory()
    return n_rows // 2


def bytes_per_token(loaded: LoadedModel) -> int:
    """Memory of the keys and values of one token in all layers, if all of them attend."""
    config = loaded.text_config
    if getattr(config, "kv_lora_rank", None):  # DeepSeek's latent attention caches the keys and values of every head
        of_head = config.qk_nope_head_dim + config.qk_rope_head_dim + config.v_head_dim
        return int(loaded.n_layers * config.num_attention_heads * of_head * loaded.model.dtype.itemsize)
    n_heads = getattr(config, "num_key_value_heads", None) or loaded.n_heads or 1
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // (loaded.n_heads or 1)
    return int(2 * loaded.n_layers * n_heads * head_dim * loaded.model.dtype.itemsize)
