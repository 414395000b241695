"""What a sample is asked for."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from reasoning_anatomy.errors import SampleError
from reasoning_anatomy.generation.completion import Completion, Sampling


@dataclass(frozen=True)
class Request:
    """One sample to be made.

    Attributes
    ----------
    name
        By which the caller knows it, and which errors name.
    question
        The message of the user.
    seed
        Of its random numbers, as `sample_seed` makes it; its last 31 bits are sent, because some servers keep no more.
    sampling
        How tokens are drawn.
    system_prompt
        Goes before the question; the model's own default if absent.
    """

    name: str
    question: str
    seed: int
    sampling: Sampling
    system_prompt: str | None = None

    @property
    def messages(self) -> list[dict[str, str]]:
        """What is said to the model."""
        system = [{"role": "system", "content": self.system_prompt}] if self.system_prompt is not None else []
        return [*system, {"role": "user", "content": self.question}]


class Completer(Protocol):
    """What makes samples: a model that is loaded here, or one behind a server."""

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Completion | SampleError]]:
        """Make samples, each with its completion or with the reason why it cannot be made, in any order."""
