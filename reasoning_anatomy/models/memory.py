"""What is done if memory runs out."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import torch

from reasoning_anatomy.errors import MeasurementError

Result = TypeVar("Result")

OUT_OF_MEMORY: Final = (
    "there is too little memory for a single forward pass; make the model smaller (--dtype bfloat16, --quantize 4bit), measure "
    "fewer chains at a time (--workers 1), or leave the chain out"
)
_SAID_BY_TORCH: Final = ("out of memory", "not enough memory", "can't allocate memory", "ALLOC_FAILED", "bad_alloc")


def is_out_of_memory(error: RuntimeError | MemoryError) -> bool:
    """Tell whether memory ran out, on an accelerator or on the CPU."""
    is_named = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return is_named or any(words in str(error) for words in _SAID_BY_TORCH)


def release_memory() -> None:
    """Free the memory of an accelerator that torch holds and does not use."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def with_smaller_chunks_on_oom(compute: Callable[[int], Result], n_tokens: int, *, least: int) -> Result:
    """Call ``compute(n_tokens)``; if memory runs out, again with half as many tokens at once, a quarter, ...

    The error is re-raised once n_tokens <= least.
    """
    while True:
        try:
            return compute(n_tokens)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or n_tokens <= least:
                raise
        n_tokens //= 2
        release_memory()


@contextmanager
def naming_chain(chain_id: str) -> Iterator[None]:
    """Raise `MeasurementError` for the chain if memory runs out, so that only this chain fails."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise MeasurementError(chain_id, OUT_OF_MEMORY) from error
