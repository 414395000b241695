"""Pruning of steps as TRAAC compresses what a model wrote."""

import dataclasses
from dataclasses import dataclass
from typing import Final, Literal, Protocol, runtime_checkable

import numpy as np

from reasoning_anatomy import plugins
from reasoning_anatomy.errors import PluginError
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.pruning import PruningJob
from reasoning_anatomy.pruning._curve import evaluated
from reasoning_anatomy.pruning._steps import (
    StepScoreOptions,
    ascending,
    by_score,
    expect_finite_scores,
    numbered,
    scores_of_units,
)
from reasoning_anatomy.steps import aggregate, uniformity
from reasoning_anatomy.types import EncodedChain, FloatArray, PruningPath

_TOO_UNIFORM: Final = 0.8
_LARGEST_SHARE: Final = 0.8
_RATE_OF_DIFFICULTY: Final = ((0.8, 1.0), (0.3, 2 / 3), (0.0, 1 / 3))
"""From this pass rate on, this share of the threshold: at threshold 0.6 the published rates 0.6, 0.4 and 0.2."""
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, kw_only=True)
class Traac(StepScoreOptions):
    """Delete the steps with the lowest mean attention from the end of thinking, fewer if they are alike (TRAAC).

    With the uniformity U of the scores of the steps (their entropy, as a share of the largest possible), a share of min(r (1 -
    U), 0.8) of the steps is deleted, rounded down, and none if U > 0.8. A threshold is the rate r for questions that are easy
    for the model, those that at least 0.8 of its samples solve; from 0.3 on it is two thirds of that, and below a third. So a
    threshold of 0.6 is the published rule.

    The defaults are those of the released code: a request to sum up and ``</think>`` are put after the reasoning, no prompt
    before it, and all of that is cut into steps at cue words among the tokens as the tokenizer writes them. So ``<think>`` is
    in the first step, or is one by itself if the reasoning begins with a cue word; as the first token it draws much attention,
    and the gate U mostly measures that. The mean is over all layers, as in the paper and for DeepSeek's models in the code; for
    Qwen3 the code takes the first half, ``layers=first_half`` in the options of the scorer. The code scores with the model
    before its training, and is used while training; here a finished chain is scored with the model in hand. `traac_clean`
    mends what is accidental.

    Attributes
    ----------
    difficulty
        ``"pass_rate"``: the rate depends on the share of the samples of the question that are correct, which must be known.
        ``"ignored"``: the threshold is the rate of every question.
    tags
        Whether what the scorer puts before the reasoning belongs to the segmenter's step 0, and what it puts after it to the
        last step. These tokens are no part of the chain and are never deleted, but count in the scores.

    References
    ----------
    TRAAC, arXiv:2510.01581; the public repository, commit 0bfea0a.
    """

    difficulty: Literal["pass_rate", "ignored"] = "pass_rate"
    tags: bool = True
    steps: str = "cue_words:match=surface"
    scorer: str = (
        "end_of_thinking:probe=Time is up. I should stop thinking and now write a summary containing all key steps required to "
        "solve the problem.,question=false"
    )
    how: Literal["mean", "sum"] = "mean"
    curve_points: int = 10
    token_budget: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tags and not isinstance(plugins.load("scorer", self.scorer), _ScoresTags):
            raise PluginError(f"strategy {plugins.label(self)!r}: {self.scorer} scores no tags; add tags=false")

    def prune(self, chain: EncodedChain, *, loaded: LoadedModel, job: PruningJob | None = None) -> PruningPath:
        """Delete tokens of one chain; see `Strategy.prune`."""
        return evaluated(self, self.order(chain, loaded=loaded), chain, loaded=loaded, job=job)

    def order(self, chain: EncodedChain, *, loaded: LoadedModel) -> PruningPath:
        """Find the deletions alone; see `OrdersBeforehand`."""
        scorer = plugins.load("scorer", self.scorer)
        if not (self.tags and isinstance(scorer, _ScoresTags)):
            return by_score(self, chain, loaded=loaded)
        before, score, after = scorer.score_around(chain, loaded=loaded)
        everywhere = expect_finite_scores(np.concatenate([before, score, after]), self.scorer, chain, loaded)
        step = plugins.load("segmenter", self.steps).segment(chain.chain, chain.spans)
        n_before, n_after, n_alone = len(before), len(after), int(step[0] > 0)
        with_tags = np.concatenate([np.zeros(n_before, dtype=np.int64), step, np.full(n_after, step[-1])])
        importance = aggregate(everywhere, with_tags, how=self.how)
        path = ascending(self, importance[n_alone:], score, numbered(step), chain)
        return dataclasses.replace(path, other_score=importance[:n_alone])

    @property
    def uses_pass_rate(self) -> bool:
        """Whether the difficulty of a question is its pass rate; see `UsesPassRate`."""
        return self.difficulty == "pass_rate"

    def n_units_deleted(self, path: PruningPath, threshold: float, *, pass_rate: float | None = None) -> int:
        """Count the steps that the rate and the uniformity of the scores let go; see `HasThresholdRule`."""
        other = np.empty(0) if path.other_score is None else path.other_score
        score = np.concatenate([other, scores_of_units(path)])
        rate, u = self._rate(threshold, pass_rate), uniformity(score)
        share = 0.0 if u > _TOO_UNIFORM else min(rate * (1 - u), _LARGEST_SHARE)
        lowest = np.argsort(score, kind="stable")[: int(share * len(score) + _ROUNDING)]
        return int(np.count_nonzero(lowest >= len(other)))

    def _rate(self, threshold: float, pass_rate: float | None) -> float:
        if self.difficulty == "ignored":
            return threshold
        if pass_rate is None:
            raise PluginError(
                f"strategy {plugins.label(self)!r}: needs to know which share of the samples of a question is correct; give "
                "chains with gold answers and several samples, or write traac:difficulty=ignored"
            )
        return threshold * next(share for least, share in _RATE_OF_DIFFICULTY if pass_rate >= least)


@runtime_checkable
class _ScoresTags(Protocol):
    """A scorer that also scores what it puts around the reasoning."""

    def score_around(self, chain: EncodedChain, *, loaded: LoadedModel) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Score the tokens before the reasoning, of the reasoning, and after it."""
