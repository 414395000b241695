"""What a sample depends on, and what a model wrote: the same for a model on this machine and for one behind a server."""

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Final, Literal

from reasoning_anatomy.transcripts import EvictionTranscript

FinishReason = Literal["eos", "think_closed", "stop_string", "length", "loop"]
"""Why a sample ended: the model ended its turn, closed its thinking, wrote a stop string, ran out of tokens, repeats itself."""

INSTRUCTION: Final = r"Please reason step by step, and put your final answer within \boxed{}."
"""What goes behind every question, as the makers of DeepSeek-R1 advise for mathematics."""

LOOP_TOKENS: Final = 512
"""Over so many tokens a sample may repeat a piece of at most 128 tokens before it ends, unless another number is named."""

_BITS_OF_A_SEED: Final = 63


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are drawn; together with the model and the question, all that a sample depends on.

    Attributes
    ----------
    temperature
        Divides the logits, 0 or more; 0 takes the most likely token.
    top_p
        Draw among the most likely tokens that have this share of the probability together, above 0; 1 draws among all.
    max_tokens
        Largest number of tokens that are written, thinking included.
    seed
        Any whole number; every sample has a seed of its own that follows from it.
    stop
        Texts behind which a sample ends.

    Raises
    ------
    ValueError
        A value is out of its range.
    """

    temperature: float = 0.6
    top_p: float = 0.95
    max_tokens: int = 4096
    seed: int = 0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(f"temperature is {self.temperature}, expected 0 or more; 0 takes the most likely token")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}, expected more than 0 and at most 1; 1 draws among all tokens")
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens is {self.max_tokens}, expected 1 or more")
        if isinstance(self.stop, str) or not all(self.stop):
            raise ValueError(f"stop is {self.stop!r}, expected texts that are not empty")

    @property
    def is_greedy(self) -> bool:
        """Whether the most likely token is taken, so that all samples of a question are the same."""
        return self.temperature == 0


@dataclass(frozen=True)
class Completion:
    """What a model wrote. Text, which is not trusted.

    Attributes
    ----------
    text
        All of it, without the token that ends a turn; without the reasoning, if that is given apart. From a server, without the
        stop string that ended it.
    n_tokens
        Number of tokens that were written, reasoning and end of turn included.
    finish_reason
        Why it ended.
    reasoning
        The reasoning, if a server takes it out of the text.
    draws_from_all_tokens
        Whether nothing but temperature and top_p narrowed what was drawn from. If not, defaults of the server or of the model
        held as well, such as a top_k in ``generation_config.json``.
    transcript
        What was evicted while it was written; None without a policy.
    """

    text: str
    n_tokens: int
    finish_reason: FinishReason
    reasoning: str | None = None
    draws_from_all_tokens: bool = True
    transcript: EvictionTranscript | None = None


def sample_seed(seed: int, question_id: str, sample: int) -> int:
    """Return the seed of one sample, 63 bits: whatever else is sampled, in whatever order and batch.

    >>> sample_seed(0, "word-000", 0) == sample_seed(0, "word-000", 0) != sample_seed(0, "word-000", 1)
    True
    """
    text = json.dumps([seed, question_id, sample])
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> (64 - _BITS_OF_A_SEED)
