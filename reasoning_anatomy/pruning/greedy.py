"""Exact greedy pruning."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from reasoning_anatomy.chain_likelihood import ChainLikelihood
from reasoning_anatomy.likelihood import open_likelihood
from reasoning_anatomy.models import LoadedModel
from reasoning_anatomy.pruning import PruningJob
from reasoning_anatomy.types import EncodedChain, FloatArray, PruningPath

Objective = Literal["answer", "joint", "influence"]


@dataclass(frozen=True, kw_only=True)
class Greedy:
    """Delete, again and again, the token whose loss hurts the likelihood least (exact).

    At each step every single deletion is scored with the ids really removed and later positions closed up; the one
    with the lowest objective is made. Ties go to the lowest position.

    Attributes
    ----------
    objective
        ``"answer"``: mean nll of the answer. ``"joint"``: mean nll of kept reasoning and answer; it never
        scores the deleted token itself, so it favours deleting surprising tokens. ``"influence"``: the
        control, the change in the summed nll of the tokens that survive after the deleted one, answer
        included, divided by the number of tokens left (the same for all candidates of a step).
    most_important_first
        Delete the token with the highest objective instead: the reverse path.
    keep_ratio
        Stop when this fraction of the reasoning tokens is left (rounded down); 0 deletes all.
    tie_tolerance
        Objectives within this many nats per token are a tie; the default is what float32 rounds away.
    token_budget
        Tokens of one forward pass, halved whenever memory runs out; None takes 1024 on a CPU and 16384 on an
        accelerator. Changes speed and memory, and numbers in the last digits.
    store_gib
        Memory for what candidates may keep between steps, in GiB; None takes 1 GiB on a CPU and half of what is
        free on an accelerator. Likewise.
    checkpoint_every
        Deletions after which the likelihood starts afresh from the ids, so that an interrupted chain goes on
        from there to the very same numbers; likewise.

    References
    ----------
    Singh and Hakkani-Tür, Do LLMs Encode Functional Importance of Reasoning Tokens?, arXiv:2601.03066.
    """

    objective: Objective = "answer"
    most_important_first: bool = False
    keep_ratio: float = 0.0
    tie_tolerance: float = 1e-5
    token_budget: int | None = None
    store_gib: float | None = None
    checkpoint_every: int = 32

    def __post_init__(self) -> None:
        if not 0 <= self.keep_ratio <= 1:
            raise ValueError(f"keep_ratio is {self.keep_ratio}, expected 0..1")
        for name, least in (("token_budget", 1), ("checkpoint_every", 1), ("store_gib", 0), ("tie_tolerance", 0)):
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise ValueError(f"{name} is {value}, expected at least {least}")

    def prune(self, chain: EncodedChain, *, loaded: LoadedModel, job: PruningJob | None = None) -> PruningPath:
        """Delete tokens of one chain until ``keep_ratio`` is reached.

        Parameters
        ----------
        chain
            Encoded for the model.
        loaded
            The model.
        job
            Where to report progress and to save it every ``checkpoint_every`` deletions.

        Raises
        ------
        MeasurementError
            A likelihood is not a finite number, or memory does not suffice for a single candidate.
        """
        job = job or PruningJob()
        n_deletions = chain.n_reasoning - int(chain.n_reasoning * self.keep_ratio)
        path = job.begun or self._unpruned(chain, loaded)
        while len(path.deleted) < n_deletions:
            n_next = min(self.checkpoint_every, n_deletions - len(path.deleted))
            path = self._extend(path, n_next, chain, loaded, job)
            job.save(path)
        return path

    def _unpruned(self, chain: EncodedChain, loaded: LoadedModel) -> PruningPath:
        likelihood = open_likelihood(loaded, chain, token_budget=self.token_budget, store_gib=self.store_gib)
        nll = likelihood.nll()
        return PruningPath(
            strategy=repr(self),
            n_reasoning=chain.n_reasoning,
            deleted=np.empty(0, dtype=np.int64),
            margin=np.empty(0),
            n_ties=0,
            nll_answer=np.array([nll.answer]),
            nll_joint=np.array([nll.joint]),
            nll_reasoning=np.array([nll.reasoning]),
            token_forwards=likelihood.token_forwards,
            token_budget=likelihood.token_budget,
        )

    def _extend(
        self, path: PruningPath, n_deletions: int, chain: EncodedChain, loaded: LoadedModel, job: PruningJob
    ) -> PruningPath:
        """Make the next deletions, by a likelihood that knows nothing but the tokens that are left."""
        kept = np.flatnonzero(np.isnan(path.deletion_step))
        likelihood = open_likelihood(
            loaded, chain.keep(kept), token_budget=path.token_budget or self.token_budget, store_gib=self.store_gib
        )
        deleted, margins, nlls = [], [], []
        for _ in range(n_deletions):
            objectives = self._objectives(likelihood)
            chosen, margin = _choose(-objectives if self.most_important_first else objectives, self.tie_tolerance)
            position = int(likelihood.kept[chosen])
            likelihood.delete(position)
            deleted.append(kept[position])
            margins.append(margin)
            nlls.append(likelihood.nll())
            job.advance()
        return dataclasses.replace(
            path,
            deleted=_join(path.deleted, deleted),
            margin=_join(path.margin, margins),
            n_ties=path.n_ties + sum(margin <= self.tie_tolerance for margin in margins),
            nll_answer=_join(path.nll_answer, [nll.answer for nll in nlls]),
            nll_joint=_join(path.nll_joint, [nll.joint for nll in nlls]),
            nll_reasoning=_join(path.nll_reasoning, [nll.reasoning for nll in nlls]),
            token_forwards=path.token_forwards + likelihood.token_forwards,
            token_budget=likelihood.token_budget,
        )

    def _objectives(self, likelihood: ChainLikelihood) -> FloatArray:
        """(k,) nats per token if each of the kept tokens were deleted; lower is better."""
        scores = likelihood.score_deletions(reasoning=self.objective != "answer")
        if scores.reasoning is None:
            return -scores.answer / likelihood.n_answer
        after = scores.answer + scores.reasoning
        n_left = len(scores.positions) - 1 + likelihood.n_answer
        if self.objective == "joint":
            return -after / n_left
        logp = likelihood.token_logp()
        survivors_now: FloatArray = logp.sum() - logp[: len(scores.positions)]
        return (survivors_now - after) / n_left


def _join(before: npt.NDArray[Any], after: list[Any]) -> npt.NDArray[Any]:
    return np.concatenate([before, np.array(after, dtype=before.dtype)])


def _choose(objectives: FloatArray, tolerance: float) -> tuple[int, float]:
    """Index of the lowest objective, the first among ties, and how far the best of the others lies above it."""
    chosen = int(np.flatnonzero(objectives <= objectives.min() + tolerance)[0])
    others = np.delete(objectives, chosen)
    return chosen, float(others.min() - objectives[chosen]) if len(others) else np.nan
