"""Pruning of the lowest steps until a budget is used."""

import dataclasses
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from reasoning_anatomy import plugins
from reasoning_anatomy.errors import PluginError
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.pruning import PruningJob
from reasoning_anatomy.pruning._curve import evaluated
from reasoning_anatomy.pruning._steps import StepScoreOptions, by_score, scores_of_units
from reasoning_anatomy.pruning._threshold import unit_ends
from reasoning_anatomy.types import EncodedChain, PruningPath

_PROBE: Final = (
    "Time is up. Given the time I’ve spent and the approaches I’ve tried, I should stop thinking and now write "  # noqa: RUF001
    "summarization in one sentence."
)
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, kw_only=True)
class StepBudget(StepScoreOptions):
    """Delete the steps with the lowest mean score until a budget is used (Think Clearly, on a finished chain).

    Published: a request to sum up in one sentence and ``</think>`` are put after the reasoning, a token's importance is the
    attention that it receives from ``</think>``, steps begin at cue words, and the steps with the lowest mean go first. Not
    published, as far as could be established: which layers (here all), one set of tokens for all heads or one for each (here
    one for all), what is protected besides (here only the prompt), and what the budget counts, see ``budget``. The publication
    evicts from the cache while the chain is written, every 200 tokens; here a finished chain is scored once.

    Attributes
    ----------
    budget
        What a threshold t is a share of. ``"tokens"``: of the tokens; whole steps first, the last one only in part, its
        tokens with the lowest score first, so that the path deletes single tokens. ``"mass"``: of the summed importance of
        all tokens. ``"steps"``: of the number of steps. The last two delete whole steps, as many as fit.

    References
    ----------
    Choi et al., Think Clearly: Improving Reasoning via Redundant Token Pruning, arXiv:2507.08806.
    """

    budget: Literal["tokens", "mass", "steps"] = "tokens"
    steps: str = "cue_words"
    scorer: str = "end_of_thinking:probe=" + _PROBE.replace(",", r"\,")
    how: Literal["mean", "sum"] = "mean"
    curve_points: int = 10
    token_budget: int | None = None

    def prune(self, chain: EncodedChain, *, loaded: LoadedModel, job: PruningJob | None = None) -> PruningPath:
        """Delete tokens of one chain; see `Strategy.prune`."""
        by_steps = by_score(self, chain, loaded=loaded)
        return self._as_units(evaluated(self, by_steps, chain, loaded=loaded, job=job))

    def order(self, chain: EncodedChain, *, loaded: LoadedModel) -> PruningPath:
        """Find the deletions alone; see `OrdersBeforehand`."""
        return self._as_units(by_score(self, chain, loaded=loaded))

    def _as_units(self, path: PruningPath) -> PruningPath:
        return dataclasses.replace(path, unit=None, unit_score=None) if self.budget == "tokens" else path

    def n_units_deleted(self, path: PruningPath, threshold: float, *, pass_rate: float | None = None) -> int:
        """Count the steps, or tokens, that fit into the budget; see `HasThresholdRule`."""
        if self.budget == "tokens":
            return int(threshold * path.n_reasoning + _ROUNDING)
        score = scores_of_units(path)
        if self.budget == "steps":
            return int(threshold * len(score) + _ROUNDING)
        mass = score * (np.diff(unit_ends(path), prepend=0) if self.how == "mean" else 1)
        if mass.min() < 0:
            raise PluginError(
                f"strategy {plugins.label(self)!r}: {self.scorer} gives a step a negative score, {mass.min():.3g}, which is no "
                "share of a sum; choose another scorer or budget=tokens"
            )
        return int(np.searchsorted(np.cumsum(mass), (threshold + _ROUNDING) * mass.sum(), side="right"))
