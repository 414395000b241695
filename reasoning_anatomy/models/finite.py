"""What is said if a model gives numbers that are not finite."""

from typing import Final

import torch

_REMEDIES: Final = {
    torch.float16: "numbers beyond 65,504 overflow there: use --dtype bfloat16 or --dtype float32",
    torch.bfloat16: "try --dtype float32",
}

LOGITS: Final = "the model gives logits that are not finite numbers"


def not_finite(what: str, dtype: torch.dtype) -> str:
    """Complete a sentence on ``what`` is not finite: in which dtype the model is held, and what helps."""
    remedy = _REMEDIES.get(dtype, "check the weights of the model")
    return f"{what} in {str(dtype).removeprefix('torch.')}; {remedy}"
