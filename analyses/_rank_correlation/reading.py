"""One chain as arrays: the scores of its tokens, what every head says of them, and when they were deleted."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata

from analyses._exclusions import MIN_TOKENS
from reasoning_anatomy.errors import MissingError
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.types import AttentionProfile, FloatArray, IntArray, PruningPath


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
        return int(self._starts.size)

    @property
    def is_censored(self) -> npt.NDArray[np.bool_]:
        """(n,) whether a token was never deleted."""
        return np.isnan(self.path.deletion_step)

    def averaged(self, values: FloatArray) -> FloatArray:
        """Average tokens over their step, if steps are compared. (..., n) -> (..., units)."""
        if self.step is None:
            return values
        lengths = np.diff(self._starts, append=self.step.size)
        return np.asarray(np.add.reduceat(values, self._starts, axis=-1) / lengths)

    def why_unusable(self) -> str | None:
        """Why the order says nothing; None if it does."""
        if self.n_units < MIN_TOKENS:
            return f"fewer_than_{MIN_TOKENS}_{'tokens' if self.step is None else 'steps'}"
        if len(self.path.deleted) == 0:
            return "no_deletion"
        return "no_order_of_deletion" if np.ptp(self.importance) == 0 else None

    @cached_property
    def _starts(self) -> IntArray:
        """Where each step begins."""
        step = np.arange(self.path.n_reasoning) if self.step is None else self.step
        return np.flatnonzero(np.diff(step, prepend=-1))


@dataclass(frozen=True, eq=False)
class Scored:
    """The scores of a chain, of the units that are compared.

    Attributes
    ----------
    score
        (units,) higher = more important.
    token_score
        (n,) of the tokens.
    received
        (layers, heads, units); (0, 0, units) if the scorer has no profile. NaN in layers that have none.
    """

    score: FloatArray
    token_score: FloatArray
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
    return as_scored(scores.score, scores.profile, deletions)


def as_scored(score: FloatArray, profile: AttentionProfile | None, deletions: Deletions) -> Scored | str:
    """Average the scores of tokens over their steps if these are compared; or return why they say nothing."""
    if not (np.isfinite(score).all() and (profile is None or profile.is_finite)):
        return "score_not_finite"
    of_units = deletions.averaged(score)
    if np.ptp(of_units) == 0:
        return "constant_score"
    received = np.empty((0, 0, score.size)) if profile is None else profile.received.astype(np.float64)
    return Scored(of_units, score, deletions.averaged(received))


def steps_of(run: Run, tokens: pd.DataFrame, segmenter: str) -> dict[str, IntArray]:
    """Return the (n,) step of every token of the chains that a segmenter could cut, by chain_id; from the table of tokens.

    Raises
    ------
    MissingError
        The table is older than the segmenter.
    """
    column = f"step_{segmenter}"
    if column not in tokens:
        raise MissingError(f"{run.folder}: its tables have no steps by {segmenter!r} yet; run the same command again")
    cut = tokens.dropna(subset=[column]).sort_values(["chain_id", "position"], kind="stable")
    chains = cut.groupby("chain_id", sort=False)[column]
    return {str(chain_id): steps.to_numpy(dtype=np.int64) for chain_id, steps in chains}
