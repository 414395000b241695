"""Pruning of steps as TRAAC means it."""

from dataclasses import dataclass
from typing import Literal

from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.pruning import PruningJob
from reasoning_anatomy.pruning.traac import Traac
from reasoning_anatomy.types import EncodedChain, PruningPath


@dataclass(frozen=True, kw_only=True)
class TraacClean(Traac):
    """TRAAC without its accidents: cue words wherever they stand in the text, the prompt in context, no tags in steps.

    The same rule as `traac`, see there. But steps begin at the characters of a cue word, the model reads the question before
    the reasoning, and the first step is without the sink that ``<think>`` is in `traac`. So scores of steps are more uniform
    wherever we looked, and the gate that lets nothing go above a uniformity of 0.8 closes more often.

    References
    ----------
    TRAAC, arXiv:2510.01581; a cleaned variant.
    """

    difficulty: Literal["pass_rate", "ignored"] = "pass_rate"
    tags: bool = False
    steps: str = "cue_words"
    scorer: str = (
        "end_of_thinking:probe=Time is up. I should stop thinking and now write a summary containing all key steps required to "
        "solve the problem."
    )
    how: Literal["mean", "sum"] = "mean"
    curve_points: int = 10
    token_budget: int | None = None

    def prune(self, chain: EncodedChain, *, loaded: LoadedModel, job: PruningJob | None = None) -> PruningPath:
        """Delete tokens of one chain; see `Strategy.prune`."""
        return super().prune(chain, loaded=loaded, job=job)
