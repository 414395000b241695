"""Pruning of the steps below a percentile of their scores."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.pruning import PruningJob
from reasoning_anatomy.pruning._curve import evaluated
from reasoning_anatomy.pruning._steps import StepScoreOptions, by_score, scores_of_units
from reasoning_anatomy.types import EncodedChain, PruningPath

_ROUNDING: Final = 1e-12  # of the largest score


@dataclass(frozen=True, kw_only=True)
class StepPercentile(StepScoreOptions):
    """Delete the steps whose score is below a percentile of all scores of steps.

    A threshold t keeps the steps that score at least the linearly interpolated percentile 100 t; with k distinct scores that
    deletes ceil(t (k - 1)) steps. Steps at the percentile are kept, so that equal scores delete nothing.

    The defaults are those of the published script as far as a finished chain allows: the row of the last token of the
    sequence, mean over layers and heads, summed over each paragraph. The script truncates the sequence, loses the reasoning
    in the template of some models, and drops paragraphs of fewer than 10 characters at every threshold above 0; here the
    chain is whole, and steps partition it. The end of turn is a poor witness of what the answer needs, and sums favour long
    steps: the clean variant is ``step_percentile:scorer=answer_attention,how=mean`` (or ``scorer=end_of_thinking``).

    References
    ----------
    The public repository reasoning-step-pruning, commit 7d199b9.
    """

    steps: str = "paragraphs:least_characters=10"
    scorer: str = "last_token_attention"
    how: Literal["mean", "sum"] = "sum"
    curve_points: int = 10
    token_budget: int | None = None

    def prune(self, chain: EncodedChain, *, loaded: LoadedModel, job: PruningJob | None = None) -> PruningPath:
        """Delete tokens of one chain; see `Strategy.prune`."""
        return evaluated(self, self.order(chain, loaded=loaded), chain, loaded=loaded, job=job)

    def order(self, chain: EncodedChain, *, loaded: LoadedModel) -> PruningPath:
        """Find the deletions alone; see `OrdersBeforehand`."""
        return by_score(self, chain, loaded=loaded)

    def n_units_deleted(self, path: PruningPath, threshold: float, *, pass_rate: float | None = None) -> int:
        """Count the steps below the percentile; see `HasThresholdRule`."""
        score = scores_of_units(path)
        cutoff = np.percentile(score, 100 * threshold)  # linear
        return int(np.searchsorted(score, cutoff - _ROUNDING * np.abs(score).max(), side="left"))
