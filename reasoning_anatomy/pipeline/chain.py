"""One chain: its scores, then its paths."""

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np

from reasoning_anatomy.errors import MeasurementError, UndefinedScoreError
from reasoning_anatomy.importance._attention_scorer import observe_together
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.models.memory import naming_chain
from reasoning_anatomy.pipeline.plan import Plan
from reasoning_anatomy.progress import Stage, Stages
from reasoning_anatomy.pruning import PruningJob
from reasoning_anatomy.run.measurement import Measurement
from reasoning_anatomy.types import EncodedChain, Float32Array, FloatArray, PruningPath

Numbers = TypeVar("Numbers", FloatArray, Float32Array)


def measure_chain(
    chain: EncodedChain, plan: Plan, *, loaded: LoadedModel, stages: Stages | None = None,
    stopped: threading.Event | None = None, begun: Measurement | None = None,
    save: Callable[[Measurement], None] = lambda _: None,
) -> Measurement:  # fmt: skip
    """Measure one encoded chain.

    Parameters
    ----------
    chain
        Encoded for the model.
    plan
        What to measure.
    loaded
        The model.
    stages
        Counts scores and deletions.
    stopped
        Ends the work soon after it is set.
    begun
        What an earlier process saved of this chain under the same configuration; the rest is measured.
    save
        Called with what is measured so far, whenever it is worth keeping.

    Raises
    ------
    MeasurementError
        A number is not finite. A scorer that has no value for the chain is no reason: its scores are NaN.
    CancelledError
        ``stopped`` was set.
    """
    stages, stopped = stages or Stages(), stopped or threading.Event()
    scoring, pruning = stages.add("score", 0), stages.add("prune", 0)

    def advance(stage: Stage) -> None:
        stage.advance()
        if stopped.is_set():
            raise CancelledError

    scored = _score(begun or Measurement(chain), plan, loaded, stage=scoring, advance=partial(advance, scoring))
    return _prune(scored, plan, loaded, stage=pruning, advance=partial(advance, pruning), save=save)


def _score(
    done: Measurement, plan: Plan, loaded: LoadedModel, *, stage: Stage, advance: Callable[[], None]
) -> Measurement:  # fmt: skip
    """Add the scores that are not there."""
    chain, scores, profiles, missing = done.encoded, dict(done.scores), dict(done.profiles), dict(done.missing_scores)
    waiting = {label: scorer for label, scorer in plan.scorers.items() if label not in scores}
    with stage, naming_chain(chain.chain_id):
        observed = observe_together(waiting, chain, loaded=loaded)
    for label, scorer in plan.scorers.items():
        if label in waiting:
            try:
                with stage, naming_chain(chain.chain_id):
                    token_scores = scorer.score(chain, loaded=loaded, **observed.get(label, {}))
            except UndefinedScoreError as error:
                scores[label], missing[label] = np.full(chain.n_reasoning, np.nan), error.reason
            else:
                scores[label] = _finite(token_scores.score, chain.chain_id, label)
                if token_scores.profile is not None:
                    _finite(token_scores.profile.received, chain.chain_id, label)
                    profiles[label] = token_scores.profile
        advance()
    return replace(done, scores=scores, profiles=profiles, missing_scores=missing)


def _prune(
    done: Measurement, plan: Plan, loaded: LoadedModel, *, stage: Stage, advance: Callable[[], None],
    save: Callable[[Measurement], None],
) -> Measurement:  # fmt: skip
    """Add the paths that are not there, and go on with those that were begun."""
    paths = dict(done.paths)
    for path in [*done.paths.values(), *done.begun.values()]:
        stage.advance(len(path.deleted))

    def save_path(label: str, path: PruningPath) -> None:
        save(replace(done, paths=paths, begun={label: path}))

    for label, strategy in plan.strategies.items():
        if label not in paths:
            job = PruningJob(advance, paths, done.begun.get(label), partial(save_path, label))
            with stage:
                paths[label] = strategy.prune(done.encoded, loaded=loaded, job=job)
    return replace(done, paths=paths, begun={})


def _finite(score: Numbers, chain_id: str, label: str) -> Numbers:
    if not np.isfinite(score).all():
        raise MeasurementError(chain_id, f"the scores of {label} are not all finite numbers")
    return score
