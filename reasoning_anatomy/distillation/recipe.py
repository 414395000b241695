"""How students are trained, and how they answer: the same for all of them."""

from dataclasses import dataclass, field
from typing import Final, Literal

from reasoning_anatomy.evaluation.answering import GOLD
from reasoning_anatomy.generation.completion import Sampling
from reasoning_anatomy.options import expect_at_least, expect_ratio

PROJECTIONS: Final = "all-linear"
"""What an adapter is put on: all projections of attention and MLP, as published."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a student is trained. The defaults are the field's published recipe.

    Attributes
    ----------
    method
        ``lora``: adapters on all projections. ``full``: all weights, for small models.
    rank
        Of the adapters.
    alpha
        Of the adapters: their update is scaled by alpha / rank.
    learning_rate
        At its highest.
    epochs
        Passes over the training set.
    batch_size
        Rows of one step of the optimiser.
    rows_at_once
        Rows of one forward pass; the others of a batch are accumulated. Steps do not depend on it beyond rounding.
    warmup
        Share of the steps over which the learning rate rises.
    schedule
        How it falls after that, to zero.
    longest_row
        Longest row, prompt included. A chain whose whole row is longer is left out of every set, and counted: none is cut.
    checkpoint_every
        Steps after which the training is saved, to continue from there if the process is killed.

    Raises
    ------
    ValueError
        An option is out of its range.

    References
    ----------
    Xia et al. (2025), TokenSkip, arXiv 2502.12067: LoRA of rank 8 and alpha 16, learning rate 5e-5, 3 epochs, warm-up 10 %.
    """

    method: Literal["lora", "full"] = "lora"
    rank: int = 8
    alpha: int = 16
    learning_rate: float = 5e-5
    epochs: int = 3
    batch_size: int = 8
    rows_at_once: int = field(default=8, repr=False)
    warmup: float = 0.1
    schedule: Literal["cosine", "linear"] = "cosine"
    longest_row: int = 2048
    checkpoint_every: int = field(default=50, repr=False)

    def __post_init__(self) -> None:
        expect_at_least(self, rank=1, alpha=1, epochs=1, batch_size=1, rows_at_once=1, longest_row=2, checkpoint_every=1)
        expect_ratio(self, "warmup")
        if not 0 < self.learning_rate < 1:
            raise ValueError(f"learning_rate is {self.learning_rate}, expected a number between 0 and 1, such as 5e-5")
        if self.batch_size % self.rows_at_once:
            raise ValueError(
                f"rows_at_once is {self.rows_at_once}, expected a divisor of batch_size ({self.batch_size}): every step has as "
                "many rows"
            )


@dataclass(frozen=True, kw_only=True)
class Examination:
    r"""How students answer the questions.

    Attributes
    ----------
    sampling
        How tokens are drawn; the most likely one each time, unless a temperature is named.
    gold_form
        The text of which the likelihood is measured behind what a student reasons, from ``GOLD`` on, where the gold answer is
        put in.
    """

    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0, max_tokens=1024))
    gold_form: str = r"The answer is: \boxed{GOLD}"

    def __post_init__(self) -> None:
        if self.gold_form.count(GOLD) != 1:
            raise ValueError(f"gold_form is {self.gold_form!r}, expected a text in which {GOLD} stands once")
