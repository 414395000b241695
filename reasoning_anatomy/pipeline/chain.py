"""One chain: the scores and paths that it lacks are measured and written."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
import torch

from reasoning_anatomy.errors import MeasurementError, RunError
from reasoning_anatomy.importance import FollowsPath, Scorer, observe_together
from reasoning_anatomy.models.finite import not_finite
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.models.memory import naming_chain
from reasoning_anatomy.pipeline.plan import Plan
from reasoning_anatomy.progress import Stage
from reasoning_anatomy.pruning import FollowsAnother, PruningJob, Strategy
from reasoning_anatomy.run.writer import Missing, RunWriter
from reasoning_anatomy.types import EncodedChain, PruningPath, TokenScores

ENDS_THE_RUN: Final = (CancelledError, RunError)
"""Errors that no scorer or strategy is to blame for: the work was stopped, or the run folder cannot be read or written."""


@dataclass(frozen=True, eq=False)
class ChainWork:
    """Measures chains, any number at the same time.

    Attributes
    ----------
    writer
        Of the run.
    plan
        What to measure.
    loaded
        The model.
    stopped
        Ends the work soon after it is set: measurements in progress then raise CancelledError.
    """

    writer: RunWriter
    plan: Plan
    loaded: LoadedModel
    stopped: threading.Event = field(default_factory=threading.Event)

    def measure(self, chain: EncodedChain, missing: Missing, *, wait: bool = False) -> None:
        """Measure and write what a chain lacks. What another process is working on is left to it, or waited for.

        If a number is not finite, memory runs out, or a scorer or strategy crashes, that is recorded for this chain and this
        plugin; nothing else is lost.
        """
        self.writer.add_encoded(chain)
        references = {label: self._reference(label) for label in missing.scorers if label in self.plan.scorers}
        self._claim_and_score(chain, [label for label, reference in references.items() if reference is None], wait=wait)
        for label in missing.strategies:
            strategy = self.plan.strategies[label]
            if isinstance(strategy, FollowsAnother) and not self._is_settled(chain, strategy.reference, wait=wait):
                continue
            with self.writer.claim_path(chain.chain_id, label, wait=wait) as is_ours:
                if is_ours and label in self._missing(chain).strategies:
                    self._prune(chain, label, strategy)
        for label, reference in references.items():
            if reference is not None and self._is_settled(chain, reference, wait=wait):
                self._claim_and_score(chain, [label], wait=wait)

    def _reference(self, label: str) -> str | None:
        """Label of the strategy whose path a scorer needs; None if it needs none."""
        scorer = self.plan.scorers[label]
        return scorer.reference if isinstance(scorer, FollowsPath) else None

    def _claim_and_score(self, chain: EncodedChain, labels: Sequence[str], *, wait: bool) -> None:
        if labels:
            with self.writer.claim_scores(chain.chain_id, labels, wait=wait) as is_ours:
                if is_ours:
                    self._score(chain, labels)

    def _is_settled(self, chain: EncodedChain, label: str, *, wait: bool) -> bool:
        """Whether a path exists, or no other process is working on it."""
        if self.writer.run.layout.artefact(chain.chain_id, "path", label).exists():
            return True
        with self.writer.claim_path(chain.chain_id, label, wait=wait) as is_free:
            return is_free

    def _missing(self, chain: EncodedChain) -> Missing:
        return self.writer.missing([chain.chain_id]).get(chain.chain_id, Missing((), ()))

    def _score(self, chain: EncodedChain, labels: Sequence[str]) -> None:
        stage = self.writer.stages.add("score", 0)
        missing = self._missing(chain).scorers
        scorers = {label: self.plan.scorers[label] for label in labels if label in missing}
        with stage:
            observed = self._observed(chain, scorers)
        for label, scorer in scorers.items():
            self.writer.forget_failure(chain.chain_id, "score", label)
            follows = self._reference(label)
            try:
                given = observed.get(label, {}) if follows is None else {"path": self._path(chain, follows, label)}
                with stage, naming_chain(chain.chain_id):
                    scores = scorer.score(chain, loaded=self.loaded, **given)
                _expect_finite(scores, chain, label, self.loaded.model.dtype)
            except ENDS_THE_RUN:
                raise
            except Exception as error:
                self.writer.add_error(chain.chain_id, "score", label, error)
            else:
                self.writer.add_scores(chain.chain_id, label, scores, follows=follows)
            self._advance(stage)

    def _observed(self, chain: EncodedChain, scorers: Mapping[str, Scorer]) -> Mapping[str, Mapping[str, Any]]:
        """Record what the scorers share; if that fails, each records on its own, and fails on its own."""
        try:
            return observe_together(scorers, chain, loaded=self.loaded)
        except ENDS_THE_RUN:
            raise
        except Exception:
            return {}

    def _prune(self, chain: EncodedChain, label: str, strategy: Strategy) -> None:
        stage = self.writer.stages.add("prune", 0)
        self.writer.forget_failure(chain.chain_id, "path", label)
        try:
            follows = strategy.reference if isinstance(strategy, FollowsAnother) else None
            job = self._job(chain, label, follows, partial(self._advance, stage))
            if job.begun is not None:
                stage.advance(len(job.begun.deleted))
            with stage, naming_chain(chain.chain_id):
                path = strategy.prune(chain, loaded=self.loaded, job=job)
        except ENDS_THE_RUN:
            raise
        except Exception as error:
            self.writer.add_error(chain.chain_id, "path", label, error)
        else:
            self.writer.add_path(chain.chain_id, label, path, follows=follows)

    def _job(self, chain: EncodedChain, label: str, follows: str | None, advance: Callable[[], None]) -> PruningJob:
        """Give a strategy the path that it follows, and the path that an earlier process began."""
        paths = {} if follows is None else {follows: self._path(chain, follows, label)}
        begun = self.writer.begun_path(chain.chain_id, label)
        save = partial(self.writer.add_begun_path, chain.chain_id, label, follows=follows)
        return PruningJob(advance, paths, begun, save)

    def _path(self, chain: EncodedChain, label: str, follower: str) -> PruningPath:
        path = self.writer.run.path(chain.chain_id, label)
        if path is None:
            raise MeasurementError(chain.chain_id, f"has no path of {label}, which {follower} follows")
        return path

    def _advance(self, stage: Stage) -> None:
        stage.advance()
        if self.stopped.is_set():
            raise CancelledError


def _expect_finite(scores: TokenScores, chain: EncodedChain, label: str, dtype: torch.dtype) -> None:
    if len(scores.score) != chain.n_reasoning:
        raise MeasurementError(
            chain.chain_id, f"{label} gives {len(scores.score)} scores for {chain.n_reasoning} reasoning tokens"
        )
    parts = [part for part in (scores.profile, scores.stages) if part is not None]
    if not (np.isfinite(scores.score).all() and all(part.is_finite for part in parts)):
        raise MeasurementError(chain.chain_id, not_finite(f"the scores of {label} are not all finite numbers", dtype))
