"""One chain as arrays: the scores of its tokens, what every head says of them, and when they were deleted."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from analyses._exclusions import MIN_TOKENS
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import FloatArray, IntArray, PruningPath


@dataclass(frozen=True, eq=False)
class Deletions:
    """When the tokens of a chain, or its steps, were deleted.

    Attributes
    ----------
    path
        Of the chain.
    step
        (n,) the step of every token, if steps are compared rather than tokens.
    """

    path: PruningPath
    step: IntArray | None = None

    @cached_property
    def importance(self) -> FloatArray:
        """(units,) higher = deleted later; of a step, the mean over its tokens."""
        order = importance_order(self.path)
        return order if self.step is None else self.averaged(np.asarray(rankdata(order), dtype=np.float64))

    @property
    def n_units(self) -> int:
        """Tokens, or steps."""
        return self.path.n_reasoning if self.step is None else int(self._starts.size)

    @property
    def is_censored(self) -> npt.NDArray[np.bool_]:
        """(n,) whether a token was never deleted."""
        return np.isnan(self.path.deletion_step)

    def averaged(self, values: FloatArray) -> FloatArray:
        """Average tokens over their step, if steps are compared. (..., n) -> (..., units)."""
        if self.step is None:
            return values
        lengths = np.diff([*self._starts, self.step.size])
        return np.asarray(np.add.reduceat(values, self._starts, axis=-1) / lengths)

    def why_unusable(self) -> str | None:
        """Why the order says nothing; None if it does."""
        if self.n_units < MIN_TOKENS:
            return f"fewer_than_{MIN_TOKENS}_{'tokens' if self.step is None else 'steps'}"
        return "no_deletion" if len(self.path.deleted) == 0 else None

    @cached_property
    def _starts(self) -> IntArray:
        """Where each step begins."""
        assert self.step is not None
        return np.flatnonzero(np.diff(self.step, prepend=self.step[0] - 1))


@dataclass(frozen=True, eq=False)
class Scored:
    """The scores of a chain, of the units that are compared.

    Attributes
    ----------
    score
        (units,) higher = more important.
    received
        (layers, heads, units); (0, 0, units) if the scorer has no profile. NaN in layers that have none.
    """

    score: FloatArray
    received: FloatArray


def importance_order(path: PruningPath) -> FloatArray:
    """Order the tokens by when they were deleted, later = more important. -> (n,).

    Tokens that were never deleted are censored: they outlived every deletion, and nothing is known of the order among
    them. They are tied one step after the last deletion.
    """
    return np.where(np.isnan(path.deletion_step), len(path.deleted) + 1.0, path.deletion_step)


def read_scored(run: Run, chain_id: str, scorer: str, deletions: Deletions) -> Scored | str:
    """Return the scores of a chain, or the reason why they say nothing."""
    scores = run.token_scores(chain_id, scorer)
    if scores is None:
        return "scorer_not_measured" if run.missing_score(chain_id, scorer) is None else "no_score"
    profile = scores.profile
    if not (np.isfinite(scores.score).all() and (profile is None or profile.is_finite)):
        return "score_not_finite"
    score = deletions.averaged(scores.score)
    if np.ptp(score) == 0:
        return "constant_score"
    n = scores.score.size
    received = np.empty((0, 0, n)) if profile is None else profile.received.astype(np.float64)
    return Scored(score, deletions.averaged(received))
